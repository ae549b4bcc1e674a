"""Files of servers on PostgreSQL: in a folder, and in a bucket that all of them see."""

# ruff: noqa: F401

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterable, Iterator
from pathlib import Path

import psutil
import pytest
from tests.faults.proxy import Exchange, Mode, Proxy, passing
from tests.integrations.postgres.serving import DatabaseServer
from tests.integrations.server.serving import lines
from tests.integrations.server.test_api import test_files_are_kept_under_their_digest_and_handed_out_in_ranges
from tests.integrations.server.test_security import test_a_file_that_is_cut_off_leaves_nothing
from tests.parts import seaweedfs

from tachograph.bucket.objects import Objects
from tachograph.sinks.http import HttpSink

pytest.importorskip("obstore")


@pytest.fixture
def bucket(monkeypatch: pytest.MonkeyPatch) -> str:
    """The URL of an empty one."""
    running = seaweedfs.running()
    for name, value in running.environment.items():
        monkeypatch.setenv(name, value)
    return running.new_bucket()


@pytest.fixture
def server(tmp_path: Path, database: str, bucket: str) -> Iterator[DatabaseServer]:
    """A server that keeps files in the bucket."""
    running = DatabaseServer(tmp_path / "served", database, "--blobs", bucket)
    yield running
    running.kill()
    running.pool.close()


def digest_of(content: bytes) -> str:
    return "sha256:" + hashlib.sha256(content).hexdigest()


def test_what_one_server_takes_another_one_hands_out(server, tmp_path, bucket):
    content = os.urandom(20_000_000)
    digest = digest_of(content)
    assert server.put(digest, content).status_code == 201
    assert [found.path for found in Objects(bucket).listed()] == [f"blobs/{digest[7:9]}/{digest[7:]}"]
    second = DatabaseServer(tmp_path / "elsewhere", server.database, "--blobs", bucket)
    try:
        assert second.put(digest, content).status_code == 200
        assert second.ask(f"/blobs/{digest}").content == content
        part = second.ask(f"/blobs/{digest}", headers={"Range": "bytes=10000000-10000009"})
        assert part.content == content[10_000_000:10_000_010]
    finally:
        second.kill()
        second.pool.close()
    assert not [path for path in tmp_path.rglob("*") if path.is_file()]


def test_an_empty_file(server):
    digest = digest_of(b"")
    assert server.put(digest, b"").status_code == 201
    answer = server.ask(f"/blobs/{digest}")
    assert (answer.status_code, answer.content) == (200, b"")


def test_a_large_file_takes_little_memory(server, tmp_path):
    content = os.urandom(1 << 20) * 200
    digest = digest_of(content)
    process = psutil.Process(server.process.pid)
    server.put(digest_of(b"x"), b"x")
    before = process.memory_info().rss
    assert server.put(digest, iter([content[at : at + (1 << 20)] for at in range(0, len(content), 1 << 20)])).ok
    with server.ask(f"/blobs/{digest}", stream=True) as answer:
        size = sum(len(piece) for piece in answer.iter_content(1 << 20))
    assert size == len(content)
    assert process.memory_info().rss < before + (120 << 20)


def test_a_bucket_that_is_away_is_told_and_harms_nothing_else(tmp_path, database, monkeypatch):
    away = seaweedfs.Seaweed()
    try:
        for name, value in away.environment.items():
            monkeypatch.setenv(name, value)
        server = DatabaseServer(tmp_path / "served", database, "--blobs", away.new_bucket())
        away.stop()
        answer = server.put(digest_of(b"content"), b"content")
        assert (answer.status_code, "Retry-After" in answer.headers) == (503, True)
        assert server.post("r", "w", lines("r", "w", 5)).json() == {"position": 7, "stored": 7}
        assert server.ask("/runs/r").json()["status"] == "finished"
        away.start()
        assert server.put(digest_of(b"content"), b"content").status_code == 201
        server.kill()
        server.pool.close()
    finally:
        away.close()


@pytest.fixture
def second(server: DatabaseServer, tmp_path: Path, bucket: str) -> Iterator[DatabaseServer]:
    """Another server, as on another machine: of the first one's it has the database and the bucket."""
    running = DatabaseServer(tmp_path / "elsewhere", server.database, "--blobs", bucket)
    yield running
    running.kill()
    running.pool.close()


@pytest.fixture
def balancer(server: DatabaseServer) -> Iterator[Proxy]:
    """A proxy in front of the first of them."""
    made = Proxy(server.port)
    yield made
    made.close()


def to(ports: Iterable[int]) -> Mode:
    """Each request goes to the next of these."""
    turns = iter(ports)

    def mode(exchange: Exchange) -> None:
        exchange.proxy.target = next(turns)
        passing(exchange)

    return mode


@pytest.mark.parametrize("before", [1, 2, 3, 4])
def test_a_half_sent_file_whose_next_part_comes_to_another_server(server, second, balancer, tmp_path, before):
    """After so many requests to the first one, of which one is a question; and then to both in turn."""
    path = tmp_path / "large"
    path.write_bytes(os.urandom(30 << 20))
    digest = digest_of(path.read_bytes())
    balancer.mode = to([server.port] * before + [second.port, server.port] * 20)
    HttpSink(balancer.url).put(digest, path)
    assert second.ask(f"/blobs/{digest}").content == path.read_bytes()
    assert len(balancer.requests) < 10


def test_a_half_sent_file_whose_server_is_gone(server, second, balancer, tmp_path):
    path = tmp_path / "large"
    path.write_bytes(os.urandom(30 << 20))
    digest = digest_of(path.read_bytes())
    balancer.mode = to([server.port] * 3 + [second.port] * 20)
    HttpSink(balancer.url).put(digest, path)
    assert server.ask(f"/blobs/{digest}").content == path.read_bytes()
