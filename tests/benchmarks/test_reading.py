"""Reading back, beside what else could be done with the same data on the same machine."""

from __future__ import annotations

import json
import os
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tachograph import events, journal
from tachograph.events import Event, Metrics, Params, RunEnd, RunStart
from tachograph.index.index import Index
from tachograph.store.store import Store, open_store

pytestmark = pytest.mark.benchmark

POINTS = 1_000_000


def milliseconds(work: Callable[[], Any], repetitions: int = 5) -> float:
    """The shortest of several."""
    found = []
    for _ in range(repetitions):
        started = time.perf_counter()
        work()
        found.append(time.perf_counter() - started)
    return min(found) * 1e3


def write(root: Path, run: str, happened: Iterable[Event]) -> None:
    folder = root / "runs" / run / "0-elsewhere-1-x"
    folder.mkdir(parents=True)
    start = RunStart(
        run=run, writer=folder.name, role="owner", host="elsewhere", boot="b", pid=1, born=1, name=run, experiment="e"
    )
    with open(folder / "1.jsonl", "wb") as file:
        for seq, event in enumerate([start, *happened], start=1):
            event.v, event.seq, event.at = 1, seq, 1.7e9 + seq * 0.01
            file.write(events.encode(event) + b"\n")


def points(count: int) -> Iterable[Event]:
    return (Metrics(step=step, values={"loss": 1 / (step + 1)}) for step in range(count))


@pytest.fixture(scope="module")
def long(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A store with one run of a million points."""
    root = tmp_path_factory.mktemp("long")
    write(root, "long", points(POINTS))
    return root


@pytest.fixture(scope="module")
def many(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A store of a thousand runs: ten parameters, five metrics, twelve figures of the hardware each. One goes on."""
    root = tmp_path_factory.mktemp("many")
    for number in range(1000):
        write(root, f"r{number:04}", _small(number))
        os.utime(root / "runs" / f"r{number:04}" / "0-elsewhere-1-x" / "1.jsonl", (1, 1))
    open_store(root).runs()
    return root


def _small(number: int) -> Iterable[Event]:
    yield Params(values={f"p{name}": number * name * 0.1 for name in range(10)})
    for step in range(20):
        yield Metrics(step=step, values={f"m{name}": float(number * name % 97) for name in range(5)})
        yield Metrics(step=step, values={f"system/s{name}": float(name) for name in range(12)})
    if number != 500:
        yield RunEnd(status="finished")


def test_indexing_is_faster_than_parsing_the_lines_as_json(long: Path) -> None:
    text = next(long.rglob("1.jsonl")).read_text()
    parsing = milliseconds(lambda: [json.loads(line) for line in text.splitlines()], 2)
    store = open_store(long)
    store.runs()
    indexing = milliseconds(Index(long).rebuild, 2)
    print(f"{POINTS / indexing * 1e3:,.0f} points a second; parsing alone {POINTS / parsing * 1e3:,.0f}")
    assert indexing < parsing * 1.2


def test_a_history_is_read_as_fast_as_arrays_from_a_file(long: Path, tmp_path: Path) -> None:
    run = open_store(long).run("long")
    found = run.history("loss")
    np.savez(tmp_path / "a.npz", steps=found.steps, times=found.times, values=found.values)

    def load() -> list[Any]:
        with np.load(tmp_path / "a.npz") as arrays:
            return [arrays[name] for name in arrays]

    loading, reading = milliseconds(load), milliseconds(lambda: run.history("loss"))
    print(f"a history of {POINTS:,} points in {reading:.1f} ms; np.load {loading:.1f} ms")
    assert reading < 2 * loading + 20


def test_a_history_is_read_ten_times_faster_than_from_a_table_of_points(long: Path, tmp_path: Path) -> None:
    run = open_store(long).run("long")
    found = run.history("loss")
    table = sqlite3.connect(tmp_path / "points.sqlite")
    table.execute("CREATE TABLE point (run INTEGER, name TEXT, step INTEGER, time REAL, value REAL)")
    rows = zip(found.steps.tolist(), found.times.tolist(), found.values.tolist(), strict=True)
    table.executemany("INSERT INTO point VALUES (1, 'loss', ?, ?, ?)", rows)
    table.execute("CREATE INDEX by_name ON point (run, name)")
    table.commit()

    def select() -> list[Any]:
        chosen = table.execute("SELECT step, time, value FROM point WHERE run = 1 AND name = 'loss'").fetchall()
        return [np.array(column) for column in zip(*chosen, strict=True)]

    selecting, reading = milliseconds(select, 2), milliseconds(lambda: run.history("loss"))
    table.close()
    print(f"{reading:.1f} ms; from a table of points {selecting:.1f} ms: {selecting / reading:.0f} times as long")
    assert reading * 10 < selecting


def test_a_history_is_read_ten_times_faster_than_from_a_file_of_events_read_whole(long: Path) -> None:
    run = open_store(long).run("long")
    writer = next((long / "runs" / "long").iterdir())

    def read_whole() -> list[Any]:
        chosen = [
            event for event in journal.read_writer(writer) if isinstance(event, Metrics) and "loss" in event.values
        ]
        return [
            np.array([event.step for event in chosen]),
            np.array([event.at for event in chosen]),
            np.array([event.values["loss"] for event in chosen]),
        ]

    whole, reading = milliseconds(read_whole, 2), milliseconds(lambda: run.history("loss"))
    print(f"{reading:.1f} ms; from the events read whole {whole:.0f} ms: {whole / reading:.0f} times as long")
    assert reading * 10 < whole


def test_a_thousand_runs_are_listed_in_the_time_of_a_few_thousand_small_files(many: Path, tmp_path: Path) -> None:
    store = open_store(many)
    for run in store.runs():
        (tmp_path / f"{run.id}.json").write_text(json.dumps({"params": run.params, "metrics": run.metrics}))

    def list_all() -> float:
        return sum(run.metrics["m1"] + run.params["p1"] for run in store.runs())

    reading = milliseconds(lambda: [json.loads(path.read_text()) for path in tmp_path.glob("*.json")])
    listing = milliseconds(list_all)
    print(f"1,000 runs with params and metrics in {listing:.1f} ms; as many small files {reading:.1f} ms")
    assert listing < reading * 6


def test_a_filter_costs_less_than_the_list(many: Path) -> None:
    store = open_store(many)
    listing = milliseconds(store.runs)
    filtering = milliseconds(lambda: store.runs(where="metrics.m3 > 50", order_by="metrics.m1 desc", limit=20))
    print(f"filtered and sorted by metrics in {filtering:.1f} ms; all in {listing:.1f} ms")
    assert filtering < listing * 1.5


def test_new_points_among_a_thousand_runs_are_seen_at_once(many: Path) -> None:
    store = open_store(many)
    store.runs()
    path = many / "runs" / "r0500" / "0-elsewhere-1-x" / "1.jsonl"

    def walk() -> int:
        return sum(found.stat().st_size for found in many.rglob("*.jsonl"))

    walking, seeing = milliseconds(walk), []
    for first in range(1000, 1500, 100):
        added = [Metrics(1, seq, 1.8e9 + seq, seq, {"m1": float(seq)}) for seq in range(first, first + 100)]
        with open(path, "ab") as file:
            file.writelines(events.encode(event) + b"\n" for event in added)
        started = time.perf_counter()
        steps = store.run("r0500").history("m1").steps
        seeing.append((time.perf_counter() - started) * 1e3)
        assert steps[-1] == first + 99
    print(f"seen after {min(seeing):.1f} ms; to look at every file takes {walking:.1f} ms")
    assert min(seeing) < walking


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_memory_stays_flat(tmp_path: Path) -> None:
    used = []
    for count in (200_000, 1_500_000):
        root = tmp_path / str(count)
        write(root, "r", points(count))
        used.append(_peak(root))
    print(f"{used[0]:.0f} MB for 200,000 points, {used[1]:.0f} MB for 1,500,000")
    assert used[1] < used[0] + 40


def _peak(root: Path) -> float:
    """Megabytes of memory that a process which indexes ``root`` takes at most."""
    code = (
        "import sys; from tachograph.store.store import open_store; open_store(sys.argv[1]).runs();"
        "print(next(line.split()[1] for line in open('/proc/self/status') if line.startswith('VmHWM')))"
    )
    told = subprocess.run([sys.executable, "-c", code, str(root)], capture_output=True, text=True, check=True)
    return int(told.stdout) / 1024


def test_the_store_is_opened_quickly(many: Path) -> None:
    def ask() -> None:
        store: Store = open_store(many)
        store.runs(limit=20)
        store.close()

    walking = milliseconds(lambda: [path.stat() for path in many.rglob("*.jsonl")])
    opening = milliseconds(ask)
    print(f"opened and asked in {opening:.1f} ms; to look at every file takes {walking:.1f} ms")
    assert opening < walking * 2
