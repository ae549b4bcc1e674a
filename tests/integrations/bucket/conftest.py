"""Buckets on real servers, one for each test."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from tests.parts import azurite, seaweedfs


@pytest.fixture(autouse=True)
def _nothing_is_known(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Neither the machine's own credentials nor what was read from buckets before."""
    for name in [name for name in os.environ if name.startswith(("AWS_", "AZURE_", "GOOGLE_"))]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


@pytest.fixture
def s3(monkeypatch: pytest.MonkeyPatch) -> str:
    """The URL of an empty folder in a bucket on SeaweedFS, with the variables to reach it set."""
    server = seaweedfs.running()
    for name, value in server.environment.items():
        monkeypatch.setenv(name, value)
    return f"{server.new_bucket()}/some folder/here"


@pytest.fixture
def az(monkeypatch: pytest.MonkeyPatch) -> str:
    """The same in a container on Azurite."""
    server = azurite.running()
    for name, value in server.environment.items():
        monkeypatch.setenv(name, value)
    return f"{server.new_bucket()}/some folder/here"


@pytest.fixture(params=["s3", "az"])
def url(request: pytest.FixtureRequest) -> str:
    """Both, one after the other."""
    found: str = request.getfixturevalue(request.param)
    return found


@pytest.fixture
def own_server(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[], seaweedfs.Seaweed]]:
    """Starts a server that the test may stop."""
    started: list[seaweedfs.Seaweed] = []

    def start() -> seaweedfs.Seaweed:
        started.append(seaweedfs.Seaweed())
        for name, value in started[-1].environment.items():
            monkeypatch.setenv(name, value)
        return started[-1]

    yield start
    for server in started:
        server.close()
