"""A database for each test that asks for one, on a real PostgreSQL, and a server that keeps its runs in it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.integrations.postgres.serving import DatabaseServer
from tests.parts import postgres

pytest.importorskip("psycopg")


@pytest.fixture
def database() -> Iterator[str]:
    """The URL of an empty database."""
    running = postgres.running()
    url = running.new_database()
    yield url
    running.drop(url)


@pytest.fixture
def server(tmp_path: Path, database: str) -> Iterator[DatabaseServer]:
    """A server that this machine alone can reach; without a token it lets everybody in."""
    running = DatabaseServer(tmp_path / "served", database)
    yield running
    running.kill()
    running.pool.close()
