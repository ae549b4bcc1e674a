"""A server for each test that asks for one."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.integrations.server.serving import Server


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Server]:
    """A server that this machine alone can reach; without a token it lets everybody in."""
    running = Server(tmp_path / "served")
    yield running
    running.kill()
