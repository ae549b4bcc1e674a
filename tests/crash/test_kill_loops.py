"""Processes that train in two threads are killed at any moment: each loop loses the last moment's steps at most."""

from __future__ import annotations

import os
import random
import signal
import struct
import subprocess
import sys
import time
from pathlib import Path

import pytest

import tachograph

KILLS = int(os.environ.get("TESTS_KILLS", "4"))
LOST_SECONDS = 0.15  # what is noted is recorded each 0.05 s, and this machine may be busy
STEP = struct.Struct("d")

PROGRAM = """
import os, struct, sys, threading, time, torch, tachograph
torch.set_num_threads(1)
tachograph.autolog("torch", system=False)

def train(number):
    made = os.open(os.path.join(sys.argv[1], str(number)), os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    net = torch.nn.Linear(4, 1)
    opt = torch.optim.SGD(net.parameters(), 1e-3)
    with tachograph.start_run(f"loop-{number}"):
        while True:
            loss = net(torch.ones(8, 4)).square().mean()
            loss.backward()
            opt.step()
            os.write(made, struct.pack("d", time.time()))
            time.sleep(0.001)

for number in range(2):
    threading.Thread(target=train, args=(number,)).start()
"""


def has_begun(path: Path) -> bool:
    return path.exists() and path.stat().st_size > 0


@pytest.mark.parametrize("kill", range(KILLS))
def test_two_loops_of_a_killed_process(tmp_path: Path, root: Path, kill: int) -> None:
    process = subprocess.Popen(
        [sys.executable, "-c", PROGRAM, str(tmp_path)], env={**os.environ, "TACHOGRAPH_DIR": str(root)}
    )
    until = time.monotonic() + 60
    while not all(map(has_begun, (tmp_path / "0", tmp_path / "1"))) and time.monotonic() < until:
        time.sleep(0.01)
    time.sleep(random.Random(kill).uniform(0.05, 1.0))
    process.send_signal(signal.SIGKILL)
    process.wait()
    store = tachograph.open_store(root)
    for number in range(2):
        content = (tmp_path / str(number)).read_bytes()
        made = [at for (at,) in STEP.iter_unpack(content)]
        wanted = [at for at in made if at < made[-1] - LOST_SECONDS]
        run = store.run(f"loop-{number}")
        steps = run.history("loss").steps.tolist() if "loss" in run.metrics else []
        assert steps == list(range(len(steps)))
        assert len(steps) >= len(wanted), made[-1] - made[len(steps)]
