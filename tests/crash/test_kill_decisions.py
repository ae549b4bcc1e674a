"""Many decide about a model at the same moment, and some are killed: each decision is made once, or not at all."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import time
from itertools import pairwise
from pathlib import Path

import pytest
from tests.parts.files import file

import tachograph
from tachograph.registry import decisions
from tachograph.upkeep.verify import check

PROCESSES, EACH = 16, 6
KILLS = int(os.environ.get("TESTS_KILLS", "12"))

DECIDER = """
import os, sys
import tachograph
store = tachograph.open_store()
run = store.run("latest")
os.read(0, 1)  # all begin together
for number in range(int(sys.argv[1])):
    version = run.register_model("m", bump="minor")
    version.alias("champion")
    version.promote("production")
    os.write(1, f"{version.version}\\n".encode())
"""


@pytest.fixture
def kept(tmp_path: Path, root: Path) -> Path:
    """A store with a run that has kept a model."""
    with tachograph.start_run() as run:
        run.log_artifact(file(tmp_path / "weights.txt", "weights"), name="model")
    return root


def start(count: int) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-c", DECIDER, str(count)]
    return subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE)


def history_is_linear(root: Path) -> list[dict[str, object]]:
    assert check(root).damage == []
    folder = root / "registry" / "m"
    numbers = sorted(int(path.stem) for path in folder.glob("*.json"))
    assert numbers == list(range(1, len(numbers) + 1))
    contents = [(folder / f"{number}.json").read_bytes() for number in numbers]
    for before, content in pairwise(contents):
        assert json.loads(content)["previous"] == decisions.digest(before)
    return [json.loads(content) for content in contents]


def test_sixteen_processes_at_once(kept: Path) -> None:
    processes = [start(EACH) for _ in range(PROCESSES)]
    for process in processes:
        assert process.stdin is not None
        process.stdin.write(b"x")
        process.stdin.flush()
    said = [process.communicate(timeout=300)[0].decode().split() for process in processes]
    assert [process.returncode for process in processes] == [0] * PROCESSES
    given = [number for numbers in said for number in numbers]
    assert len(given) == len(set(given)) == PROCESSES * EACH
    made = history_is_linear(kept)
    assert len(made) == 3 * PROCESSES * EACH
    model = tachograph.open_store().model("m")
    assert [version.version for version in model.versions] == [f"1.{minor}.0" for minor in range(PROCESSES * EACH)]
    [last] = [each["version"] for each in made if each["kind"] == "aliased"][-1:]
    assert model.aliases == {"champion": last}
    assert [version.stage for version in model.versions].count("production") == 1


def test_killed_in_the_middle(kept: Path) -> None:
    said: list[str] = []
    for seed in range(KILLS):
        with start(1000) as process:
            assert process.stdin is not None
            assert process.stdout is not None
            process.stdin.write(b"x")
            process.stdin.flush()
            first = process.stdout.readline()
            time.sleep(random.Random(seed).uniform(0, 0.1))
            process.kill()
            rest = process.stdout.read()
        assert process.returncode == -signal.SIGKILL
        said += (first + rest.rpartition(b"\n")[0]).decode().split()
    made = history_is_linear(kept)
    registered = [each["version"] for each in made if each["kind"] == "registered"]
    assert len(registered) == len(set(registered))
    assert set(said) <= set(registered)  # what it has returned from is there
    drafts = [path.name for path in (kept / "registry" / "m").iterdir() if path.name.startswith(".draft-")]
    assert len(drafts) <= KILLS
