"""Servers whose database is reached through PgBouncer, which gives each transaction another session of PostgreSQL's:
what one session was told, another one does not know, and other programs share them."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, closing
from pathlib import Path

import psycopg
import pytest
from tests.integrations.postgres.serving import DatabaseServer
from tests.integrations.server.serving import lines
from tests.integrations.server.test_crash import Client
from tests.parts import postgres
from tests.parts.pgbouncer import CONNECTIONS, Pgbouncer

from tachograph.server.postgres.pool import Pool


@pytest.fixture
def pooled(database: str) -> Iterator[str]:
    """The URL of an empty database, through PgBouncer."""
    running = Pgbouncer(postgres.running())
    yield running.url(database)
    running.close()


def sessions(url: str) -> list[str]:
    """What each of the shared sessions takes names for, as another program has them."""
    with ExitStack() as opened:
        found = [opened.enter_context(psycopg.connect(url, prepare_threshold=None)) for _ in range(CONNECTIONS)]
        rows = [one.execute("SELECT pg_backend_pid(), current_setting('search_path')").fetchone() for one in found]
        assert len({row[0] for row in rows if row}) == CONNECTIONS
        return [row[1] for row in rows if row]


def test_servers_on_sessions_that_they_share(pooled: str, tmp_path: Path) -> None:
    servers = [DatabaseServer(tmp_path / str(number), pooled) for number in range(2)]
    try:
        clients = [Client(servers[number % 2].url, f"r{number}", 300, 10 + number) for number in range(8)]
        for client in clients:
            client.start()
        while any(client.is_alive() for client in clients):
            for one in servers:
                assert one.ask("/runs?order_by=metrics.m0").status_code == 200
        for client in clients:
            client.join()
            assert not client.faults
            assert servers[0].held(client.run_id, "w") == client.sent
            run = servers[1].store().run(client.run_id)
            assert (run.status, list(run.history("m0").values)) == ("finished", [float(step) for step in range(300)])
        assert servers[0].ask("/runs", servers[1].token("read")).status_code == 200
        assert sessions(pooled) == ['"$user", public'] * CONNECTIONS
    finally:
        for one in servers:
            one.kill()
            one.pool.close()


def test_what_a_batch_says_twice_is_there_once(pooled: str, tmp_path: Path) -> None:
    server = DatabaseServer(tmp_path, pooled)
    try:
        sent = lines("r", "w", 40, names=5)
        assert server.post("r", "w", sent[:20]).json() == {"position": 20, "stored": 20}
        assert server.post("r", "w", sent).json() == {"position": 42, "stored": 22}
        assert server.post("r", "w", sent).json() == {"position": 42, "stored": 0}
        assert server.held("r", "w") == sent
    finally:
        server.kill()
        server.pool.close()


def test_who_is_connected_straight_keeps_what_was_set(database: str) -> None:
    with closing(Pool(database)) as pool:
        assert pool.rows("SELECT current_setting('search_path'), current_setting('lock_timeout')") == [
            ("tachograph", "20s")
        ]
