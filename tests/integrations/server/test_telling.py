"""Sinks tell how a large file gets over."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator
from itertools import accumulate
from pathlib import Path

import pytest
from tests.integrations.server.serving import Server
from tests.parts import azurite, seaweedfs

from tachograph import sinks
from tachograph.sinks import BlobSink, ReportsProgress

SIZE = 30_000_000


@pytest.fixture(params=["server", "s3", "az"])
def url(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    if request.param == "server":
        server = Server(tmp_path / "served")
        yield server.url
        server.kill()
        return
    pytest.importorskip("obstore")
    running: seaweedfs.Seaweed | azurite.Azurite = seaweedfs.running() if request.param == "s3" else azurite.running()
    for name, value in running.environment.items():
        monkeypatch.setenv(name, value)
    yield running.new_bucket()


def test_a_file_tells_how_it_goes(url: str, tmp_path: Path) -> None:
    content = os.urandom(SIZE)
    (tmp_path / "large").write_bytes(content)
    sink, told = sinks.open_sink(url), list[int]()
    assert isinstance(sink, ReportsProgress)
    assert isinstance(sink, BlobSink)
    sink.on_progress = told.append
    sink.put("sha256:" + hashlib.sha256(content).hexdigest(), tmp_path / "large")
    seen = [size for size in accumulate(told) if size]
    assert seen[-1] == SIZE
    assert len(seen) >= 3
    assert max(told) < SIZE / 2
