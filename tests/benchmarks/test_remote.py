"""Reading a server on this machine, beside reading its folder."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterable, Iterator
from functools import partial
from pathlib import Path

import pytest
from tests.benchmarks.test_reading import milliseconds, points, write
from tests.integrations.server.serving import Server

from tachograph.events import Event, Metrics, Params, RunEnd
from tachograph.store.store import open_store

pytestmark = pytest.mark.benchmark

POINTS = 100_000
RUNS = 1000


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server on a folder of a thousand runs, one of which has a hundred thousand points."""
    root = tmp_path_factory.mktemp("remote") / "store"
    for number in range(RUNS):
        write(root, f"r{number:04}", _small(number))
    write(root, "long", points(POINTS))
    running = Server(root)
    open_store(running.url).runs(limit=1)
    yield running
    running.kill()


def _small(number: int) -> Iterable[Event]:
    yield Params(values={f"p{name}": number * name * 0.1 for name in range(10)})
    yield Metrics(step=0, values={f"m{name}": float(number * name % 97) for name in range(5)})
    yield RunEnd(status="finished")


def test_a_hundred_runs(served: Server) -> None:
    here, there = open_store(served.root), open_store(served.url)
    local, remote = (milliseconds(partial(store.runs, limit=100), 20) for store in (here, there))
    print(
        f"100 runs of {RUNS:,} in {remote:.1f} ms; from the folder {local:.1f} ms: {remote / local:.1f} times as long"
    )
    assert remote < local + 10


def test_a_hundred_runs_with_all_that_a_table_shows(served: Server) -> None:
    here, there = open_store(served.root), open_store(served.url)
    local, remote = (milliseconds(lambda store=store: store.runs(limit=100).to_pandas(), 10) for store in (here, there))
    print(f"as a frame in {remote:.1f} ms; from the folder {local:.1f} ms: {remote / local:.1f} times as long")
    assert remote < 2 * local + 20


def test_a_history(served: Server) -> None:
    here, there = open_store(served.root).run("long"), open_store(served.url).run("long")
    local, remote = (milliseconds(partial(run.history, "loss"), 20) for run in (here, there))
    megabytes = POINTS * 24 / 1e6
    print(
        f"{POINTS:,} points ({megabytes:.1f} MB) in {remote:.1f} ms, {megabytes / remote * 1e3:.0f} MB/s; "
        f"from the folder {local:.1f} ms: {remote / local:.1f} times as long"
    )
    assert remote < local + 30


def test_all_runs_in_any_order(served: Server) -> None:
    here, there = open_store(served.root), open_store(served.url)
    for order in (None, "metrics.m1 desc", "params.p3, name"):
        local, remote = (milliseconds(partial(store.runs, order_by=order), 3) for store in (here, there))
        print(f"{RUNS:,} runs by {order} in {remote:.1f} ms; from the folder {local:.1f} ms")
        assert remote < 2 * local + 30


LISTING = """
import sys
from tachograph.store.store import open_store
count = sum(1 for run in open_store(sys.argv[1]).scan(children=True))
peak = next(line.split()[1] for line in open("/proc/self/status") if line.startswith("VmHWM"))
print(count, peak)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_a_hundred_thousand_runs_are_listed_in_bounded_memory(tmp_path: Path) -> None:
    """In the client, and in the server, which has them in its index."""
    used = {}
    for count in (5_000, 100_000):
        root = tmp_path / str(count)
        for number in range(count):
            write(root, f"r{number:06}", ())
        open_store(root).runs(limit=1)
        running = Server(root)
        try:
            told = subprocess.run(
                [sys.executable, "-c", LISTING, running.url], capture_output=True, text=True, check=True
            ).stdout.split()
            server = _peak(running.process.pid)
        finally:
            running.kill()
        assert int(told[0]) == count
        used[count] = int(told[1]) / 1024, server
    print(
        "; ".join(
            f"{count:,} runs: {client:.0f} MB here, {server:.0f} MB there" for count, (client, server) in used.items()
        )
    )
    assert used[100_000][0] < used[5_000][0] + 30


def _peak(pid: int) -> float:
    status = Path(f"/proc/{pid}/status").read_text()
    return int(next(line.split()[1] for line in status.splitlines() if line.startswith("VmHWM"))) / 1024
