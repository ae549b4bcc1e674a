"""A training, what sends for it and the server are killed at any moment: in the end the far side has the journal."""

from __future__ import annotations

import random
import subprocess
import sys
import time
from pathlib import Path

import pytest
from tests.faults.training import check_arrived, recorded, synced
from tests.integrations.server.serving import Server

from tachograph import journal

ROUNDS = 3
MANY_ROUNDS = 40

TRAINING = """
import itertools, os, sys, time
import tachograph
run = tachograph.start_run(sinks=[sys.argv[1]])
for step in itertools.count():
    run.log({"loss": step / 2})
    if step % 50 == 0:
        with open("kept.bin", "wb") as file:
            file.write(os.urandom(20_000))
        run.log_artifact("kept.bin")
        time.sleep(0.01)
"""


def training(url: str) -> list[str]:
    return [sys.executable, "-c", TRAINING, url]


SYNC = [sys.executable, "-m", "tachograph", "sync"]


def disturb(command: list[str], seconds: float, server: Server, moments: random.Random) -> None:
    """Run a command and kill it after that time; the server is killed, too, before or after it, and comes back."""
    is_first = moments.random() < 0.5
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
        time.sleep(moments.uniform(0.5, 1.0) * seconds)
        (server if is_first else process).kill()
        time.sleep(moments.uniform(0.0, 0.3) * seconds)
        (process if is_first else server).kill()
        if is_first and moments.random() < 0.5:
            server.start()
    if server.process.poll() is not None:
        server.start()


def check(root: Path, server: Server, seed: int) -> None:
    moments = random.Random(seed)
    for _ in range(2):
        disturb(training(server.url), 1.5, server, moments)
    for _ in range(2):
        disturb(SYNC, 0.8, server, moments)
    synced()
    check_arrived(root, server.root)
    for path in server.root.glob("runs/*/*/*.jsonl"):
        assert list(journal.check_sums(path)) == []
    assert " 0 lines" in synced(*recorded(root))


@pytest.mark.parametrize("seed", range(ROUNDS))
def test_all_of_them_are_killed(seed: int, root: Path, server: Server, tmp_path: Path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    check(root, server, seed)


@pytest.mark.benchmark
@pytest.mark.timeout(1800)
def test_they_are_killed_many_times(root: Path, server: Server, tmp_path: Path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    for seed in range(ROUNDS, ROUNDS + MANY_ROUNDS):
        check(root, server, seed)
