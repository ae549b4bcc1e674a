"""What sending costs a training: a loop of steps of about half a millisecond that log one metric each.

A process for each kind of sink does a block of the loop in turn, and is stopped while it is another's turn: what the
machine does besides hits all of them alike. Prints how much longer a block takes than without a sink, by the clock and
by what the loop's own thread had of the processor, and the share that all other threads had. "again" is once more
without a sink, and shows how much is chance.

A stopped process's waits go on: by its own time, a dead server is tried several times as often as it really is.
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
from statistics import median
from typing import NamedTuple

import pytest
from tests.faults import proxy as modes
from tests.faults.proxy import Mode, Proxy
from tests.integrations.server.serving import Server

pytestmark = pytest.mark.benchmark

SECONDS = 45.0
STEPS = 350
DEAD_RATIO = 1.01
LIVE_RATIO = 1.10
CHANCE = 0.01  # the widest error bar by which anything can be told
WITHOUT = ("none", "again")
DEAD: dict[str, Mode] = {
    "refusing": modes.refusing,
    "hanging": modes.hanging,
    "500": modes.answering(500),
    "dripping": modes.dripping(0.01),
}

# The step is pure Python, so that it has no moment in which another thread could run for free.
TRAINING = """
import sys, time
import tachograph

def step():
    total = 0
    for number in range(7_000):
        total += number * number
    return total

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
        environment = {**os.environ, "TACHOGRAPH_EXIT_WAIT": "0", "TACHOGRAPH_DIR": str(store)}
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
    """A median, and how far it may be off (about two standard errors of it)."""

    median: float
    error: float

    @classmethod
    def of(cls, found: list[float]) -> Ratio:
        ordered, reach = sorted(found), sqrt(len(found))
        middle = (len(found) - 1) / 2
        low, high = ordered[max(0, round(middle - reach))], ordered[min(len(found) - 1, round(middle + reach))]
        return cls(median(found), (high - low) / 2)

    def __str__(self) -> str:
        return f"{self.median:.4f} ± {self.error:.4f}"


def measured(trainings: dict[str, Training]) -> dict[str, Ratio]:
    """By the clock, how much longer the blocks of each kind take than those of "none". Prints that, and the rest."""
    order, kinds = random.Random(0), list(trainings)
    for training in trainings.values():
        training.turn()
    until, rounds = time.monotonic() + SECONDS, list[dict[str, Block]]()
    while time.monotonic() < until:
        rounds.append({kind: trainings[kind].turn() for kind in order.sample(kinds, len(kinds))})
    found = {}
    print(f"\n{len(rounds)} blocks of {median(one['none'].wall for one in rounds):.3f} s")
    for kind in kinds:
        found[kind] = Ratio.of([one[kind].wall / one["none"].wall for one in rounds])
        own = Ratio.of([one[kind].own / one["none"].own for one in rounds])
        others = sum(one[kind].others for one in rounds) / sum(one[kind].wall for one in rounds)
        print(f"{kind:>9}: wall {found[kind]}, processor of the loop {own}, of other threads {others:.4f}")
    return found


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Server]:
    """The one that is meant."""
    running = Server(tmp_path / "served")
    yield running
    running.kill()


def check(found: dict[str, Ratio], most: float) -> None:
    assert found["again"].error < CHANCE, "this machine is too busy to tell"
    for kind, ratio in found.items():
        assert ratio.median <= most, f"{kind}: {ratio}"


def test_a_loop_beside_a_dead_server(server: Server, tmp_path: Path) -> None:
    proxies = {kind: Proxy(server.port) for kind in DEAD}
    for kind, proxy in proxies.items():
        proxy.mode = DEAD[kind]
    sinks = {**dict.fromkeys(WITHOUT, ()), **{kind: (proxy.url,) for kind, proxy in proxies.items()}}
    trainings = {kind: Training(tmp_path / kind, *urls) for kind, urls in sinks.items()}
    try:
        check(measured(trainings), DEAD_RATIO)
    finally:
        for training in trainings.values():
            training.end()
        for proxy in proxies.values():
            proxy.close()


def test_a_loop_beside_a_living_one(server: Server, tmp_path: Path) -> None:
    sinks = {**dict.fromkeys(WITHOUT, ()), "server": (server.url,), "folder": ((tmp_path / "far").as_uri(),)}
    trainings = {kind: Training(tmp_path / kind, *urls) for kind, urls in sinks.items()}
    try:
        check(measured(trainings), LIVE_RATIO)
    finally:
        for training in trainings.values():
            training.end()
