"""A server that has much to read before it can answer: it says so, and those who ask wait for it."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import requests
from tests.integrations.server.serving import Server, lines

from tachograph.cli import main
from tachograph.client import connection
from tachograph.client.connection import Unanswered
from tachograph.errors import NotFound
from tachograph.events import encode
from tachograph.journal import tombstones
from tachograph.store.store import open_store

RUNS = 25
# A server whose index takes its time with each writer.
SLOW = """
import sys, time
from tachograph import journal
from tachograph.cli import main

read_block = journal.read_block

def slowly(*arguments):
    time.sleep(float(sys.argv[1]))
    return read_block(*arguments)

journal.read_block = slowly
sys.exit(main(sys.argv[2:]))
"""


class SlowServer(Server):
    """``tachograph serve`` that needs so many seconds for each writer which its index doesn't have yet."""

    def __init__(self, root: Path, seconds: float) -> None:
        self._seconds = seconds
        super().__init__(root)

    def start(self) -> None:
        command = [sys.executable, "-c", SLOW, str(self._seconds), "serve", "--root", str(self.root), "--port", "0"]
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        assert self.process.stdout is not None
        self.url = self.process.stdout.readline().split()[-1]
        self.api = f"{self.url}/api/v1"


def fill(root: Path) -> None:
    """Runs that no index knows."""
    for number in range(RUNS):
        folder = root / "runs" / f"run-{number:03}" / "w"
        folder.mkdir(parents=True)
        folder.joinpath("1.jsonl").write_bytes(b"\n".join(lines(f"run-{number:03}", "w", 3)) + b"\n")


@pytest.fixture
def slow(tmp_path: Path) -> Iterator[SlowServer]:
    """A server that reads for some seconds."""
    fill(tmp_path / "served")
    running = SlowServer(tmp_path / "served", 0.1)
    yield running
    running.kill()


def test_it_answers_at_once_how_far_it_is(slow: SlowServer) -> None:
    began, seen = time.monotonic(), []
    while (health := slow.ask("/health").json())["status"] == "reading":
        seen.append(health["done"])
        assert time.monotonic() - began < 60
        time.sleep(0.1)
    assert len(seen) > 5
    assert seen == sorted(seen)
    assert 0.3 < seen[-1] < 1.0
    assert health == {"status": "ready", "done": 1.0}
    assert len(slow.ask("/runs?limit=100").json()) == RUNS


def test_a_question_is_answered_with_when_to_come_again(slow: SlowServer) -> None:
    answer = slow.ask("/runs")
    assert (answer.status_code, answer.headers["Retry-After"]) == (503, "1")
    assert answer.json()["reason"].startswith(f"the server is reading {RUNS} runs, ")
    assert 0.0 <= answer.json()["reading"] < 1.0
    assert slow.post("new", "w", lines("new", "w", 3)).status_code == 200  # who sends needn't wait
    assert slow.ask("/runs/new/positions").json()["positions"] == {"w": 5}


def test_who_asks_waits_for_it_and_is_told(slow: SlowServer, capfd: pytest.CaptureFixture[str]) -> None:
    """Though that takes longer than a server which does not answer is waited for."""
    assert main(["runs", "--json", "--root", slow.url]) == 0
    told = capfd.readouterr()
    assert told.out.count('"id"') == RUNS
    [line] = told.err.splitlines()
    assert line.startswith(f"tachograph: the server is reading {RUNS} runs, ")
    assert line.endswith("% done")


def test_a_removal_that_was_cut_off_is_finished(tmp_path: Path) -> None:
    """As of a server that was killed behind the tombstone."""
    root = tmp_path / "served"
    fill(root)
    (root / tombstones.FILENAME).write_bytes(encode(tombstones.Removed("run-003", "three", time.time())) + b"\n")
    server = Server(root)
    try:
        until = time.monotonic() + 20
        while (root / "runs" / "run-003").exists():
            assert time.monotonic() < until
            time.sleep(0.05)
        assert open_store(server.url).run("run-004").id == "run-004"
        with pytest.raises(NotFound, match="run run-003 was removed on"):
            open_store(server.url).run("run-003")
    finally:
        server.kill()


def test_a_server_that_gets_nowhere_is_given_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fill(tmp_path / "served")
    server = SlowServer(tmp_path / "served", 600.0)
    try:
        monkeypatch.setattr(connection, "STUCK", 1.0)
        with pytest.raises(Unanswered, match="0% done"):
            open_store(server.url).runs()
        assert requests.get(f"{server.api}/health", timeout=5).json()["status"] == "reading"
    finally:
        server.kill()
