"""Witnesses: who makes one, of whom, and what readers make of it."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from functools import partial
from itertools import permutations
from pathlib import Path

import msgspec
import pytest
from tests.unit.index.test_index import ELSEWHERE, GONE, append, header, lines, point

import tachograph
from tachograph import events, journal
from tachograph.events import Note, RunEnd, RunStart
from tachograph.journal import tombstones
from tachograph.journal import witnesses as witness
from tachograph.runtime import process
from tachograph.runtime.background import background
from tachograph.runtime.process import Process
from tachograph.ship.positions import begin_again
from tachograph.store.store import open_store

RUN, WRITER = "r", "0-elsewhere-7-a"
Script = Callable[..., "subprocess.CompletedProcess[str]"]


def began(writer: str = WRITER, points: int = 2, **facts: object) -> list[bytes]:
    """A writer that is on another machine, without an end: so many points after its start."""
    return lines(header(RUN, writer, **facts), *(point(step, loss=step) for step in range(points)))


def seen(writer: str = WRITER, last: int = 3, **facts: object) -> list[bytes]:
    """A witness of that writer's death, with the time of its last event."""
    start = header(RUN, f"{writer}.gone-{last}", role="witness", **facts)
    end = RunEnd(status="crashed", of=writer, last=last)
    found = lines(start, end)
    end.at = 1000.0 + last - 1
    return [found[0], events.encode(end) + b"\n"]


def status(root: Path) -> str:
    return open_store(root).run(RUN).status


# -- what readers make of it --

PARTS = {
    "lines": (WRITER, began(), 1),
    "end": (WRITER, lines(RunEnd(status="finished", seconds=3.0), first=4, at=1003.0), 4),
    "witness": (f"{WRITER}.gone-3", seen(), 1),
}


@pytest.mark.parametrize("order", list(permutations(PARTS)))
def test_whatever_comes_first_an_end_counts_and_without_one_the_witness(root: Path, order: tuple[str, ...]) -> None:
    (root / "runs").mkdir(parents=True)
    reading = open_store(root)
    there = set()
    for name in order:
        writer, content, segment = PARTS[name]
        append(root, RUN, writer, content, segment)
        there.add(name)
        expected = "finished" if "end" in there else "crashed" if there == {"lines", "witness"} else "running"
        if there == {"witness"}:
            assert reading.runs() == []  # of a run that nobody knows
            continue
        [run] = reading.runs()
        [own] = run.writers
        assert (run.status, own.status, own.id) == (expected, expected, WRITER)
        if expected == "crashed":
            assert run.ended is not None
            assert (run.ended, run.error, run.seconds) == (run.latest, None, None)
            assert run.ended.timestamp() == 1002.0
    assert (run.status, run.seconds) == ("finished", 3.0)


def test_a_writer_of_which_something_was_heard_since_lives(root: Path) -> None:
    append(root, RUN, WRITER, began(points=2))
    append(root, RUN, f"{WRITER}.gone-3", seen(last=3))
    assert status(root) == "crashed"
    append(root, RUN, WRITER, lines(point(2, loss=2), first=4, at=1003.0))
    assert status(root) == "running"
    append(root, RUN, f"{WRITER}.gone-4", seen(last=4))
    [run] = open_store(root).runs()
    assert (run.status, [writer.status for writer in run.writers]) == ("crashed", ["crashed"])


def test_the_newest_attempt_counts_and_other_ranks_do_not(root: Path) -> None:
    append(root, RUN, WRITER, began())
    append(root, RUN, f"{WRITER}.gone-3", seen())
    again = "0-elsewhere-9-b"
    append(root, RUN, again, began(again, attempt=1))
    worker = "1-elsewhere-8-c"
    append(root, RUN, worker, began(worker, role="worker", rank=1))
    append(root, RUN, f"{worker}.gone-3", seen(worker, rank=1))
    [run] = open_store(root).runs()
    assert (run.status, run.ended) == ("running", None)
    assert {writer.id: writer.status for writer in run.writers} == {
        WRITER: "crashed",
        again: "running",
        worker: "crashed",
    }
    append(root, RUN, f"{again}.gone-3", seen(again, attempt=1))
    assert status(root) == "crashed"


def test_a_reader_of_an_earlier_version_reads_on(root: Path) -> None:
    """It knows neither the role nor the fields, and no kind is new."""
    for line in seen():
        assert isinstance(events.decode(line), RunStart | RunEnd)
        assert set(msgspec.json.decode(line)) - {"of", "last"} <= {"kind", *RunStart.__struct_fields__, "status"}
    assert b'"of"' not in events.encode(RunEnd(status="finished"))


# -- who makes one --

KILLED = """
import os, signal, sys
import tachograph
with tachograph.start_run("outer") as outer, outer.child("inner") as run:
    run.log({"loss": 1.0})
    os.kill(os.getpid(), signal.SIGKILL)
"""


def witnesses(root: Path) -> list[Path]:
    return sorted(root.glob("runs/*/*.gone-*"))


def all_runs(root: Path) -> list[str]:
    return [folder.name for folder in (root / "runs").iterdir()]


def recorded(root: Path, who: Process, *happened: events.Event) -> Path:
    """A writer's folder, as one of that process."""
    name = f"0-{who.place}-{who.pid}-a"
    return append(root, RUN, name, lines(header(RUN, name, who), *happened)).parent


def test_the_next_run_in_the_store_makes_one_for_each_run_that_died(root: Path, script: Script) -> None:
    script(KILLED)
    with tachograph.start_run("next"):
        assert background.drain(10)
    made = witnesses(root)
    assert len(made) == 2
    for folder in made:
        start, end = journal.read_writer(folder)
        assert isinstance(start, RunStart)
        assert isinstance(end, RunEnd)
        writer = folder.with_name(end.of)
        own, last = journal.header(writer), list(journal.read_writer(writer))[-1]
        assert own == msgspec.structs.replace(start, writer=writer.name, role="owner")
        assert isinstance(last, events.Event)
        assert (end.status, end.last, end.at) == ("crashed", last.seq, last.at)
        assert folder.name == f"{end.of}.gone-{end.last}"
    store = open_store(root)
    assert [run.status for run in store.runs(children=True)] == ["finished", "crashed", "crashed"]
    assert [len(run.writers) for run in store.runs(children=True)] == [1, 1, 1]


@pytest.mark.slow
def test_nothing_is_written_by_those_who_read(root: Path, script: Script) -> None:
    script(KILLED)
    for command in (["runs"], ["show", "latest"], ["doctor"], ["verify"], ["sync", "--dry-run", "--to", "file:///far"]):
        subprocess.run([sys.executable, "-m", "tachograph", *command], capture_output=True, timeout=180, check=False)
    assert witnesses(root) == []


def test_of_a_process_that_lives_there_is_none(root: Path) -> None:
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as running:
        recorded(root, process.numbered(running.pid), point(0, loss=1.0))
        witness.testify(root, [RUN], partial(begin_again, root))
        assert witnesses(root) == []
        running.kill()
        os.waitid(os.P_PID, running.pid, os.WEXITED | os.WNOWAIT)
        witness.testify(root, [RUN], partial(begin_again, root))
        assert len(witnesses(root)) == 1


@pytest.mark.parametrize(
    ("who", "count"),
    [
        (ELSEWHERE, 0),
        (msgspec.structs.replace(GONE, host="elsewhere"), 0),
        (GONE, 1),
        (msgspec.structs.replace(process.this(), born=process.this().born - 1), 1),
    ],
    ids=["another host", "another host and boot", "an earlier boot", "the number was given again"],
)
def test_only_what_can_be_proven_here(root: Path, who: Process, count: int) -> None:
    recorded(root, who, point(0, loss=1.0))
    witness.testify(root, [RUN], partial(begin_again, root))
    assert len(witnesses(root)) == count


def test_who_has_ended_needs_none_and_a_witness_neither(root: Path) -> None:
    recorded(root, GONE, RunEnd(status="failed"), Note(text="late"))
    witness.testify(root, [RUN], partial(begin_again, root))
    assert witnesses(root) == []
    append(root, "other", "0-w", [])
    recorded(root, msgspec.structs.replace(GONE, pid=8))
    witness.testify(root, ["no such run", "other", RUN], partial(begin_again, root))
    witness.testify(root, [RUN], partial(begin_again, root))
    assert len(witnesses(root)) == 1


def test_a_line_that_was_cut_off_is_not_counted(root: Path) -> None:
    writer = recorded(root, GONE, point(0, loss=1.0))
    with open(writer / "1.jsonl", "ab") as file:
        file.write(b'{"kind":"metrics","v":1,"seq":3,"at":17')
    witness.testify(root, [RUN], partial(begin_again, root))
    assert [folder.name for folder in witnesses(root)] == [f"{writer.name}.gone-2"]


def test_the_last_event_is_found_behind_much_that_is_no_event(root: Path) -> None:
    writer = recorded(root, GONE, point(0, loss=1.0), point(1, loss=1.0))
    with open(writer / "1.jsonl", "ab") as file:
        file.write(b"\0" * (journal.reading.TAIL_BYTES * 2))
    assert journal.last(writer) == (3, 1002.0)
    (writer / "4.jsonl").touch()  # made, and then the process died
    assert journal.last(writer) == (3, 1002.0)


MANY = 6
AT_ONCE = """
import sys, time
from functools import partial
from pathlib import Path
from tachograph.journal import witnesses as witness
from tachograph.ship.positions import begin_again
root = Path(sys.argv[1])
print("ready", flush=True)
sys.stdin.readline()
for _ in range(20):
    witness.testify(root, [folder.name for folder in (root / "runs").iterdir()], partial(begin_again, root))
"""


@pytest.mark.slow
def test_many_at_once_make_one(root: Path) -> None:
    recorded(root, GONE, *(point(step, loss=1.0) for step in range(1000)))
    command = [sys.executable, "-c", AT_ONCE, str(root)]
    proving = [
        subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        for _ in range(MANY)
    ]
    for one in proving:
        assert one.stdout is not None
        assert one.stdout.readline() == "ready\n"
    errors = [one.communicate("go\n", timeout=180)[1] for one in proving]
    assert errors == [""] * MANY
    [made] = witnesses(root)
    assert [path.name for path in made.iterdir()] == ["1.jsonl"]
    assert len(list(journal.read_writer(made))) == 2
    assert status(root) == "crashed"


def test_one_that_was_cut_off_while_it_was_made_is_made_anew(root: Path) -> None:
    writer = recorded(root, GONE, point(0, loss=1.0))
    folder = writer.with_name(f"{writer.name}.gone-2")
    folder.mkdir()
    (folder / ".draft-1-a").write_text("half")
    assert [len(run.writers) for run in open_store(root).runs()] == [1]
    witness.testify(root, [RUN], partial(begin_again, root))
    assert len(list(journal.read_writer(folder))) == 2


def test_a_removed_run_stays_removed(root: Path) -> None:
    writer = recorded(root, GONE)
    tombstones.remove(root, [(RUN, RUN)])
    late = lines(point(0, loss=1.0), first=2, at=9e9)
    append(root, RUN, writer.name, [*lines(header(RUN, writer.name, GONE)), *late])
    witness.testify(root, [RUN], partial(begin_again, root))
    assert len(witnesses(root)) == 1
    assert open_store(root).runs() == []
