"""What a dead sink costs a training: an MLP of PyTorch with steps of some milliseconds that logs its loss.

One process does short blocks of steps with the sink and without, in pairs, in random order within each pair: what the
machine does besides hits both alike, and where things lie in memory is the same for both. "Without" means that the
sink's thread is held where it is about to ask the sink; "none" is held always, and shows how much is chance. Between
attempts are two seconds at most, where a training has up to a minute: this is the worst that there can be.

Printed are the ratios by the clock and by the processor's time of the training's own thread: of the sums, which has
the rare blocks in which an attempt is made, and the median of all pairs, which has what is always there.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from tests.faults import proxy as modes
from tests.faults.proxy import Mode, Proxy
from tests.parts.ports import free_ports

pytestmark = pytest.mark.benchmark

SECONDS = 70
LIMIT = 1.01
SURE = {"median": 0.005, "sums": 0.01}  # how well the ratio has to be known
DEAD: dict[str, Mode] = {
    "none": modes.refusing,
    "refusing": modes.refusing,
    "hanging": modes.hanging,
    "500": modes.answering(500),
}

TRAINING = """
import json, random, sys, threading, time
import torch
import tachograph
from tachograph.ship import shipper
from tachograph.runtime import backoff
from tachograph.sinks import open_sink

url, seconds, is_held = sys.argv[1], float(sys.argv[2]), sys.argv[3] == "none"
allowed, attempts = threading.Event(), []

def held(url):
    sink = open_sink(url)
    resume = sink.resume
    def ask(run):
        allowed.wait()
        attempts.append(time.monotonic())
        return resume(run)
    sink.resume = ask
    return sink

shipper.open_sink, backoff.LONGEST_DELAY = held, 2.0
torch.set_num_threads(1)
torch.manual_seed(0)
wide = torch.nn.Linear(384, 384)
model = torch.nn.Sequential(torch.nn.Linear(64, 384), torch.nn.ReLU(), wide, torch.nn.ReLU(), torch.nn.Linear(384, 10))
optimizer, criterion = torch.optim.Adam(model.parameters()), torch.nn.CrossEntropyLoss()
inputs, targets = torch.randn(64, 64), torch.randint(10, (64,))

def step():
    optimizer.zero_grad()
    loss = criterion(model(inputs), targets)
    loss.backward()
    optimizer.step()
    run.log({"loss": loss.item()})

def block(is_with):
    (allowed.set if is_with and not is_held else allowed.clear)()
    time.sleep(0.005)
    own, began = time.thread_time(), time.perf_counter()
    for _ in range(50):
        step()
    return time.perf_counter() - began, time.thread_time() - own

run = tachograph.start_run(sinks=[url])
if not is_held:
    allowed.set()
until = time.monotonic() + 4  # what every run does at its beginning is not what is measured here
while time.monotonic() < until:
    step()
order, pairs, until, before = random.Random(0), [], time.monotonic() + seconds, len(attempts)
while time.monotonic() < until:
    first = order.random() < 0.5
    blocks = {first: block(first), not first: block(not first)}
    pairs.append([blocks[True], blocks[False]])
print(json.dumps([pairs, len(attempts) - before, 50]))
"""


def measured(kind: str, url: str, folder: Path, **environment: str) -> tuple[NDArray[np.float64], int]:
    """Seconds by pair, with the sink and without, by the clock and of the processor; and how often it was tried."""
    command = [sys.executable, "-c", TRAINING, url, str(SECONDS), kind]
    settings = {"TACHOGRAPH_EXIT_WAIT": "0", "TACHOGRAPH_DIR": str(folder), "OMP_NUM_THREADS": "1", **environment}
    done = subprocess.run(command, env={**os.environ, **settings}, stdout=subprocess.PIPE, text=True, check=True)
    pairs, attempts, steps = json.loads(done.stdout.splitlines()[-1])
    found = np.array(pairs)
    print(f"\n{kind}: {len(found)} pairs, a step {1e3 * np.median(found[:, 1, 0]) / steps:.2f} ms, {attempts} attempts")
    return found, attempts


def interval(draw: NDArray[np.float64]) -> tuple[float, float]:
    """The middle of 95 % of what was drawn, and half its width."""
    low, high = np.quantile(draw, [0.025, 0.975])
    return float(low + high) / 2, float(high - low) / 2


def check(pairs: NDArray[np.float64]) -> None:
    random = np.random.default_rng(0)
    drawn = [pairs[random.integers(len(pairs), size=len(pairs))] for _ in range(2000)]
    for number, what in enumerate(("the clock", "the processor")):
        found = {
            "sums": interval(np.array([one[:, 0, number].sum() / one[:, 1, number].sum() for one in drawn])),
            "median": interval(np.array([np.median(one[:, 0, number] / one[:, 1, number]) for one in drawn])),
        }
        for statistic, (ratio, error) in found.items():
            print(f"  by {what}, {statistic}: {ratio:.4f} ± {error:.4f}")
            assert error < SURE[statistic], "this machine is too busy to tell"
            assert ratio <= LIMIT


@pytest.fixture
def proxy() -> Iterator[Proxy]:
    """In front of nothing."""
    made = Proxy(free_ports(1)[0])
    yield made
    made.close()


@pytest.mark.parametrize("kind", DEAD)
def test_a_server(kind: str, proxy: Proxy, tmp_path: Path) -> None:
    proxy.mode = DEAD[kind]
    pairs, attempts = measured(kind, proxy.url, tmp_path)
    assert attempts or kind in ("none", "hanging")
    check(pairs)


@pytest.mark.parametrize("kind", ["refusing", "hanging", "500"])
def test_a_bucket(kind: str, proxy: Proxy, tmp_path: Path) -> None:
    proxy.mode = DEAD[kind]
    known = {"AWS_ENDPOINT_URL": proxy.url, "AWS_ACCESS_KEY_ID": "a", "AWS_SECRET_ACCESS_KEY": "b"}
    pairs, _ = measured(kind, "s3://nowhere/prefix", tmp_path, AWS_REGION="us-east-1", **known)
    check(pairs)
