"""PostgreSQL as it is run where it matters, with fsync: killed while many send, followed by another one, and behind a
line that breaks in the middle of batches. Nothing that was answered for is lost, and nothing is there twice."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from tests.integrations.postgres.serving import DatabaseServer
from tests.integrations.server.serving import lines
from tests.integrations.server.test_crash import Client
from tests.parts.line import Line
from tests.parts.ports import free_ports
from tests.parts.postgres import Postgres

POINTS = 400


@pytest.fixture(scope="module")
def own() -> Iterator[Postgres]:
    """A PostgreSQL of this module's own, with fsync."""
    running = Postgres(fsync=True)
    yield running
    running.close()


def sent_by_many(server: DatabaseServer, meanwhile: Callable[[], object]) -> None:
    """Do something, while many send, until they are through; they don't say anything before it is there."""
    clients = [Client(server.url, f"r{number}", POINTS, 11 + number) for number in range(6)]
    for client in clients:
        client.start()
    meanwhile()
    for client in clients:
        client.join(60)
        assert not client.faults
        assert server.held(client.run_id, "w") == client.sent
        run = server.store().run(client.run_id)
        assert (run.status, list(run.history("m0").values)) == ("finished", [float(step) for step in range(POINTS)])


def test_it_is_killed_while_many_send(own: Postgres, tmp_path: Path) -> None:
    server = DatabaseServer(tmp_path, own.new_database())

    def kill() -> None:
        for _ in range(3):
            time.sleep(0.4)
            own.kill()
            assert server.ask("/runs").status_code == 503
            own.start()

    try:
        assert server.kept.ask(lambda store: store) is not None
        assert server.pool.rows("SELECT current_setting('fsync'), current_setting('synchronous_commit')") == [
            ("on", "on")
        ]
        sent_by_many(server, kill)
    finally:
        server.kill()
        server.pool.close()


def test_another_one_takes_its_place(own: Postgres, tmp_path: Path) -> None:
    """On the same data, at another address: both are in the URL, and the one that takes what is written is found."""
    before, [after] = own.port, free_ports(1)
    url = own.new_database().replace(f":{before}/", f":{before},127.0.0.1:{after}/")
    server = DatabaseServer(tmp_path, f"{url}?target_session_attrs=read-write")

    def move() -> None:
        for port in (after, before):
            time.sleep(0.4)
            own.kill()
            own.port = port
            own.start()

    try:
        sent_by_many(server, move)
    finally:
        server.kill()
        server.pool.close()


def test_a_line_that_breaks_in_the_middle_of_batches(own: Postgres, tmp_path: Path) -> None:
    line = Line(own.port, every=7)
    server = DatabaseServer(tmp_path, own.new_database().replace(f":{own.port}/", f":{line.port}/"))
    try:
        sent = lines("r", "w", 600, names=3)
        stored = 0
        for at in range(0, len(sent), 10):
            answer = server.post("r", "w", sent[at : at + 10])
            assert (answer.status_code, answer.json()["position"]) == (200, min(at + 10, len(sent)))
            stored += answer.json()["stored"]
        assert line.lost > 3
        assert line.unanswered > 3
        assert len(sent) - stored == 10 * line.unanswered  # they were there, when they were sent again
        assert server.held("r", "w") == sent
        assert [len(server.store().run("r").history(f"m{number}")) for number in range(3)] == [600] * 3
    finally:
        server.kill()
        server.pool.close()
        line.close()
