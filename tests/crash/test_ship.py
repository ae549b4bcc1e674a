"""Whatever is killed, and whenever: in the end the far side is what the journal is, event by event, nothing twice."""

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
from tachograph.cli import main
from tachograph.events import Event

ROUNDS = 4
MANY_ROUNDS = 60

TRAINING = """
import itertools, os, sys, time
import tachograph
run = tachograph.start_run(sinks=[sys.argv[1]])
for step in itertools.count():
    run.log({"loss": step / 2})
    if step % 100 == 0:
        open("kept.bin", "wb").write(os.urandom(1000))
        run.log_artifact("kept.bin")
        time.sleep(0.01)
"""


@pytest.fixture
def far(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path / "far"


def killed(command: list[str], after: float) -> None:
    """Kill a process that soon; one that has ended by then is fine, too."""
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
        time.sleep(after)
        process.kill()
    assert process.returncode in (-signal.SIGKILL, 0)


def sync(*arguments: str) -> list[str]:
    return [sys.executable, "-m", "tachograph", "sync", *arguments]


def contents(root: Path) -> dict[tuple[str, str], list[Event]]:
    """The events of each writer as they lie there, repetitions and disorder too."""
    found = {}
    for writer in sorted(root.glob("runs/*/*")):
        items = [item for path in journal.segments(writer) for item in journal.read(path)]
        found[writer.parent.name, writer.name] = [item for item in items if isinstance(item, Event)]
    return found


def check_equal(root: Path, far: Path) -> None:
    near = contents(root)
    assert near
    assert contents(far) == near
    for run in tachograph.open_store(far).runs():
        for artifact in run.artifacts:
            assert artifact.path().is_file()


def check(root: Path, far: Path, seed: int) -> None:
    moments = random.Random(seed)
    for _ in range(2):
        killed([sys.executable, "-c", TRAINING, far.as_uri()], moments.uniform(0.3, 1.2))
    for _ in range(2):
        killed(sync(), moments.uniform(0.1, 0.6))
    assert main(["sync"]) == 0
    check_equal(root, far)


@pytest.mark.parametrize("seed", range(ROUNDS))
def test_training_and_sync_are_killed(root: Path, far: Path, seed: int) -> None:
    check(root, far, seed)


@pytest.mark.benchmark
def test_they_are_killed_many_times(root: Path, far: Path) -> None:
    for seed in range(ROUNDS, ROUNDS + MANY_ROUNDS):
        check(root, far, seed)


def test_several_senders_at_once_beside_a_training(root: Path, far: Path) -> None:
    with subprocess.Popen([sys.executable, "-c", TRAINING, far.as_uri()]) as training:
        time.sleep(0.7)
        senders = [subprocess.Popen(sync(), stdout=subprocess.DEVNULL, stderr=subprocess.PIPE) for _ in range(2)]
        for sender in senders:
            _, errors = sender.communicate(timeout=180)
            assert (sender.returncode, errors) == (0, b"")
        training.kill()
    assert main(["sync"]) == 0
    check_equal(root, far)


HANGING = """
import os, sys, time
import tachograph
from tachograph.ship import shipper
from tachograph.sinks.folder import FolderSink

class Hanging(FolderSink):
    def write(self, run, writer, lines):
        time.sleep(600)

shipper.open_sink = Hanging
began = time.monotonic()
with tachograph.start_run(sinks=[sys.argv[1]]) as run:
    for step in range(1000):
        run.log({"loss": step})
print(time.monotonic() - began)
"""


def test_a_sink_that_hangs_holds_up_the_end_for_a_bounded_time(root: Path, far: Path) -> None:
    began = time.monotonic()
    command = [sys.executable, "-c", HANGING, far.as_uri()]
    done = subprocess.run(command, env={**os.environ, "TACHOGRAPH_EXIT_WAIT": "1"}, capture_output=True, text=True)
    assert time.monotonic() - began < 10
    assert done.returncode == 0
    assert float(done.stdout) < 2
    assert len(done.stderr.splitlines()) == 1
    assert f"of 1 run to {far.as_uri()}" in done.stderr
    assert main(["sync"]) == 0
    check_equal(root, far)
