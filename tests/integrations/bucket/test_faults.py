"""Faults between us and a bucket: whatever is lost on the way, in the end the bucket is what the journal is."""

from __future__ import annotations

import os
import random
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.faults import proxy
from tests.faults.proxy import Cut, Exchange, Mode, Proxy, read, reset
from tests.integrations.bucket.test_jobs import STEADY, check_equal
from tests.integrations.bucket.test_mirror import check_same
from tests.parts import seaweedfs

import tachograph
from tachograph.bucket.mirror import Mirror
from tachograph.cli import main
from tachograph.errors import Error
from tachograph.runtime.background import background
from tachograph.sinks.bucket import CloudSink
from tachograph.store.store import open_store


def answered(exchange: Exchange) -> bytes:
    """What the server answers. It ends the connection then, so that where its answer ends needs no telling."""
    head = exchange.request.head.replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n")
    with exchange.connected() as server:
        server.sendall(head + exchange.body())
        return b"".join(iter(lambda: server.recv(1 << 16), b""))


def passing(exchange: Exchange) -> None:
    exchange.answer(answered(exchange))


def losing_answers(exchange: Exchange) -> None:
    answered(exchange)
    raise Cut


def cutting_answers(exchange: Exchange) -> None:
    found = answered(exchange)
    exchange.answer(found[: len(found) * 2 // 3])
    raise Cut


def cutting_requests(exchange: Exchange) -> None:
    with exchange.connected() as server:
        server.sendall(exchange.request.head + read(exchange.client, exchange.request.length // 2))
        time.sleep(0.02)
        reset(server)
    raise Cut


FAULTS = {
    "lost answers": losing_answers, "cut answers": cutting_answers, "cut requests": cutting_requests,
    "status 500": proxy.answering(500), "status 503": proxy.answering(503, b"<Error><Code>SlowDown</Code></Error>"),
    "no server": proxy.refusing,
}  # fmt: skip


def mostly(mode: Mode) -> Mode:
    """Two of three requests are treated so: often more than the client tries again by itself."""
    chance = random.Random(5)
    return lambda exchange: (mode if chance.random() < 2 / 3 else passing)(exchange)


@pytest.fixture
def between(s3: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[Proxy]:
    """A proxy, through which the bucket is now reached."""
    made = Proxy(seaweedfs.running().ports["s3.port"])
    made.mode = passing
    monkeypatch.setenv("AWS_ENDPOINT_URL", made.url)
    yield made
    made.close()


@pytest.fixture
def records(root: Path, tmp_path: Path) -> Path:
    with tachograph.start_run("harmed") as run:
        for step in range(2000):
            run.log({"loss": step})
        for number in range(3):
            (tmp_path / "file").write_bytes(os.urandom(1000))
            run.log_artifact(tmp_path / "file", f"file {number}")
    assert background.drain(30)
    return root


@pytest.mark.parametrize("fault", FAULTS)
def test_sending_through_faults(between, s3, records, fault, monkeypatch):
    monkeypatch.setattr(CloudSink, "portion", 20_000)
    monkeypatch.setattr("tachograph.cli.sync.BATCH_BYTES", 10_000)
    monkeypatch.setattr("tachograph.runtime.backoff.LONGEST_DELAY", 0.1)
    between.mode = mostly(FAULTS[fault])
    for _ in range(50):
        if main(["sync", "--to", s3]) == 0:
            break
    else:
        pytest.fail("it never gets there")
    between.mode = passing
    check_equal(records, s3)


@pytest.mark.parametrize("fault", FAULTS)
def test_reading_through_faults(between, s3, records, fault):
    assert main(["sync", "--to", s3]) == 0
    between.mode = mostly(FAULTS[fault])
    said: list[str] = []
    while len(said) < 50:
        try:
            Mirror(s3).refresh()
            break
        except Error as error:
            said.append(str(error))
    assert len(said) < 50
    assert not any("\n" in one for one in said)
    between.mode = passing
    check_same(s3, records)


def test_a_training_is_not_held_up(between, s3, root):
    command = [sys.executable, "-c", STEADY, s3, "800"]
    environment = {**os.environ, "TACHOGRAPH_EXIT_WAIT": "1"}
    for mode in (proxy.hanging, proxy.deaf, proxy.refusing, proxy.answering(503)):
        between.mode = mode
        began = time.monotonic()
        done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=180)
        assert done.returncode == 0
        assert time.monotonic() - began < 12
        assert len(done.stderr.splitlines()) == 1, done.stderr
    between.mode = passing
    assert main(["sync"]) == 0
    assert len(open_store(s3).runs()) == 4
    check_equal(root, s3)
