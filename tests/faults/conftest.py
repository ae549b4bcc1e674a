"""A server that is the far side of all tests of a module, what trainings give without any sink, and a proxy."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.faults.proxy import Proxy
from tests.faults.training import Training
from tests.integrations.server.serving import Server


@pytest.fixture(scope="module")
def far(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server without a token."""
    running = Server(tmp_path_factory.mktemp("far") / "served")
    yield running
    running.kill()


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Server]:
    """A server of the test's own, that may come to harm."""
    running = Server(tmp_path / "served")
    yield running
    running.kill()


@pytest.fixture
def proxy(far: Server) -> Iterator[Proxy]:
    """A proxy in front of the server of all."""
    running = Proxy(far.port)
    yield running
    running.close()


@pytest.fixture(scope="session")
def expected(tmp_path_factory: pytest.TempPathFactory) -> str:
    """The result of the training where nothing is recorded."""
    folder = tmp_path_factory.mktemp("without")
    result, errors = Training(folder, TACHOGRAPH_OFF="1").end()
    assert errors == []
    return result
