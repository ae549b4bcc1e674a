"""``kill -9`` at a random moment: what was acknowledged is there, and the run reads as crashed."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
from pathlib import Path

import pytest

import tachograph

PROGRAM = """
import os, sys
import tachograph

run = tachograph.start_run("victim")
print(run.id, flush=True)
for step in range(10_000_000):
    run.log({"loss": 1 / (step + 1), "double": 2.0 * step}, step=step)
    os.write(1, b"%d\\n" % step)
"""


def kill_one(root: Path, after: int) -> tuple[str, int]:
    """Kill a logging process about ``after`` acknowledged points in; the run's id and the last of those points."""
    process = subprocess.Popen(
        [sys.executable, "-c", PROGRAM], stdout=subprocess.PIPE, env={**os.environ, "TACHOGRAPH_DIR": str(root)}
    )
    assert process.stdout is not None
    run_id = process.stdout.readline().decode().strip()
    for _ in range(after):
        process.stdout.readline()
    process.send_signal(signal.SIGKILL)
    said = process.stdout.read().splitlines(keepends=True)
    process.wait()
    # What it had said before the kill took effect was acknowledged too; a cut off number wasn't said.
    whole = [int(line) for line in said if line.endswith(b"\n")]
    return run_id, whole[-1] if whole else after - 1


def check(root: Path, rounds: int) -> int:
    chance = random.Random()
    points = 0
    for _ in range(rounds):
        run_id, last = kill_one(root, chance.choice([1, 10, 100, 1000, chance.randrange(1, 5000)]))
        run = tachograph.open_store(root).run(run_id)
        assert run.status == "crashed"
        steps = run.history("loss").steps.tolist()
        assert steps == list(range(len(steps)))
        assert len(steps) > last, f"point {last} was acknowledged, {len(steps)} were read back"
        assert run.history("double").values.tolist() == [2.0 * step for step in range(len(run.history("double").steps))]
        points += last + 1
    return points


def test_every_acknowledged_point_is_read_back(root: Path) -> None:
    check(root, rounds=12)


@pytest.mark.benchmark
@pytest.mark.timeout(1200)
def test_two_hundred_times(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    points = check(root, rounds=200)
    with capsys.disabled():
        print(f"\n200 processes killed, {points} acknowledged points, none lost")
