"""All that can be asked of a store: nothing in it may stop any of that, nor cost a good run anything."""

from __future__ import annotations

import contextlib
import io
from pathlib import Path

from tests.parts.mutated import recorded

from tachograph.cli import main
from tachograph.compact import compact, destination_at
from tachograph.store.document import of_everything, plain
from tachograph.store.store import open_store

LOSSES = [1 / (step + 1) for step in range(6)]
GOOD = {"lr": 0.1, "layers": [1, [2]], "on": True, "none": None}


def read_all(root: Path, good: str, own: Path) -> None:
    """Read each run in each way; ``own`` is an empty folder for what is written on the way."""
    store = open_store(root)
    runs = store.runs(children=True)
    for run in [*runs, *store.runs()]:
        plain(of_everything(run))
        for name in run.metrics:
            run.history(name)
        assert run.console is not None
        assert run.silent_since is None or run.status == "running"
    found = store.run(good)
    assert found.history("loss").values.tolist() == LOSSES
    assert {name: found.params[name] for name in GOOD} == GOOD
    assert found.status == "failed"
    assert all(damage.reason for damage in store.damage + store.torn)
    compact(store, destination_at(str(own / "tables")))
    store.close()
    for command in ("runs", "runs --children", "runs --json", f"show {good}"):
        assert command_of(command, root) == 0, command
    for run in runs[::7]:
        assert command_of(f"show {run.id}", root) == 0, run.id
    assert command_of("verify --json", root) in (0, 1)
    assert command_of(f"sync --to {(own / 'sink').as_uri()}", root) in (0, 1)
    assert command_of(f"export --format jsonl {own / 'exported'}", root) == 0
    sent = open_store(own / "sink")
    assert sent.run(good).history("loss").values.tolist() == LOSSES
    assert len(sent.runs(children=True)) >= len([run for run in runs if run.params])
    sent.close()


def command_of(line: str, root: Path) -> int:
    """The status of a command, whose output nobody sees."""
    with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
        return main([*line.split(), "--root", str(root)])


def good(root: Path, run: str = "good") -> str:
    """Record a run to which nothing is done."""
    import json

    from tests.parts.mutated import write

    write(root, run, b"".join(json.dumps(event).encode() + b"\n" for event in recorded(run)))
    return run
