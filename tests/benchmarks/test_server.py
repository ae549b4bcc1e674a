"""What a server takes: events per second, clients at once, and the memory that it needs for it."""

from __future__ import annotations

import statistics
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, closing
from pathlib import Path

import psutil
import pytest
from tests.integrations.server.serving import Server, lines

from tachograph.sinks.http import HttpSink

pytestmark = pytest.mark.benchmark


@pytest.fixture(params=["folder", "PostgreSQL", "PostgreSQL with fsync", "PgBouncer"])
def server(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Server]:
    print(f"\n{request.param}:", end=" ")
    with ExitStack() as opened:
        yield _server(request.param, tmp_path / "served", opened)


def _server(kind: str, root: Path, opened: ExitStack) -> Server:
    if kind == "folder":
        running = Server(root)
        opened.callback(running.kill)
        return running
    from tests.integrations.postgres.serving import DatabaseServer
    from tests.parts.pgbouncer import Pgbouncer
    from tests.parts.postgres import Postgres

    behind = opened.enter_context(closing(Postgres(fsync=kind != "PostgreSQL")))
    url = behind.new_database()
    if kind == "PgBouncer":
        url = opened.enter_context(closing(Pgbouncer(behind))).url(url)
    database = DatabaseServer(root, url)
    opened.callback(database.pool.close)
    opened.callback(database.kill)
    return database


def send(server: Server, run: str, sent: list[bytes], batch: int) -> list[float]:
    """Send a run; the seconds that each batch took."""
    sink, took = HttpSink(server.url), []
    for start in range(0, len(sent), batch):
        began = time.perf_counter()
        sink.write(run, "w", sent[start : start + batch])
        took.append(time.perf_counter() - began)
    sink.close()
    return took


def megabytes(server: Server) -> float:
    return float(psutil.Process(server.process.pid).memory_info().rss) / (1 << 20)


@pytest.mark.parametrize(("batch", "names"), [(1000, 1), (1000, 10), (100, 1)])
def test_points_per_second(server, batch, names):
    sent = lines("r", "w", 100_000 if batch == 1000 else 20_000, names=names)
    began = time.perf_counter()
    took = send(server, "r", sent, batch)
    seconds = time.perf_counter() - began
    assert len(server.store().run("r").history("m0")) == len(sent) - 2
    points = (len(sent) - 2) * names / seconds
    print(f"one client, {batch} events a request, {names} points an event: {points:,.0f} points/s,", end=" ")
    print(f"{1e3 * statistics.median(took):.1f} ms a request, {megabytes(server):.0f} MB")
    assert points > 5_000


def test_a_hundred_clients_at_once(server):
    faults: list[BaseException] = []
    slowest: list[float] = []

    def client(number: int) -> None:
        try:
            slowest.append(max(send(server, f"r{number}", lines(f"r{number}", "w", 998), 100)))
        except BaseException as fault:  # noqa: BLE001 - told by the test's own thread
            faults.append(fault)

    threads = [threading.Thread(target=client, args=(number,)) for number in range(100)]
    began = time.perf_counter()
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    seconds = time.perf_counter() - began
    assert not faults
    runs = server.store().runs()
    assert [len(run.history("m0")) for run in runs] == [998] * 100
    print(f"100 clients at once: {100_000 / seconds:,.0f} events/s, slowest request {max(slowest):.2f} s,", end=" ")
    print(f"{megabytes(server):.0f} MB")


def test_memory_over_time(server):
    """Events, questions and files, round after round: it stays as it is."""
    sent = lines("r", "w", 200_000)
    found = []
    for part in range(10):
        send(server, "r", sent[part * 20_000 : (part + 1) * 20_000], 500)
        for _ in range(10):
            assert server.ask("/runs").status_code == 200
            server.put("sha256:" + "0" * 64, b"x" * (4 << 20))
        found.append(megabytes(server))
    print(f"memory after each 20,000 events: {', '.join(f'{one:.0f}' for one in found)} MB")
    assert found[-1] < found[2] + 30
