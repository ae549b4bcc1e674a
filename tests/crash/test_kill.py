"""What ``log`` has returned from is on disk: a process that is killed loses none of it."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

import tachograph
from tachograph import journal
from tachograph.runtime.process import Process, is_gone

ROUNDS = 15
MANY_ROUNDS = 200

# Each step is acknowledged through a pipe once `log` has returned: one write, so that the kill can't come in between.
TRAINING = """
import itertools, os
import tachograph
run = tachograph.start_run()
for step in itertools.count():
    run.log({"loss": step / 2, "accuracy": 1.0}, step)
    os.write(1, b"%d\\n" % step)
"""


def train_and_kill(seed: int) -> int:
    """Kill a training at some moment; the last step that it acknowledged."""
    moment = random.Random(seed).uniform(0, 0.2)
    with subprocess.Popen([sys.executable, "-c", TRAINING], stdout=subprocess.PIPE) as training:
        assert training.stdout is not None
        said = os.read(training.stdout.fileno(), 1)  # it has begun
        end = time.monotonic() + moment
        while time.monotonic() < end:
            said += os.read(training.stdout.fileno(), 1 << 16)
        training.kill()
        said += training.stdout.read()
    assert training.returncode == -signal.SIGKILL
    return int(said.rpartition(b"\n")[0].rpartition(b"\n")[2])


def check(root: Path, seed: int) -> None:
    last = train_and_kill(seed)
    run = tachograph.open_store(root).run("latest")
    history = run.history("loss")
    count = len(history.steps)
    assert last + 1 <= count <= last + 2  # one more may have been written and not acknowledged yet
    assert history.steps.tolist() == list(range(count))
    assert history.values.tolist() == [step / 2 for step in range(count)]
    assert run.status == "crashed"
    assert run.ended is not None
    (folder,) = journal.writers(root / "runs" / run.id)
    assert all(item.torn for item in journal.read_writer(folder) if isinstance(item, journal.Damage))
    assert not [damage for path in journal.segments(folder) for damage in journal.check_sums(path)]
    header = journal.header(folder)
    assert header is not None
    assert is_gone(Process(header.host, header.boot, header.pid, header.born))


@pytest.mark.parametrize("seed", range(ROUNDS))
def test_nothing_that_was_acknowledged_is_lost(root: Path, seed: int) -> None:
    check(root, seed)


@pytest.mark.benchmark
def test_nothing_is_lost_in_many_rounds(root: Path) -> None:
    for seed in range(ROUNDS, ROUNDS + MANY_ROUNDS):
        check(root, seed)


def test_a_run_is_not_crashed_while_its_process_lives(root: Path) -> None:
    with subprocess.Popen([sys.executable, "-c", TRAINING], stdout=subprocess.PIPE) as training:
        assert training.stdout is not None
        for _ in range(10):
            training.stdout.readline()
            assert tachograph.open_store(root).run("latest").status == "running"
        training.send_signal(signal.SIGSTOP)  # it stands still, but is there
        assert tachograph.open_store(root).run("latest").status == "running"
        training.kill()
    assert tachograph.open_store(root).run("latest").status == "crashed"
