"""A training in a process of its own, and whether what it recorded is on the far side."""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
import time
from pathlib import Path

import tachograph
from tachograph import journal
from tachograph.events import Event
from tachograph.store.artifacts import Artifact
from tachograph.store.run_record import RunRecord

EXIT_WAIT = 0.7
GRACE = 2.5  # seconds that Python itself may take to end, on a busy machine

SCRIPT = """
import hashlib, sys, time
import numpy as np
from sklearn.neural_network import MLPClassifier
import tachograph

tachograph.autolog()
random = np.random.default_rng(0)
X = random.normal(size=(100, 4))
y = (X[:, 0] > X[:, 1]).astype(float)
weights = np.zeros(4)
with tachograph.start_run("trained", params={"lr": 0.1, "name": "\\xfcn\\xef"}) as run:
    print("began", flush=True)
    model = MLPClassifier((4,), max_iter=30, random_state=0).fit(X, y)
    for step in range(2000):
        error = X @ weights - y
        weights -= 0.01 * X.T @ error / len(X)
        run.log({"loss": float(error @ error), "none": float("nan")}, step)
        if step == 1000:
            np.save("half.npy", weights)
            run.log_artifact("half.npy")
            print("half", flush=True)
            sys.stdin.readline()
    run.log_table("rows", [{"a": 1}, {"a": 2}])
result = hashlib.sha256(weights.tobytes() + model.coefs_[0].tobytes()).hexdigest()
print(result, time.monotonic(), flush=True)
"""


class Training:
    """A training that sends to ``sinks``. It stands still at half its way until it is told to go on."""

    def __init__(self, folder: Path, *sinks: str, **environment: str) -> None:
        settings = {"TACHOGRAPH_SINKS": ",".join(sinks), "TACHOGRAPH_EXIT_WAIT": str(EXIT_WAIT), "OMP_NUM_THREADS": "1"}
        self.process = subprocess.Popen(
            [sys.executable, "-W", "ignore", "-c", SCRIPT], cwd=folder, env={**os.environ, **settings, **environment},
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        )  # fmt: skip

    def wait_for_half(self) -> None:
        assert self.process.stdout is not None
        while self.process.stdout.readline() != "half\n":
            assert self.process.poll() is None

    def end(self, wait: float = EXIT_WAIT) -> tuple[str, list[str]]:
        """Let it end. Gives its result, and the lines that it wrote to its standard error."""
        output, errors = self.process.communicate("\n", timeout=180)
        ended = time.monotonic()
        assert self.process.returncode == 0, errors
        result, at = output.split()[-2:]
        assert ended - float(at) < wait + GRACE, "the end of the process was held up"
        return result, errors.splitlines()


def synced(*arguments: str, expected: int = 0) -> str:
    """What ``tachograph sync`` says."""
    command = [sys.executable, "-m", "tachograph", "sync", *arguments]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert done.returncode == expected, done.stdout + done.stderr
    return done.stdout + done.stderr


def recorded(root: Path) -> list[str]:
    """The runs of a store; of those that are named, a sink is asked what it has, whatever is known here."""
    return sorted(path.name for path in (root / "runs").iterdir())


def lines(root: Path) -> dict[tuple[str, str], list[bytes]]:
    """The good lines of each writer as they lie there, repetitions and disorder too."""
    found = {}
    for writer in sorted(path for path in root.glob("runs/*/*") if path.is_dir()):
        found[writer.parent.name, writer.name] = list(_good(writer))
    return found


def _good(writer: Path) -> list[bytes]:
    found: list[bytes] = []
    for path in journal.segments(writer):
        with journal.opened(path) as file:
            block = journal.Block(path, 0, 1, file.read())
        pairs = zip(block.items(), block.data.split(b"\n"), strict=False)
        found += [line for item, line in pairs if isinstance(item, Event)]
    return found


def check_arrived(near: Path, far: Path, *runs: str) -> None:
    """``far`` has what ``near`` has (or of that ``runs``), event by event and once, and answers the same."""
    ours = {key: value for key, value in lines(near).items() if not runs or key[0] in runs}
    theirs = lines(far)
    assert ours
    for key, expected in ours.items():
        found = theirs.get(key, [])
        assert found == expected, f"{key}: {len(found)} lines of {len(expected)}"
    here, there = tachograph.open_store(near), tachograph.open_store(far)
    for id in {run for run, _ in ours}:
        assert facts(there.run(id)) == facts(here.run(id))
    here.close()
    there.close()


def facts(run: RunRecord) -> dict[str, object]:
    """What people are told of a run, histories and files too."""
    histories = {name: list(map(repr, run.history(name).values.tolist())) for name in run.metrics}
    files = {artifact.name: content(artifact) for artifact in run.artifacts}
    known = (run.id, run.name, run.status, run.params, run.tags, run.experiment, run.started, run.ended)
    return {"known": repr(known), "histories": histories, "files": files, "writers": [one.id for one in run.writers]}


def content(artifact: Artifact) -> str:
    return hashlib.sha256(artifact.path().read_bytes()).hexdigest()
