"""What many runs cost: bytes, files, requests and seconds, for runs of different shapes.

    pytest -m benchmark -s tests/benchmarks/test_costs.py
    COSTS_RUNS=1000,10000,100000 pytest -m benchmark -s tests/benchmarks/test_costs.py -k asking

The figures in examples/spark_and_duckdb/README.md are from here. Values are 32-bit floats, as trainings log them.
"""

from __future__ import annotations

import gzip
import os
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import duckdb
import numpy as np
import pytest
from tests.integrations.server.serving import Server
from tests.parts import postgres, seaweedfs

from tachograph import events
from tachograph.bucket.objects import Objects
from tachograph.compact import FolderDestination, compact
from tachograph.events import Event, Metrics, Params, RunEnd, RunStart
from tachograph.store.store import open_store

pytestmark = [pytest.mark.benchmark, pytest.mark.timeout(3600)]

BEGAN = 1_780_000_000.0
RUNS = [int(count) for count in os.environ.get("COSTS_RUNS", "1000,10000").split(",")]


class Shape(NamedTuple):
    """So many runs, each with ``metrics`` of ``points`` each; ``together`` of them are logged with one call."""

    runs: int
    metrics: int
    points: int
    together: int

    @property
    def total(self) -> int:
        return self.runs * self.metrics * self.points


LONG = Shape(runs=1, metrics=1, points=1_000_000, together=1)
LOOP = Shape(runs=50, metrics=5, points=2_000, together=5)
WIDE = Shape(runs=20, metrics=1_000, points=10, together=1_000)
WIDER = Shape(runs=10, metrics=1_000, points=100, together=1_000)
LAST = Shape(runs=50, metrics=1_000, points=1, together=1_000)


def record(root: Path, shape: Shape, first: int = 0) -> None:
    """Write the journals of such runs, five minutes apart, as a process elsewhere would have."""
    random = np.random.default_rng(first)
    names = [f"layer{number // 4}/{('norm', 'mean', 'std', 'max')[number % 4]}" for number in range(shape.metrics)]
    for number in range(first, first + shape.runs):
        run = f"r{number:07}"
        folder = root / "runs" / run / "0-elsewhere-1-x"
        folder.mkdir(parents=True)
        lines = [events.encode(event) for event in _dated(run, _events(shape, names, random), number)]
        (folder / "1.jsonl").write_bytes(b"\n".join([*lines, b""]))
        os.utime(folder / "1.jsonl", (BEGAN + number * 300,) * 2)


def _dated(run: str, happened: Iterator[Event], number: int) -> Iterator[Event]:
    start = RunStart(
        run=run, writer="0-elsewhere-1-x", role="owner", host="elsewhere", boot="b", pid=1, born=1, name=run,
        experiment=f"e{number % 10}",
    )  # fmt: skip
    for seq, event in enumerate((start, *happened), start=1):
        event.v, event.seq, event.at = 1, seq, BEGAN + number * 300 + seq * 0.1371
        yield event


def _events(shape: Shape, names: list[str], random: np.random.Generator) -> Iterator[Event]:
    yield Params(values={f"p{number}": float(value) for number, value in enumerate(random.normal(size=10))})
    for step in range(shape.points):
        values = (random.normal(1.0, 0.1, shape.metrics) / (1 + step / 100)).astype("f4").tolist()
        for at in range(0, shape.metrics, shape.together):
            chosen = zip(names[at : at + shape.together], values[at : at + shape.together], strict=True)
            yield Metrics(step=step, values=dict(chosen))
    yield RunEnd(status="finished", seconds=1.0)


def seconds(work: Callable[[], Any]) -> float:
    started = time.perf_counter()
    work()
    return time.perf_counter() - started


def size(path: Path) -> int:
    return (
        sum(found.stat().st_size for found in path.rglob("*") if found.is_file())
        if path.is_dir()
        else path.stat().st_size
    )


@pytest.mark.parametrize("shape", [LONG, LOOP, LAST, WIDE, WIDER], ids=["long", "loop", "last", "wide", "wider"])
def test_what_a_point_costs(shape: Shape, tmp_path: Path) -> None:
    record(tmp_path, shape)
    journals = size(tmp_path / "runs")
    packed = sum(len(gzip.compress(path.read_bytes(), 6)) for path in tmp_path.rglob("*.jsonl"))
    store = open_store(tmp_path)
    indexing = seconds(store.refresh)
    compacting = seconds(lambda: compact(store, FolderDestination(tmp_path / "tables")))
    store.close()  # what is in its log goes into the file
    index = size(tmp_path / "index.sqlite")
    points, runs = size(tmp_path / "tables" / "metrics"), size(tmp_path / "tables" / "runs")
    each = {"journal": journals, "gzip": packed, "index": index, "Parquet points": points, "Parquet runs": runs}
    print(f"\n{shape}: {shape.total:,} points")
    for name, count in each.items():
        print(f"  {name:15} {count / shape.total:8.2f} B a point {count / shape.runs:12,.0f} B a run")
    print(f"  indexed {shape.total / indexing:,.0f} points/s, compacted {shape.total / compacting:,.0f} points/s")
    assert packed < journals / 2
    assert points < packed or shape.points == 1


@pytest.mark.parametrize("count", RUNS)
def test_what_asking_costs(count: int, tmp_path: Path) -> None:
    shape = Shape(runs=count, metrics=10, points=10, together=10)
    writing = seconds(lambda: record(tmp_path, shape))
    store = open_store(tmp_path)
    indexing = seconds(store.refresh)
    compacting = seconds(lambda: compact(store, FolderDestination(tmp_path / "tables")))
    again = seconds(lambda: compact(store, FolderDestination(tmp_path / "tables")))
    store.close()
    told = {
        "journals": f"{size(tmp_path / 'runs') / count:,.0f} B a run",
        "index": f"{size(tmp_path / 'index.sqlite') / count:,.0f} B a run, {count / indexing:,.0f} runs/s",
        "tables": f"{size(tmp_path / 'tables') / count:,.0f} B a run, {count / compacting:,.0f} runs/s",
        "once more": f"{again:.2f} s, to find {len(list((tmp_path / 'tables').rglob('*.parquet')))} files up to date",
    }
    print(f"\n{count:,} runs of 10 metrics with 10 points ({writing:.0f} s to write)")
    for name, text in told.items():
        print(f"  {name:9} {text}")
    questions = {**_of_store(tmp_path, count), **_of_tables(tmp_path / "tables", count)}
    for name, ask in questions.items():
        first, second = seconds(ask), min(seconds(ask) for _ in range(3))
        print(f"  {name:45} {first * 1e3:9.1f} ms, then {second * 1e3:9.1f} ms")
    assert again < compacting / 2


def _of_store(root: Path | str, count: int) -> dict[str, Callable[[], Any]]:
    store, one = open_store(root), f"r{count // 2:07}"
    return {
        "store: opened anew, newest 20": lambda: open_store(root).runs(limit=20),
        "store: newest 20": lambda: store.runs(limit=20),
        "store: best 20 by a metric": lambda: store.runs(order_by='metrics."layer0/max"', limit=20),
        "store: of an experiment, where metric and param": lambda: store.runs(
            "e3", where='metrics."layer0/max" > 1.1 and params.p3 > 1', limit=20
        ),
        "store: a run by id, its history": lambda: store.run(one).history("layer0/max"),
    }


def _of_tables(tables: Path, count: int) -> dict[str, Callable[[], Any]]:
    runs, metrics = f"'{tables}/runs/*/*.parquet'", f"'{tables}/metrics/*/*.parquet'"
    day = time.strftime("%Y-%m-%d", time.gmtime(BEGAN + count // 2 * 300))
    metric, one = "layer0/max", f"r{count // 2:07}"

    def ask(sql: str) -> Callable[[], Any]:
        return lambda: duckdb.connect(config={"threads": 2}).sql(sql).fetchall()

    return {
        "DuckDB: best 20 by a metric": ask(
            f"SELECT id, metrics['{metric}'] AS value FROM {runs} ORDER BY value LIMIT 20"
        ),
        "DuckDB: mean curve over all runs": ask(
            f"SELECT step, avg(value) FROM {metrics} WHERE name = '{metric}' GROUP BY step"
        ),
        "DuckDB: the same of one day": ask(
            f"SELECT step, avg(value) FROM {metrics} WHERE date = DATE '{day}' AND name = '{metric}' GROUP BY step"
        ),
        "DuckDB: a run's history": ask(
            f"SELECT step, value FROM {metrics} WHERE date = DATE '{day}' AND run = '{one}' AND name = '{metric}'"
        ),
    }


@pytest.fixture
def s3(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> str:
    """An empty bucket."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    for name, value in seaweedfs.running().environment.items():
        monkeypatch.setenv(name, value)
    return seaweedfs.running().new_bucket()


@pytest.fixture
def requests(monkeypatch: pytest.MonkeyPatch) -> Counter[str]:
    """How many were made of a bucket, by kind. Lists are of less than a thousand objects here."""
    counts: Counter[str] = Counter()
    kinds = {"PUT": ["create", "put", "put_pieces"], "GET": ["read", "read_range"], "HEAD": ["size"],
             "LIST": ["listed", "folders"], "DELETE": ["delete"]}  # fmt: skip

    def count(kind: str, verb: str) -> None:
        original = getattr(Objects, verb)

        def counted(self: Objects, *given: Any) -> Any:
            counts[kind] += 1
            return original(self, *given)

        monkeypatch.setattr(Objects, verb, counted)

    for kind, verbs in kinds.items():
        for verb in verbs:
            count(kind, verb)
    return counts


def test_what_a_bucket_is_asked(tmp_path: Path, s3: str, requests: Counter[str]) -> None:
    """A day of 288 runs, which are sent, asked for, and compacted; then another hour's."""
    from tachograph.cli import main

    def ask() -> None:
        store = open_store(s3)
        assert store.runs(limit=20)
        store.close()

    print()
    for first, count in ((0, 288), (288, 12)):
        record(tmp_path, Shape(runs=count, metrics=10, points=10, together=10), first)
        for what, work in {
            "sent": lambda: main(["sync", "--root", str(tmp_path), "--to", s3]),
            "asked for": ask,
            "asked for again": ask,
            "compacted": lambda: main(["compact", "--root", s3]),
        }.items():
            requests.clear()
            print(f"  {count} runs {what}: {seconds(work):.1f} s, {dict(requests)}")


@pytest.mark.parametrize("shape", [Shape(RUNS[0], 10, 10, 10), LAST], ids=["small", "last"])
@pytest.mark.parametrize("place", ["folder", "postgresql"])
def test_what_a_server_takes_and_answers(shape: Shape, place: str, tmp_path: Path) -> None:
    from tachograph.cli import main

    root, database = tmp_path / "here", postgres.running().new_database() if place == "postgresql" else None
    record(root, shape)
    count = shape.runs
    blobs = ("--database", database, "--blobs", str(tmp_path / "blobs")) if database else ()
    server = Server(tmp_path / "served", *blobs)
    try:
        print(f"\n{shape} on a server with a {place}")
        sending = seconds(lambda: main(["sync", "--root", str(root), "--to", server.url]))
        print(f"  taken at {count / sending:,.0f} runs/s")
        for name, ask in _of_store(server.url, count).items():
            first, second = seconds(ask), min(seconds(ask) for _ in range(3))
            print(f"  {name:50} {first * 1e3:9.1f} ms, then {second * 1e3:9.1f} ms")
        if database:
            _tell_sizes(database, count)
    finally:
        server.kill()


def _tell_sizes(database: str, count: int) -> None:
    import psycopg

    with psycopg.connect(database) as connection:
        sizes = connection.execute(
            """SELECT relname, pg_total_relation_size(oid) FROM pg_class
               WHERE relkind = 'r' AND oid > 16383 ORDER BY 2 DESC LIMIT 8"""
        ).fetchall()
    print("  bytes a run:", ", ".join(f"{name} {size / count:,.0f}" for name, size in sizes))


def test_memory_of_a_compaction_is_bounded(tmp_path: Path) -> None:
    record(tmp_path, Shape(runs=1, metrics=1, points=10_000_000, together=1))
    open_store(tmp_path).refresh()
    code = (
        "import sys; from tachograph.cli import main; main(['compact', '--root', sys.argv[1]]);"
        "print(next(line.split()[1] for line in open('/proc/self/status') if line.startswith('VmHWM')))"
    )
    started = time.perf_counter()
    told = subprocess.run([sys.executable, "-c", code, str(tmp_path)], capture_output=True, text=True, check=True)
    taken, used = time.perf_counter() - started, int(told.stdout.split()[-1]) / 1024
    assert duckdb.sql(f"SELECT count(*) FROM '{tmp_path}/tables/metrics/*/*.parquet'").fetchall() == [(10_000_000,)]
    print(f"\na run of 10,000,000 points: {taken:.1f} s, {used:.0f} MB of memory")
    assert used < 500
