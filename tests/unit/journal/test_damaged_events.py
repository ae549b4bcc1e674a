"""An event that parses but can't be is damage like any other: it costs itself alone, is named, and can be removed."""

from __future__ import annotations

import json
import os
import re
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tachograph.cli import main
from tachograph.store.document import of_everything, plain
from tachograph.store.store import open_store

HUGE = 10**400
DEEP: Any = 1
for _ in range(150):
    DEEP = [DEEP]
POISON: dict[str, dict[str, Any]] = {
    "a float of no name": {"kind": "params", "values": {"x": {"$float": []}}},
    "a float in a list": {"kind": "params", "values": {"x": [{"$float": {"a": 1}}]}},
    "a huge number": {"kind": "params", "values": {"x": HUGE}},
    "a huge number far in": {"kind": "environment", "values": {"gpus": [{"memory": HUGE}]}},
    "a deep list": {"kind": "params", "values": {"x": DEEP}},
    "a huge metric": {"kind": "metrics", "step": 1, "values": {"loss": HUGE}},
    "a huge step": {"kind": "metrics", "step": 2**63, "values": {"loss": 1.0}},
    "a huge size": {"kind": "artifact", "name": "a", "type": "file", "digest": "d", "size": HUGE, "filename": "f"},
    "many rows": {"kind": "dataset", "name": "d", "role": "train", "rows": HUGE},
    "a time long ago": {"kind": "note", "text": "x", "at": -1.0},
    "a time far off": {"kind": "note", "text": "x", "at": 1e300},
    "a long time": {"kind": "run.end", "status": "finished", "seconds": 1e300},
    "a status of no kind": {"kind": "run.end", "status": "finished\x1b]0;PWN\x07"},
    "a tag that is a list": {"kind": "tags", "values": {"a": ["b"]}},
    "a text with half a character": {"kind": "note", "text": "\ud800"},
    "a process of no number": {
        "kind": "run.start", "run": "r", "writer": "w", "role": "owner", "host": "h", "boot": "b", "pid": HUGE,
        "born": 1,
    },
}  # fmt: skip


def write(root: Path, run: str, *events: dict[str, Any], writer: str = "0-h-1-aaaaaa", **start: Any) -> Path:
    """A journal of a process elsewhere: its start, and then events."""
    head = {
        "kind": "run.start", "run": run, "writer": writer, "role": "owner", "host": "h", "boot": "b", "pid": 1,
        "born": 1, "name": run,
    }  # fmt: skip
    folder = root / "runs" / run / writer
    folder.mkdir(parents=True)
    now = time.time()
    lines = [{"v": 1, "seq": seq, "at": now, **event} for seq, event in enumerate([head | start, *events], start=1)]
    (folder / "1.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    return folder


def points(*losses: float) -> list[dict[str, Any]]:
    return [{"kind": "metrics", "step": step, "values": {"loss": loss}} for step, loss in enumerate(losses)]


@pytest.mark.parametrize("poison", POISON.values(), ids=POISON)
def test_it_costs_itself_alone_is_named_and_goes(
    root: Path, poison: dict[str, Any], capsys: pytest.CaptureFixture[str]
) -> None:
    write(root, "good", *points(1.0, 2.0))
    write(root, "bad", *points(3.0), poison, *points(4.0))
    store = open_store(root)
    assert [run.id for run in store.runs(order_by="id")] == ["bad", "good"]
    assert store.run("good").history("loss").values.tolist() == [1.0, 2.0]
    assert store.run("bad").history("loss").values.tolist() == [3.0, 4.0]
    plain(of_everything(store.run("bad")))
    assert [(damage.path.parts[-3], damage.line) for damage in store.damage] == [("bad", 3)]
    store.close()
    for command in ("runs", "runs --json", "show bad", "show bad --json"):
        assert main([*command.split(), "--root", str(root)]) == 0
    capsys.readouterr()
    assert main(["verify", "--root", str(root)]) == 1
    assert "bad/0-h-1-aaaaaa/1.jsonl:3: " in capsys.readouterr().out
    assert main(["sync", "--root", str(root), "--to", (root.parent / "sink").as_uri()]) == 0
    assert main(["rm", "--yes", "--force", "bad", "--root", str(root)]) == 0
    assert [run.id for run in open_store(root).runs()] == ["good"]


def test_a_run_of_which_nothing_can_be_read_is_removed_by_its_id(root: Path) -> None:
    write(root, "good", *points(1.0))
    write(root, "bad", pid=HUGE)
    assert [run.id for run in open_store(root).runs()] == ["good"]
    assert main(["show", "bad", "--root", str(root)]) == 0
    assert main(["rm", "--yes", "--force", "bad", "--root", str(root)]) == 0
    assert not (root / "runs" / "bad").exists()


def a_circle(folder: Path) -> None:
    os.symlink("loop", folder / "2.jsonl")
    os.symlink("2.jsonl", folder / "loop")


def no_folder_to_list(folder: Path) -> None:
    """The writer's folder itself is such a link."""
    (folder / "1.jsonl").unlink()
    folder.rmdir()
    os.symlink(folder.name, folder)


@pytest.mark.skipif(os.name == "nt", reason="links are not for everybody there")
@pytest.mark.parametrize("harm", [a_circle, no_folder_to_list])
def test_a_file_that_gives_an_error_is_named_and_stops_nobody(
    root: Path, harm: Callable[[Path], None], capsys: pytest.CaptureFixture[str]
) -> None:
    write(root, "good", *points(1.0))
    harm(write(root, "bad", *points(2.0)))
    other = write(root, "bad", *points(3.0), writer="1-h-1-aaaaaa", rank=1)
    for command in ("runs", "show good", "show good --json"):
        assert main([*command.split(), "--root", str(root)]) == 0
    store = open_store(root)
    assert store.run("good").metrics == {"loss": 1.0}
    assert store.run("bad").metrics == {"rank1/loss": 3.0}
    writer = other.with_name("0-h-1-aaaaaa")
    assert [(writer in (damage.path, damage.path.parent), damage.line) for damage in store.damage] == [(True, 0)]
    capsys.readouterr()
    for command in (["runs"], ["export", "--format", "csv", str(root.parent / "exported")]):
        assert main([*command, "--root", str(root)]) == 0
        assert re.search(rf"^tachograph: {writer}.*: can't be read: ", capsys.readouterr().err, re.MULTILINE)
    if harm is a_circle:
        assert main(["verify", "--root", str(root)]) == 1
        assert f"{writer}: can't be read" in capsys.readouterr().out
    store.close()
    assert main(["rm", "--yes", "--force", "bad", "--root", str(root)]) == 0
    assert not (root / "runs" / "bad").exists()


@pytest.mark.parametrize("length", [1, 2, 3, 7])
def test_parents_in_a_circle_are_seen_sent_and_removed(
    root: Path, length: int, capsys: pytest.CaptureFixture[str]
) -> None:
    write(root, "good", *points(1.0))
    write(root, "nested", *points(1.0), parent="good")
    for number in range(length):
        write(root, f"c{number}", *points(2.0), parent=f"c{(number + 1) % length}")
    write(root, "below", *points(2.0), parent="c0")
    circle = {f"c{number}" for number in range(length)}
    store = open_store(root)
    assert {run.id for run in store.runs()} == {"good", "below", *circle}
    assert len(store.runs(children=True)) == 3 + length
    assert all(run.silent_since is None for run in store.runs())
    store.close()
    for command in ("show c0", "show c0 --json", "runs --json", "runs --children --json", "runs", "runs --children"):
        capsys.readouterr()
        assert main([*command.split(), "--root", str(root)]) == 0
        shown = capsys.readouterr().out
        assert all(id in shown for id in circle if command.startswith("runs"))
    assert main(["sync", "c0", "--root", str(root), "--to", (root.parent / "sink").as_uri()]) == 0
    assert {folder.name for folder in (root.parent / "sink" / "runs").iterdir()} == {"below", *circle}
    assert main(["export", "c0", "--format", "csv", str(root.parent / "out"), "--root", str(root)]) == 0
    assert main(["rm", "--yes", "--force", "c0", "--root", str(root)]) == 0
    assert {run.id for run in open_store(root).runs(children=True)} == {"good", "nested"}


def test_a_run_that_outlives_the_modules_says_nothing_at_the_end(root: Path, script: Any) -> None:
    write(root, "good", *points(1.0))
    done = script(
        """
        import tachograph, tachograph.index.sqlite_file
        run = tachograph.open_store().run("good")
        run.metrics
        from tachograph.index import sqlite_file
        sqlite_file.os = sqlite_file._inherited = None  # as Python empties modules at the end
        """
    )
    assert (done.returncode, done.stderr) == (0, "")
