"""Journals written by hand, and all that a store says of them."""

from __future__ import annotations

import tempfile
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from tachograph import events
from tachograph.events import Event, Metrics, RunStart
from tachograph.runtime import process
from tachograph.store.history import History
from tachograph.store.store import Store, open_store

# Processes: one on another machine, of which nothing can be proven; one of before this machine was started; ourselves.
ELSEWHERE = process.Process("elsewhere", "b", 7, 7)
GONE = process.Process(process.this().host, "an earlier boot", 7, 7)
ALIVE = process.this()


def header(run: str, writer: str, who: process.Process = ELSEWHERE, **facts: Any) -> RunStart:
    facts = {"role": "owner", "name": f"name of {run}", "experiment": "e", **facts}
    return RunStart(run=run, writer=writer, host=who.host, boot=who.boot, pid=who.pid, born=who.born, **facts)


def lines(*happened: Event, first: int = 1, at: float = 1000.0) -> list[bytes]:
    """The lines of events that follow each other, a second apart."""
    for offset, event in enumerate(happened):
        event.v, event.seq, event.at = 1, first + offset, at + offset
    return [events.encode(event) + b"\n" for event in happened]


def point(step: int, **values: Any) -> Metrics:
    return Metrics(step=step, values=values)


def append(root: Path, run: str, writer: str, content: Iterable[bytes], segment: int = 1) -> Path:
    folder = root / "runs" / run / writer
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{segment}.jsonl"
    with open(path, "ab") as file:
        file.writelines(content)
    return path


def told(store: Store) -> Any:
    """All that a store says, in a form that can be compared."""
    return {
        run.id: (
            run.name, run.experiment, run.status, run.started, run.ended, run.parent_id, run.opener, repr(run.params),
            run.tags, repr(run.metrics), repr(run.system), run.error, run.notes, run.console, run.writers,
            run.environment, run.next_steps(),
            {name: _series(run.history(name)) for name in [*run.metrics, *run.system]},
            {name: _rounded(run.summary(name)) for name in [*run.metrics, *run.system]},
        )
        for run in store.runs(children=True, order_by="id")
    }, store.damage, store.torn  # fmt: skip


def _series(history: History) -> str:
    return repr([history.steps.tolist(), history.times.tolist(), history.values.tolist()])


def _rounded(summary: Any) -> str:
    return repr({name: f"{getattr(summary, name):.9g}" if name == "mean" else getattr(summary, name)
                 for name in summary.__struct_fields__})  # fmt: skip


def fresh(root: Path) -> Any:
    """What a new index says."""
    with tempfile.TemporaryDirectory() as folder:
        copy = Path(folder, "copy")
        copy.mkdir()
        (copy / "runs").symlink_to(root / "runs")
        reading = open_store(copy)
        what, damage, torn = told(reading)
        reading.close()
    there = [[_moved(item, copy, root) for item in items] for items in (damage, torn)]
    return what, *there


def _moved(item: Any, copy: Path, root: Path) -> Any:
    return type(item)(root / item.path.relative_to(copy), item.line, item.offset, item.reason, item.torn)


def delete(folder: Path) -> None:
    for path in sorted(folder.rglob("*"), reverse=True):
        path.rmdir() if path.is_dir() else path.unlink()
    folder.rmdir()
