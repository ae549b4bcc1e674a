"""The index says what the journals say, however it came to know it."""

from __future__ import annotations

import multiprocessing
import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path
from random import Random

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tests.parts.journals import ALIVE, ELSEWHERE, GONE, append, fresh, header, lines, point, told

import tachograph
from tachograph import events
from tachograph.events import Note, Params, RunEnd, Tags
from tachograph.index import index, sqlite_file
from tachograph.store.store import open_store


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


def test_recording_goes_on_while_the_index_is_read(root: Path) -> None:
    store = open_store()
    with tachograph.start_run() as run:
        for step in range(300):
            run.log({"x": step})
            assert store.run(run.id).metrics["x"] == step
    assert store.run(run.id).history("x").steps.tolist() == list(range(300))


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


@pytest.mark.slow
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


@pytest.mark.slow
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


@pytest.mark.slow
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


def _delete_often(root: Path, seconds: float) -> None:
    random, until = Random(0), time.monotonic() + seconds
    while time.monotonic() < until:
        time.sleep(random.uniform(0.05, 0.3))
        (root / sqlite_file.FILENAME).unlink(missing_ok=True)
        if random.random() < 0.5:
            for suffix in ("-wal", "-shm"):
                (root / (sqlite_file.FILENAME + suffix)).unlink(missing_ok=True)


@pytest.mark.slow
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


def test_a_quiet_hour_is_an_hour() -> None:
    assert index.QUIET_SECONDS == 3600.0
