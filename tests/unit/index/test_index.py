"""The index says what the journals say, however it came to know it."""

from __future__ import annotations

import multiprocessing
import os
import signal
import sqlite3
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterable
from pathlib import Path
from random import Random
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import tachograph
from tachograph import events
from tachograph.events import Event, Metrics, Note, Params, RunEnd, RunStart, Tags
from tachograph.index import index, sqlite_file
from tachograph.journal import changes
from tachograph.runtime import process
from tachograph.sinks.folder import FolderSink
from tachograph.store.history import History  # before the test that gives up the right to import it
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


# -- folding --


def test_a_run_is_what_its_events_add_up_to(root: Path) -> None:
    happened = [
        header("r", "0-w", opener="sklearn"), Params(values={"lr": 0.1, "depth": 3}), Tags(values={"a": "1"}),
        point(0, loss=1.0), point(1, loss=0.5), Params(values={"lr": 0.2, "none": None}), Tags(values={"a": "2"}),
        Note(text="n"), RunEnd(status="failed", error=events.Fault("E", "m", "t")),
    ]  # fmt: skip
    append(root, "r", "0-w", lines(*happened))
    run = open_store().run("r")
    assert (run.name, run.experiment, run.opener, run.status) == ("name of r", "e", "sklearn", "failed")
    assert run.params == {"lr": 0.2, "depth": 3, "none": None}
    assert run.tags == {"a": "2"}
    assert run.metrics == {"loss": 0.5}
    assert run.error is not None
    assert (run.error.type, run.error.message, run.error.traceback) == ("E", "m", "t")
    assert run.started.timestamp() == 1000.0
    assert run.ended is not None
    assert run.ended.timestamp() == 1008.0


def test_another_ranks_error_speaks_for_a_rank_0_that_died(root: Path) -> None:
    append(root, "r", "0-a", lines(header("r", "0-a", GONE)))
    fault = events.Fault("ValueError", "rank 1's own")
    other = header("r", "1-a", GONE, rank=1, role="worker")
    append(root, "r", "1-a", lines(other, RunEnd(status="failed", error=fault)))
    run = open_store().run("r")
    assert run.status == "crashed"
    assert run.error == fault


def test_a_writer_whose_rank_was_started_again_is_no_more(root: Path) -> None:
    append(root, "r", "0-a", lines(header("r", "0-a", ELSEWHERE)))
    append(root, "r", "0-b", lines(header("r", "0-b", ELSEWHERE, attempt=1), at=2000.0))
    run = open_store().run("r")
    assert [writer.status for writer in run.writers] == ["crashed", "running"]
    assert run.status == "running"


def test_written_forms_come_back_as_values(root: Path) -> None:
    written = events.written_param([1, float("inf"), [float("nan")]])
    append(root, "r", "0-w", lines(
        header("r", "0-w"), Params(values={"l": written, "s": "NaN", "b": True}),
        point(0, a="NaN", b="-Infinity", c=True),
    ))  # fmt: skip
    run = open_store().run("r")
    assert repr(run.params) == "{'b': True, 'l': [1, inf, [nan]], 's': 'NaN'}"
    assert repr(run.metrics) == "{'a': nan, 'b': -inf, 'c': 1.0}"


def test_the_newest_owner_decides_how_a_run_ended_and_the_first_what_it_is_called(root: Path) -> None:
    append(root, "r", "0-b", lines(header("r", "0-b", GONE, name="first"), point(0, x=1), at=10.0))
    append(root, "r", "0-a", lines(
        header("r", "0-a", GONE, attempt=1, name="second"), point(1, x=2), RunEnd(status="finished"), at=20.0
    ))  # fmt: skip
    append(root, "r", "1-c", lines(header("r", "1-c", GONE, role="worker", rank=1, attempt=1), at=30.0))
    run = open_store().run("r")
    assert (run.name, run.status, run.metrics) == ("first", "finished", {"x": 2})
    assert [(each.id, each.status) for each in run.writers] == [
        ("0-b", "crashed"), ("0-a", "finished"), ("1-c", "crashed"),
    ]  # fmt: skip
    assert run.history("x").values.tolist() == [1, 2]


def test_ranks_and_children_of_a_job(root: Path) -> None:
    append(root, "r", "0-a", lines(header("r", "0-a"), point(0, loss=1, **{"system/cpu": 5}), at=10.0))
    append(root, "r", "0-c", lines(header("r", "0-c", role="worker"), point(1, loss=2), at=20.0))
    third = header("r", "3-b", role="worker", rank=3)
    append(root, "r", "3-b", lines(third, point(0, loss=9, **{"system/cpu": 7}), at=30.0))
    run = open_store().run("r")
    assert run.metrics == {"loss": 2, "rank3/loss": 9}
    assert run.system == {"system/cpu": 5, "system/rank3/cpu": 7}
    assert run.history("loss").values.tolist() == [1, 2]


def test_writers_are_merged_by_time_and_a_clock_that_was_set_back_changes_no_order(root: Path) -> None:
    happened = [(10.0, 1), (12.0, 2), (3.0, 3), (14.0, 4)]
    append(root, "r", "0-a", lines(header("r", "0-a"), at=9.0))
    for seq, (at, value) in enumerate(happened, start=2):
        append(root, "r", "0-a", lines(point(seq, x=value), first=seq, at=at))
    append(root, "r", "0-b", lines(header("r", "0-b", role="worker"), at=9.5))
    append(root, "r", "0-b", lines(point(0, x=10), point(1, x=11), point(2, x=12), first=2, at=11.0))
    history = open_store().run("r").history("x")
    assert history.values.tolist() == [1, 10, 2, 3, 11, 12, 4]
    summary = open_store().run("r").summary("x")
    assert (summary.first, summary.last, summary.min, summary.max, summary.max_step) == (1, 4, 1, 12, 2)
    assert open_store().run("r").metrics == {"x": 4}


def test_a_run_without_its_header_is_known_by_its_folder(root: Path) -> None:
    append(root, "orphan", "2-h-1-x", [b"garbage\n", *lines(point(0, x=1), RunEnd(status="finished"), first=2)])
    store = open_store()
    run = store.run("orphan")
    assert (run.id, run.name, run.status, run.metrics) == ("orphan", "orphan", "finished", {"rank2/x": 1})
    assert [str(item) for item in store.damage] == [
        f"{root}/runs/orphan/2-h-1-x/1.jsonl:1: JSON is malformed: invalid character (byte 0)"
    ]


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


def test_an_unknown_kind_costs_nothing(root: Path) -> None:
    newer = b'{"v":2,"seq":2,"at":1001.0,"kind":"telepathy","values":[1]}\n'
    append(root, "r", "0-a", [*lines(header("r", "0-a")), newer, *lines(point(0, x=1), first=3)])
    store = open_store()
    assert store.run("r").metrics == {"x": 1}
    assert store.damage == []
    assert index.Index(root).rows("SELECT kind FROM event") == [("telepathy",)]


def test_of_equal_sequence_numbers_the_first_wins(root: Path) -> None:
    append(root, "r", "0-a", lines(header("r", "0-a"), point(0, x=1), point(1, x=2)))
    append(root, "r", "0-a", lines(point(9, x=9), point(2, x=3), first=3))
    append(root, "r", "0-a", lines(header("r", "0-a"), point(0, x=5)), segment=7)
    run = open_store().run("r")
    assert run.history("x").values.tolist() == [1, 2, 3]
    assert run.history("x").steps.tolist() == [0, 1, 2]


def test_a_damaged_sequence_number_does_not_swallow_what_follows(root: Path) -> None:
    append(root, "r", "0-a", lines(header("r", "0-a"), point(0, x=0)))
    append(root, "r", "0-a", lines(point(1, x=1), first=903))
    append(root, "r", "0-a", lines(point(2, x=2), point(3, x=3), first=4))
    assert sorted(open_store().run("r").history("x").values) == [0, 1, 2, 3]


def test_segments_that_arrive_in_the_wrong_order_come_out_in_the_right_one(root: Path) -> None:
    early = lines(header("r", "0-a", GONE), *[point(step, x=step) for step in range(50)])
    late = lines(*[point(step, x=step) for step in range(50, 100)], first=52, at=1051.0)
    append(root, "r", "0-a", early[:20])
    append(root, "r", "0-a", late, segment=52)
    store = open_store()
    assert len(store.run("r").history("x")) == 69
    append(root, "r", "0-a", early[20:])
    assert open_store().run("r").history("x").steps.tolist() == list(range(100))
    assert open_store().run("r").metrics == {"x": 99}


def test_impossible_times_and_steps_are_damage(root: Path) -> None:
    append(root, "r", "0-a", [
        *lines(header("r", "0-a")),
        b'{"v":1,"seq":2,"at":1e300,"kind":"metrics","step":1,"values":{"x":1}}\n',
        b'{"v":1,"seq":3,"at":-5,"kind":"note","text":"x"}\n',
        b'{"v":1,"seq":4,"at":5,"kind":"metrics","step":99999999999999999999,"values":{"x":1}}\n',
        b'{"v":1,"seq":5,"at":1001,"kind":"metrics","step":5,"values":{"x":5}}\n',
    ])  # fmt: skip
    store = open_store()
    assert [item.line for item in store.damage] == [2, 3, 4]
    assert store.run("r").history("x").steps.tolist() == [5]


# -- following what is written --


def test_a_line_is_read_once_it_is_whole(root: Path) -> None:
    whole = lines(header("r", "0-a", ALIVE), point(0, x=1), point(1, x=2))
    append(root, "r", "0-a", [*whole[:2], whole[2][:20]])
    store = open_store()
    assert store.run("r").metrics == {"x": 1}
    append(root, "r", "0-a", [whole[2][20:]])
    assert store.run("r").metrics == {"x": 2}
    assert store.damage == store.torn == []


def test_a_last_line_is_torn_only_once_its_writer_is_gone(root: Path) -> None:
    whole = lines(header("r", "0-a", GONE), point(0, x=1), point(1, x=2))
    path = append(root, "r", "0-a", [*whole[:2], whole[2][:20]])
    other = lines(header("s", "0-a", ELSEWHERE), point(0, x=1), point(1, x=2))
    append(root, "s", "0-a", [*other[:2], other[2][:20]])
    store = open_store()
    assert [(item.path, item.line, item.torn) for item in store.torn] == [(path, 3, True)]
    assert store.damage == []
    assert store.run("r").status == "crashed"
    assert store.run("r").ended is not None
    assert store.run("r").ended.timestamp() == 1001.0
    assert (store.run("s").status, store.run("s").ended) == ("running", None)


def test_a_whole_last_line_without_its_end_counts_once_its_writer_is_gone(root: Path) -> None:
    whole = lines(header("r", "0-a", GONE), point(0, x=1), point(1, x=2))
    append(root, "r", "0-a", [*whole[:2], whole[2].rstrip(b"\n")])
    assert open_store().run("r").metrics == {"x": 2}


def test_what_a_living_process_records_after_its_end_is_seen(root: Path) -> None:
    append(root, "r", "0-a", lines(header("r", "0-a", ALIVE), point(0, x=1), RunEnd(status="finished")))
    store = open_store()
    assert store.run("r").status == "finished"
    append(root, "r", "0-a", lines(point(1, x=2), first=4))
    assert store.run("r").metrics == {"x": 2}
    append(root, "r", "0-a", lines(point(2, x=3), first=5))
    assert store.run("r").metrics == {"x": 3}


def test_a_process_that_ends_without_a_word_has_crashed(root: Path) -> None:
    code = (
        "import os, sys, tachograph; run = tachograph.start_run('victim'); run.log({'x': 1});"
        "print(run.id, flush=True); sys.stdin.read(); os.kill(os.getpid(), 9)"
    )
    victim = subprocess.Popen([sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert victim.stdout
    id = victim.stdout.readline().strip()
    store = open_store()
    assert store.run(id).status == "running"
    victim.communicate()
    run = store.run(id)
    assert (run.status, run.metrics) == ("crashed", {"x": 1})
    assert run.ended is not None
    assert [writer.status for writer in run.writers] == ["crashed"]
    assert [found.id for found in store.runs(where="status = 'crashed'")] == [id]


def test_the_files_of_those_who_are_gone_are_left_alone_until_a_store_is_opened(root: Path) -> None:
    append(root, "r", "0-a", lines(header("r", "0-a", GONE), point(0, x=1)))
    store = open_store()
    store.runs()
    append(root, "r", "0-a", lines(point(1, x=2), RunEnd(status="finished"), first=3))  # copied from elsewhere
    assert store.run("r").metrics == {"x": 1}
    assert open_store().run("r").metrics == {"x": 2}
    assert store.run("r").status == "finished"


def test_a_quiet_ended_writer_of_another_machine_is_sealed_and_an_unfinished_one_never(root: Path) -> None:
    ended = append(root, "r", "0-a", lines(header("r", "0-a"), RunEnd(status="finished")))
    unfinished = append(root, "s", "0-a", lines(header("s", "0-a")))
    for path in (ended, unfinished):
        os.utime(path, (1, 1))
    store = open_store()
    store.runs()
    assert index.Index(root).rows("SELECT run.id, sealed FROM writer JOIN run ON run.no = run ORDER BY run.id") == [
        ("r", 1), ("s", 0),
    ]  # fmt: skip


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
    _delete(root / "runs" / "r")
    _delete(root / "runs" / "s" / "0-a")
    (root / "runs" / "t" / "0-a" / "1.jsonl").write_bytes(b"".join(lines(header("t", "0-a", ALIVE))))
    assert [run.id for run in store.runs(order_by="id")] == ["s", "t"]
    assert store.run("s").params == store.run("t").params == {"0-b": 1}
    assert told(store) == fresh(root)


def _delete(folder: Path) -> None:
    for path in sorted(folder.rglob("*"), reverse=True):
        path.rmdir() if path.is_dir() else path.unlink()
    folder.rmdir()


def test_a_store_that_is_not_there_is_empty_and_stays_so(root: Path) -> None:
    store = open_store()
    assert store.runs() == []
    assert store.damage == store.torn == store.experiments() == []
    with pytest.raises(tachograph.NotFound, match="no run was recorded"):
        store.run("latest")
    assert not root.exists()
    append(root, "r", "0-a", lines(header("r", "0-a")))
    assert len(store.runs()) == 1
    _delete(root / "runs")
    assert store.runs() == []
    for path in root.iterdir():
        path.unlink()
    root.rmdir()
    assert store.runs() == []
    assert not root.exists()


def test_recording_goes_on_while_the_index_is_read(root: Path) -> None:
    store = open_store()
    with tachograph.start_run() as run:
        for step in range(300):
            run.log({"x": step})
            assert store.run(run.id).metrics["x"] == step
    assert store.run(run.id).history("x").steps.tolist() == list(range(300))


# -- the same, however it was read --

VALUES = st.one_of(
    st.floats(allow_nan=False, allow_infinity=False, width=32), st.sampled_from(["NaN", "Infinity", "-Infinity"])
)
NAMES = st.sampled_from(["loss", "acc", "system/cpu"])
EVENTS = st.one_of(
    st.builds(lambda step, values: point(step, **values), st.integers(0, 9), st.dictionaries(NAMES, VALUES)),
    st.builds(lambda values: Params(values=values), st.dictionaries(st.sampled_from("ab"), st.integers(0, 3))),
    st.builds(lambda values: Tags(values=values), st.dictionaries(st.sampled_from("ab"), st.sampled_from("xyz"))),
    st.builds(lambda text: Note(text=text), st.sampled_from(["n", "m"])),
    st.builds(lambda status: RunEnd(status=status), st.sampled_from(["finished", "failed"])),
)


@st.composite
def _journals(draw: st.DrawFn) -> dict[tuple[str, str], bytes]:
    """Some writers' journals, some lines of them damaged, repeated or cut off."""
    found = {}
    writers = st.tuples(st.sampled_from("rs"), st.sampled_from(["0-a", "0-b", "1-c"]))
    for run, writer in draw(st.sets(writers, min_size=1)):
        who = draw(st.sampled_from([ELSEWHERE, GONE, ALIVE]))
        role, rank = ("owner", 0) if writer == "0-a" else ("worker", int(writer[0]))
        start = header(run, writer, who, role=role, rank=rank, attempt=draw(st.integers(0, 1)))
        written = [start, *draw(st.lists(EVENTS, max_size=12))]
        for seq, event in enumerate(written, start=1):
            event.v, event.seq, event.at = 1, seq, float(draw(st.integers(1, 30)))
        content = [events.encode(event) + b"\n" for event in written]
        for place in draw(st.sets(st.integers(0, len(content) - 1), max_size=2)):
            content[place] = draw(st.sampled_from([b"\n", b"\xff\n", content[place] * 2, content[place][:9] + b"\n"]))
        found[run, writer] = b"".join(content)[: None if draw(st.booleans()) else -4]
    return found


@given(journals=_journals(), seed=st.integers(0, 2**32))
@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_any_interleaving_gives_what_a_fresh_index_gives(journals: dict[tuple[str, str], bytes], seed: int) -> None:
    random = Random(seed)
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        store = open_store(root)
        while rest := [key for key, content in journals.items() if content]:
            key = random.choice(rest)
            cut = random.randint(1, len(journals[key]))
            append(root, *key, [journals[key][:cut]])
            journals[key] = journals[key][cut:]
            if random.random() < 0.3:
                store.runs()
            if random.random() < 0.1:
                store = open_store(root)  # with it, those whose process is gone are looked at again
        store = open_store(root)
        assert told(store) == fresh(root)
        assert set(told(store)[0]) <= {run for run, _ in journals}


def test_small_additions_make_the_chunks_that_large_ones_make(root: Path) -> None:
    random, store, seq = Random(0), open_store(), 2
    append(root, "r", "0-a", lines(header("r", "0-a", ALIVE)))
    while seq < 20_000:
        count = random.choice([1, 3, 50, 3000])
        append(root, "r", "0-a", lines(*[point(seq + n, x=float(seq + n)) for n in range(count)], first=seq))
        seq += count
        assert store.run("r").metrics == {"x": seq - 1}
    history = store.run("r").history("x")
    assert history.steps.tolist() == history.values.tolist() == list(range(2, seq))
    assert store.run("r").summary("x") == open_store(root).run("r").summary("x")
    sizes = [count for (count,) in index.Index(root).rows("SELECT count FROM chunk")]
    assert max(sizes) <= 4096
    assert len(sizes) < seq / 4096 * 3 + 12


# -- several at once --


def _refresh_often(root: Path, seconds: float) -> None:
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        store = open_store(root)
        for _ in range(20):
            store.runs()
        store.close()


def _record(root: Path, count: int) -> None:
    os.environ["TACHOGRAPH_DIR"] = str(root)
    with tachograph.start_run() as run:
        for step in range(count):
            run.log({"x": step, "y": -step})


def test_many_writers_and_many_indexers_at_once_lose_and_double_nothing(root: Path) -> None:
    root.mkdir()
    context = multiprocessing.get_context("spawn")
    writers = [context.Process(target=_record, args=(root, 5000)) for _ in range(8)]
    indexers = [context.Process(target=_refresh_often, args=(root, 3.0)) for _ in range(3)]
    for each in writers + indexers:
        each.start()
    store = open_store(root)
    while any(each.is_alive() for each in writers):
        for run in store.runs():
            if "x" in run.metrics:
                steps = run.history("x").steps
                assert steps.tolist() == list(range(len(steps)))
    for each in writers + indexers:
        each.join()
        assert each.exitcode == 0
    runs = store.runs()
    assert [run.status for run in runs] == ["finished"] * 8
    for run in runs:
        assert run.history("x").steps.tolist() == list(range(5000))
    assert told(store) == fresh(root)
    assert store.damage == store.torn == []


def test_an_indexer_killed_at_any_moment_leaves_an_index_that_can_be_gone_on_with(root: Path) -> None:
    for number in range(6):
        happened = [point(step, x=step, y=-step) for step in range(20_000)]
        append(root, f"r{number}", "0-a", lines(header(f"r{number}", "0-a", GONE), *happened))
    code = "import sys, tachograph; open = tachograph.open_store; print('x', flush=True); open(sys.argv[1]).runs()"
    expected = fresh(root)
    random = Random(1)
    for _ in range(12):
        victim = subprocess.Popen([sys.executable, "-c", code, str(root)], stdout=subprocess.PIPE)
        assert victim.stdout
        victim.stdout.readline()
        time.sleep(random.uniform(0, 0.6))
        victim.send_signal(signal.SIGKILL)
        victim.wait()
        victim.stdout.close()
    assert told(open_store(root)) == expected


def test_threads_share_a_store(root: Path) -> None:
    append(root, "r", "0-a", lines(header("r", "0-a", ALIVE), *[point(step, x=step) for step in range(5000)]))
    store, faults = open_store(), []

    def ask() -> None:
        for _ in range(10):
            if len(store.run("r").history("x")) != 5000:
                faults.append("short")

    threads = [threading.Thread(target=ask) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert faults == []


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")
@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_a_forked_child_makes_its_own_connection(root: Path) -> None:
    append(root, "r", "0-a", lines(header("r", "0-a", GONE), point(0, x=1)))
    store = open_store()
    store.runs()
    child = os.fork()
    if child == 0:
        os._exit(0 if store.run("r").metrics == {"x": 1} else 1)
    assert os.waitpid(child, 0)[1] == 0
    append(root, "s", "0-a", lines(header("s", "0-a", GONE), point(0, x=1)))
    assert len(store.runs()) == 2


# -- the file --


@pytest.mark.parametrize("content", [b"", b"garbage" * 5000, None], ids=["empty", "garbage", "half"])
def test_a_damaged_file_is_built_again(root: Path, content: bytes | None) -> None:
    append(root, "r", "0-a", lines(header("r", "0-a", GONE), *[point(step, x=step) for step in range(9000)]))
    store = open_store()
    expected = told(store)
    store.close()
    path = root / sqlite_file.FILENAME
    path.write_bytes(path.read_bytes()[:50_000] if content is None else content)
    assert told(open_store()) == expected


def test_damage_in_the_middle_of_the_file_is_found_when_it_is_met(root: Path) -> None:
    append(root, "r", "0-a", lines(header("r", "0-a", GONE), *[point(step, x=step) for step in range(50_000)]))
    store = open_store()
    expected = told(store)
    store.close()
    path = root / sqlite_file.FILENAME
    content = bytearray(path.read_bytes())
    content[8192 * 3 :] = os.urandom(len(content) - 8192 * 3)
    path.write_bytes(content)
    assert told(open_store()) == expected


def test_an_index_of_another_version_is_built_again(root: Path) -> None:
    append(root, "r", "0-a", lines(header("r", "0-a", GONE), point(0, x=1)))
    with sqlite3.connect(root / sqlite_file.FILENAME) as other:
        other.execute("CREATE TABLE run (something TEXT)")
        other.execute("PRAGMA user_version = 99")
    other.close()
    assert open_store().run("r").metrics == {"x": 1}


def test_the_file_can_be_deleted_while_a_store_is_open(root: Path) -> None:
    append(root, "r", "0-a", lines(header("r", "0-a", GONE), point(0, x=1)))
    store = open_store()
    run = store.run("r")
    for path in root.glob("index.sqlite*"):
        path.unlink()
    assert run.history("x").values.tolist() == [1]
    assert len(store.runs()) == 1
    assert (root / sqlite_file.FILENAME).exists()


def test_the_log_of_a_deleted_file_is_not_taken_for_that_of_the_next(root: Path) -> None:
    append(root, "r", "0-a", lines(header("r", "0-a", GONE), *[point(step, x=step) for step in range(9000)]))
    store = open_store()
    expected = told(store)
    assert (root / "index.sqlite-wal").stat().st_size > 0
    (root / sqlite_file.FILENAME).unlink()
    assert told(open_store()) == told(store) == expected


def _delete_often(root: Path, seconds: float) -> None:
    random, until = Random(0), time.monotonic() + seconds
    while time.monotonic() < until:
        time.sleep(random.uniform(0.05, 0.3))
        (root / sqlite_file.FILENAME).unlink(missing_ok=True)
        if random.random() < 0.5:
            for suffix in ("-wal", "-shm"):
                (root / (sqlite_file.FILENAME + suffix)).unlink(missing_ok=True)


def test_a_file_that_is_deleted_again_and_again_costs_time_and_no_answer(root: Path) -> None:
    for run in "rst":
        append(root, run, "0-a", lines(header(run, "0-a", GONE), *[point(step, x=step) for step in range(20_000)]))
    context = multiprocessing.get_context("spawn")
    others = [context.Process(target=_refresh_often, args=(root, 3.0)) for _ in range(2)]
    others.append(context.Process(target=_delete_often, args=(root, 3.0)))
    for each in others:
        each.start()
    store = open_store(root)
    while any(each.is_alive() for each in others):
        assert [len(run.history("x")) for run in store.runs()] == [20_000] * 3
    for each in others:
        each.join()
        assert each.exitcode == 0


@pytest.mark.skipif(not hasattr(os, "fork") or os.geteuid() != 0, reason="needs another user")
@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_a_store_that_cannot_be_written_is_indexed_in_the_cache_folder(monkeypatch: pytest.MonkeyPatch) -> None:
    with tempfile.TemporaryDirectory() as folder:
        root, cache = Path(folder, "store"), Path(folder, "cache")
        append(root, "r", "0-a", lines(header("r", "0-a", GONE), point(0, x=1)))
        secret = append(root, "secret", "0-a", lines(header("secret", "0-a", GONE), point(0, x=1)))
        secret.chmod(0o600)
        cache.mkdir()
        os.chmod(folder, 0o755)
        os.chmod(cache, 0o777)
        before = {path: path.stat().st_mtime_ns for path in root.rglob("*")}
        for place in (cache, cache / "r", Path("/proc/nowhere")):  # the last one can't be written either
            monkeypatch.setenv("XDG_CACHE_HOME", str(place))
            assert _as_nobody(root) == 0
        assert list(cache.rglob("*.sqlite"))
        assert {path: path.stat().st_mtime_ns for path in root.rglob("*")} == before


def _as_nobody(root: Path) -> int:
    child = os.fork()
    if child == 0:
        os.setuid(65534)
        store = open_store(root)
        good = store.run("r").metrics == {"x": 1} and [item.path.name for item in store.damage] == ["1.jsonl"]
        os._exit(0 if good else 1)
    return os.waitpid(child, 0)[1]


def test_network_file_systems_are_told_by_the_table_of_mounts() -> None:
    mounts = "/dev/sda / ext4 rw 0 0\nserver:/home /home nfs4 rw 0 0\n/dev/sdb /home/local\\040disk xfs rw 0 0\n"
    assert sqlite_file.is_remote(Path("/home/me/.tachograph"), mounts)
    assert not sqlite_file.is_remote(Path("/home/local disk/x"), mounts)
    assert not sqlite_file.is_remote(Path("/var"), mounts)
    assert not sqlite_file.is_remote(Path("/var"), "")


def test_a_locked_index_is_named_in_one_line(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    append(root, "r", "0-a", lines(header("r", "0-a", ALIVE), point(0, x=1)))
    open_store().runs()
    monkeypatch.setattr(sqlite_file, "BUSY_SECONDS", 0.1)
    blocker = sqlite3.connect(root / sqlite_file.FILENAME, isolation_level=None)
    blocker.execute("BEGIN IMMEDIATE")
    append(root, "r", "0-a", lines(point(1, x=2), first=3))
    with pytest.raises(tachograph.Error, match=r"^the index of .* can't be used \(database is locked\).*$"):
        open_store().runs()
    blocker.execute("ROLLBACK")
    blocker.close()
    assert open_store().run("r").metrics == {"x": 2}


def test_the_ranges_of_sequence_numbers() -> None:
    from tachograph.index.projection import Seen

    for seed in range(50):
        random, seen, known = Random(seed), Seen([]), set()
        for _ in range(60):
            seq = random.randint(1, 30)
            assert seen.add(seq) == (seq not in known)
            known.add(seq)
        assert [number for first, last in seen.ranges for number in range(first, last + 1)] == sorted(known)
        assert all(first[1] + 1 < second[0] for first, second in zip(seen.ranges, seen.ranges[1:], strict=False))


def test_a_quiet_hour_is_an_hour() -> None:
    assert index.QUIET_SECONDS == 3600.0
