"""What sending costs a training: a loop of steps of about a third of a millisecond that log one metric each. What a
sink costs that takes nothing is in test_dead_sinks.py.

A process for each kind of sink does a block of the loop in turn, and is stopped while it is another's turn: what the
machine does besides hits all of them alike. "again" is once more without a sink, and shows how much is chance.

Two processes that do the same differ by some hundredths, for as long as they live: by where things lie in memory. So
there are several generations of processes, the error bars are what these differ by, and what counts is how long a block
takes by the clock for each second that its thread has the processor: there is no such difference in that, but all the
waiting is for other threads. Printed are, beside that, both times over those without a sink, and what the other
threads have of the processor.
"""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from math import sqrt
from pathlib import Path
from statistics import mean, median, stdev
from typing import NamedTuple

import pytest
from tests.integrations.server.serving import Server

pytestmark = pytest.mark.benchmark

SECONDS = 50.0
ROUNDS = 5  # of each generation
STEPS = 300
LIVE_RATIO = 1.10
CHANCE = 0.005  # the widest error bar by which anything can be told
WITHOUT = ("none", "again")

# The step never lets go of the interpreter by itself, so that there is no moment in which another thread runs for free.
TRAINING = """
import sys, time
import tachograph

def step():
    for _ in range(10):
        sum(range(3_000))

run = tachograph.start_run(sinks=sys.argv[2:])
time.sleep(2)  # what every run does at its beginning is not what is measured here
for _ in sys.stdin:
    all_threads, own, began = time.process_time(), time.thread_time(), time.perf_counter()
    for number in range(int(sys.argv[1])):
        step()
        run.log({"loss": number})
    took, own, all_threads = time.perf_counter() - began, time.thread_time() - own, time.process_time() - all_threads
    print(took, own, all_threads - own, flush=True)
"""


class Block(NamedTuple):
    """The seconds that a block took, that its loop's thread had the processor, and that the other threads had it."""

    wall: float
    own: float
    others: float


class Training:
    """The process of a kind; stopped but for its turns."""

    def __init__(self, store: Path, *sinks: str) -> None:
        environment = {**os.environ, "TACHOGRAPH_EXIT_WAIT": "0", "TACHOGRAPH_DIR": str(store), "PYTHONHASHSEED": "0"}
        command = [sys.executable, "-c", TRAINING, str(STEPS), *sinks]
        self.process = subprocess.Popen(
            command, stdin=-1, stdout=-1, stderr=subprocess.DEVNULL, text=True, env=environment
        )

    def turn(self) -> Block:
        """Do a block."""
        self.process.send_signal(signal.SIGCONT)
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        print(file=self.process.stdin, flush=True)
        wall, own, others = map(float, self.process.stdout.readline().split())
        self.process.send_signal(signal.SIGSTOP)
        return Block(wall, own, others)

    def end(self) -> None:
        self.process.kill()
        self.process.communicate()


class Ratio(NamedTuple):
    """The mean of several, and two standard errors of it."""

    mean: float
    error: float

    @classmethod
    def of(cls, found: list[float]) -> Ratio:
        return cls(mean(found), 2 * stdev(found) / sqrt(len(found)))

    def __str__(self) -> str:
        return f"{self.mean:.4f} ± {self.error:.4f}"


class Cost(NamedTuple):
    """Over the same without a sink: the seconds for each one of the loop's processor; the seconds; those of its
    processor. And what the other threads have of the processor, each second."""

    waiting: Ratio
    wall: Ratio
    own: Ratio
    others: Ratio


def measured(sinks: dict[str, tuple[str, ...]], folder: Path) -> dict[str, Cost]:
    """What each kind costs."""
    order, until, generations = random.Random(0), time.monotonic() + SECONDS, list[dict[str, list[Block]]]()
    while time.monotonic() < until:
        trainings = {kind: Training(folder / f"{kind}-{len(generations)}", *urls) for kind, urls in sinks.items()}
        try:
            for training in trainings.values():
                training.turn()
            rounds = [order.sample(list(sinks), len(sinks)) for _ in range(ROUNDS)]
            turns = [{kind: trainings[kind].turn() for kind in kinds} for kinds in rounds]
            generations.append({kind: [turn[kind] for turn in turns] for kind in sinks})
        finally:
            for training in trainings.values():
                training.end()
    found = {kind: cost(generations, kind) for kind in sinks}
    print(f"\n{len(generations)} generations of {ROUNDS} blocks of {generations[0]['none'][0].wall:.3f} s")
    for kind, (waiting, wall, own, others) in found.items():
        print(f"{kind:>9}: waiting {waiting}, wall {wall}, processor of the loop {own}, of other threads {others}")
    return found


def cost(generations: list[dict[str, list[Block]]], kind: str) -> Cost:
    found = []
    for generation in generations:
        pairs = list(zip(generation[kind], generation["none"], strict=True))
        wall = [block.wall / without.wall for block, without in pairs]
        own = [block.own / without.own for block, without in pairs]
        waiting = sum(block.wall for block, _ in pairs) / sum(block.own for block, _ in pairs)
        waiting /= sum(without.wall for _, without in pairs) / sum(without.own for _, without in pairs)
        others = sum(block.others for block, _ in pairs) / sum(block.wall for block, _ in pairs)
        found.append((waiting, median(wall), median(own), others))
    return Cost(*(Ratio.of(list(column)) for column in zip(*found, strict=True)))


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Server]:
    """The one that is meant."""
    running = Server(tmp_path / "served")
    yield running
    running.kill()


def check(found: dict[str, Cost], most: float) -> None:
    assert found["again"].waiting.error < CHANCE, "this machine is too busy to tell"
    for kind, (waiting, wall, own, others) in found.items():
        assert waiting.mean <= most, f"{kind}: {waiting} by waiting"
        assert wall.mean - wall.error <= most, f"{kind}: {wall} by the clock"
        assert own.mean - own.error <= most, f"{kind}: {own} of the loop's processor"
        assert others.mean - found["none"].others.mean <= most - 1, f"{kind}: {others} for other threads"


def test_a_loop_beside_a_living_one(server: Server, tmp_path: Path) -> None:
    sinks = {"server": (server.url,), "folder": ((tmp_path / "far").as_uri(),)}
    check(measured({**dict.fromkeys(WITHOUT, ()), **sinks}, tmp_path), LIVE_RATIO)
