"""What sending costs a training: a loop of steps of about a millisecond that log one metric each.

A process for each kind of sink does a block of the loop in turn, and is stopped while it is another's turn: what the
machine does besides hits all of them alike. Prints how much longer a block takes than without a sink, and the seconds
of the processor that other threads than the loop's take in each of the loop's. "process" is the alternative to a
thread: a process of its own that sends; "again" is once more without a sink, and shows how much is chance.
"""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from statistics import median

import pytest

pytestmark = pytest.mark.benchmark

ROUNDS = 41
DEAD_RATIO = 1.01
KINDS = ["none", "again", "folder", "hanging", "refusing", "process"]

# The step is pure Python, so that it has no moment in which another thread could run for free.
TRAINING = """
import sys, time
import tachograph
from tachograph import ship
from tachograph.sinks.folder import FolderSink

class Hanging(FolderSink):
    def write(self, run, writer, lines):
        time.sleep(600)

class Refusing(FolderSink):
    def resume(self, run):
        raise ConnectionRefusedError()

kinds = {"hanging": Hanging, "refusing": Refusing, "folder": FolderSink}
kind, url = sys.argv[1:]
ship.open_sink = kinds.get(kind)

def step():
    total = 0
    for number in range(14_000):
        total += number * number
    return total

run = tachograph.start_run(sinks=[url] if kind in kinds else [])
time.sleep(2)  # what every run does at its beginning is not what is measured here
for _ in sys.stdin:
    others, began = time.process_time() - time.thread_time(), time.perf_counter()
    for number in range(700):
        step()
        run.log({"loss": number})
    took = time.perf_counter() - began
    print(took, time.process_time() - time.thread_time() - others, flush=True)
"""
SENDING = """
import sys, time
from tachograph.cli import main
while True:
    main(["sync", "--to", sys.argv[1]])
    time.sleep(1)
"""


class Training:
    """The process of a kind; stopped but for its turns."""

    def __init__(self, kind: str, folder: Path) -> None:
        far = (folder / f"far-{kind}").as_uri()
        environment = {**os.environ, "TACHOGRAPH_EXIT_WAIT": "0", "TACHOGRAPH_DIR": str(folder / f"store-{kind}")}
        command = [sys.executable, "-c", TRAINING, kind, far]
        self.main = subprocess.Popen(
            command, stdin=-1, stdout=-1, stderr=subprocess.DEVNULL, text=True, env=environment
        )
        self.all = [self.main]
        self.turn()
        if kind == "process":
            command = [sys.executable, "-c", SENDING, far]
            self.all.append(subprocess.Popen(command, stdout=subprocess.DEVNULL, env=environment))

    def turn(self) -> tuple[float, float]:
        """Do a block: the seconds it took, and those that other threads had the processor."""
        self._signal(signal.SIGCONT)
        assert self.main.stdin is not None
        assert self.main.stdout is not None
        print(file=self.main.stdin, flush=True)
        took, others = map(float, self.main.stdout.readline().split())
        self._signal(signal.SIGSTOP)
        return took, others

    def end(self) -> None:
        for process in self.all:
            process.kill()
            process.communicate()

    def _signal(self, number: int) -> None:
        for process in self.all:
            process.send_signal(number)


@pytest.fixture
def trainings(tmp_path: Path) -> Iterator[dict[str, Training]]:
    started = {kind: Training(kind, tmp_path) for kind in KINDS}
    yield started
    for one in started.values():
        one.end()


def test_a_loop_beside_each_kind_of_sink(trainings: dict[str, Training]) -> None:
    order = random.Random(0)
    rounds = [{kind: trainings[kind].turn() for kind in order.sample(KINDS, len(KINDS))} for _ in range(ROUNDS)]
    ratios = {kind: median(found[kind][0] / found["none"][0] for found in rounds) for kind in KINDS}
    shares = {kind: sum(found[kind][1] for found in rounds) / sum(found[kind][0] for found in rounds) for kind in KINDS}
    block = median(found["none"][0] for found in rounds)
    print(f"\nblocks of {block:.2f} s; how much longer, and the share of other threads:")
    print(", ".join(f"{kind} {ratios[kind]:.4f} ({shares[kind]:.4f})" for kind in KINDS))
    assert ratios["hanging"] <= DEAD_RATIO
    assert ratios["refusing"] <= DEAD_RATIO
