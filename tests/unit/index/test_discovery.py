"""Runs and writers that come and go are found, by looking where something may have changed."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.parts.journals import ALIVE, GONE, append, delete, fresh, header, lines, point, told

import tachograph
from tachograph.events import Params, RunEnd, Tags
from tachograph.index import index
from tachograph.journal import changes
from tachograph.sinks.folder import FolderSink
from tachograph.store.store import open_store


def test_foreign_files_and_folders_are_none_of_ours(root: Path) -> None:
    append(root, "r", "0-a", lines(header("r", "0-a")))
    for path in ("file.txt", "r/notes.md", "r/0-a/other.txt", "r/0-a/x.jsonl", "r/0-a/1.sums"):
        (root / "runs" / path).write_text("hello")
    for path in ("r/0-a/01.jsonl", "r/0-a/²3.jsonl", "r/0-a/" + "9" * 30 + ".jsonl", "r/0-a/-1.jsonl"):
        (root / "runs" / path).write_text("hello")
    for path in ("foreign/a/b", ".hidden/x", "empty", "r/folder", "r/0-a/5.jsonl"):
        (root / "runs" / path).mkdir(parents=True)
    (root / "runs" / os.fsdecode(b"not \xff text")).mkdir()
    (root / "runs" / "dangling").symlink_to("nowhere")
    store = open_store()
    assert [run.id for run in store.runs()] == ["r"]
    assert len(store.run("r").writers) == 1
    assert store.damage == []


def test_a_writer_that_comes_later_is_found(root: Path) -> None:
    append(root, "r", "0-a", lines(header("r", "0-a", GONE), RunEnd(status="failed"), at=10.0))
    os.utime(root / "runs" / "r", (1, 1))
    store = open_store()
    assert store.run("r").status == "failed"
    append(root, "r", "0-b", lines(header("r", "0-b", GONE, attempt=1), RunEnd(status="finished"), at=20.0))
    assert open_store().run("r").status == "finished"  # copied from elsewhere: once a store is opened
    assert store.run("r").status == "finished"


def test_what_comes_to_an_old_run_shows_at_the_next_question(root: Path) -> None:
    append(root, "r", "0-a", lines(header("r", "0-a", GONE), RunEnd(status="failed"), at=10.0))
    append(root, "s", "0-a", lines(header("s", "0-a", GONE), RunEnd(status="finished"), at=10.0))
    for path in [root / "runs", *(root / "runs").rglob("*")]:
        os.utime(path, (1, 1))
    store = open_store()
    assert {run.id: run.status for run in store.runs()} == {"r": "failed", "s": "finished"}
    _in_a_process("import tachograph; run = tachograph.start_run(resume='r'); run.log({'x': 1}); run.finish()", root)
    assert (store.run("r").status, store.run("r").metrics) == ("finished", {"x": 1})
    _in_a_process(
        "import tachograph; tachograph.start_run(resume='r').log({'y': 2}); import os; os.kill(os.getpid(), 9)", root
    )
    assert (store.run("r").status, store.run("r").metrics) == ("crashed", {"x": 1, "y": 2})
    sink = FolderSink(root.as_uri())
    sink.write("s", "0-a", [line.rstrip() for line in lines(Tags(values={"late": "yes"}), first=3, at=12.0)])
    assert store.run("s").tags == {"late": "yes"}


def _in_a_process(code: str, root: Path) -> None:
    subprocess.run([sys.executable, "-c", code], env={**os.environ, "TACHOGRAPH_DIR": str(root)}, timeout=180)


def test_what_is_recorded_after_the_end_shows_at_the_next_question(root: Path) -> None:
    run = tachograph.start_run("r")
    run.finish()
    assert tachograph.flush()  # the last look at the hardware comes after the end
    for path in (root / "runs").rglob("*"):
        os.utime(path, (1, 1))
    store = open_store()
    assert store.run("r").metrics == {}
    assert index.Index(root).rows("SELECT sealed FROM writer") == [(1,)]
    for step in range(3):
        run.log({"x": step})
        assert store.run("r").metrics == {"x": step}


def test_a_question_looks_at_what_may_have_changed_alone(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for number in range(30):
        append(root, f"r{number}", "0-a", lines(header(f"r{number}", "0-a", GONE), RunEnd(status="finished")))
    append(root, "live", "0-a", lines(header("live", "0-a", ALIVE)))
    for path in (root / "runs").rglob("*"):
        os.utime(path, (1, 1))
    os.utime(root / "runs", (1, 1))
    store = open_store()
    assert len(store.runs()) == 31
    looked: list[str] = []

    def noting(function: Any) -> Any:
        def noted(path: Any, **options: Any) -> Any:
            looked.append(str(path))
            return function(path, **options)

        return noted

    with monkeypatch.context() as patch:
        for name in ("scandir", "listdir", "stat"):
            patch.setattr(os, name, noting(getattr(os, name)))
        found = store.runs()
    assert len(found) == 31
    assert any("live" in path for path in looked)
    assert not any("runs/r" in path for path in looked)
    assert len(looked) < 15


def test_an_index_of_many_writers_looks_at_all_of_them_the_less_often(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(index, "FEW", 2)
    for run in "rstu":
        append(root, run, "0-a", lines(header(run, "0-a", GONE), point(0, x=1)))
    assert len(open_store().runs()) == 4
    append(root, "r", "0-a", lines(point(1, x=2), first=3))  # copied from elsewhere
    assert open_store().run("r").metrics == {"x": 1}
    now = time.time()
    monkeypatch.setattr(time, "time", lambda: now + index.LOOK_SECONDS * 1.9)
    assert open_store().run("r").metrics == {"x": 1}
    monkeypatch.setattr(time, "time", lambda: now + index.LOOK_SECONDS * 2.1)
    assert open_store().run("r").metrics == {"x": 2}


def test_news_are_begun_anew_once_they_are_long(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(changes, "MOST_BYTES", 100)
    monkeypatch.setattr(changes, "RECENT_NS", 0)
    folder = append(root, "r", "0-a", lines(header("r", "0-a", GONE), point(0, x=0))).parent
    following, other = open_store(), open_store()
    for number in range(1, 30):
        append(root, "r", "0-a", lines(point(number, x=number), first=number + 2))
        changes.announce(folder)
        assert following.run("r").metrics == {"x": number}
        if number % 7 == 0:
            assert other.run("r").metrics == open_store().run("r").metrics == {"x": number}
            assert not (root / changes.FILENAME).exists()


@given(first=st.booleans(), count=st.integers(1, 40), torn=st.booleans())
def test_news_are_told_from_any_place_on(first: bool, count: int, torn: bool) -> None:
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        for number in range(count):
            changes.announce(root / "runs" / f"r{number}" / "0-a")
        place = changes.ReaderPosition()
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(changes, "RECENT_NS", 0)
            if first:
                told, place = changes.read(root, place)
                assert told == {f"r{number}": {"0-a"} for number in range(count)}
                assert changes.read(root, place) == ({}, place)
            with open(root / changes.FILENAME, "ab") as file:
                file.write(b"17 s/0-b\n" + b"18 t/0-b"[: 8 * torn])
            told, place = changes.read(root, place)
            assert told == {**({} if first else {f"r{number}": {"0-a"} for number in range(count)}), "s": {"0-b"}}
        (root / changes.FILENAME).write_bytes(b"19 t/0-a\n")
        assert changes.read(root, place).writers is None
        (root / changes.FILENAME).unlink()
        assert changes.read(root, place) == (None, changes.ReaderPosition())


def test_deleted_runs_writers_and_files_are_forgotten(root: Path) -> None:
    for run in ("r", "s", "t"):
        for writer in ("0-a", "0-b"):
            happened = [header(run, writer, ALIVE), Params(values={writer: 1}), point(0, x=1)]
            append(root, run, writer, [b"?\n", *lines(*happened)])
    store = open_store()
    assert len(store.runs()) == 3
    delete(root / "runs" / "r")
    delete(root / "runs" / "s" / "0-a")
    (root / "runs" / "t" / "0-a" / "1.jsonl").write_bytes(b"".join(lines(header("t", "0-a", ALIVE))))
    assert [run.id for run in store.runs(order_by="id")] == ["s", "t"]
    assert store.run("s").params == store.run("t").params == {"0-b": 1}
    assert told(store) == fresh(root)


def test_a_store_that_is_not_there_is_empty_and_stays_so(root: Path) -> None:
    store = open_store()
    assert store.runs() == []
    assert store.damage == store.torn == store.experiments() == []
    with pytest.raises(tachograph.NotFound, match="no run was recorded"):
        store.run("latest")
    assert not root.exists()
    append(root, "r", "0-a", lines(header("r", "0-a")))
    assert len(store.runs()) == 1
    delete(root / "runs")
    assert store.runs() == []
    for path in root.iterdir():
        path.unlink()
    root.rmdir()
    assert store.runs() == []
    assert not root.exists()
