"""Trainings that send to a bucket: many at once, killed at any moment, and with a bucket that is away."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.integrations.bucket.test_sink import stored

import tachograph
from tachograph import journal
from tachograph.bucket.objects import Objects
from tachograph.cli import main
from tachograph.events import Event
from tachograph.store.store import open_store

JOBS = 100
SMALL = """
import sys
import tachograph
with tachograph.start_run(f"job {sys.argv[2]}", sinks=[sys.argv[1]]) as run:
    for step in range(200):
        run.log({"loss": step + int(sys.argv[2])})
"""
ENDLESS = """
import itertools, os, sys, time
import tachograph
run = tachograph.start_run(sinks=[sys.argv[1]])
print("began", flush=True)
for step in itertools.count():
    run.log({"loss": step / 2})
    if step % 100 == 0:
        open("kept.bin", "wb").write(os.urandom(1000))
        run.log_artifact("kept.bin")
        tachograph.flush(0.01)
        time.sleep(0.01)
"""


def journals(root: Path) -> dict[str, dict[str, list[Event]]]:
    """The events of each run's writers."""
    found: dict[str, dict[str, list[Event]]] = {}
    for writer in sorted(root.glob("runs/*/*")):
        items = [item for path in journal.segments(writer) for item in journal.read(path)]
        found.setdefault(writer.parent.name, {})[writer.name] = [item for item in items if isinstance(item, Event)]
    return found


def check_equal(root: Path, url: str) -> None:
    near = journals(root)
    assert near
    assert {run: dict(stored(url, run)) for run in near} == near
    store = open_store(url)
    assert {run.id for run in store.runs()} == near.keys()
    for run in store.runs():
        for artifact in run.artifacts:
            assert artifact.path().is_file()


def test_a_hundred_jobs_at_once(s3, root, tmp_path):
    environment = {**os.environ, "TACHOGRAPH_EXIT_WAIT": "120"}
    (tmp_path / "train.py").write_text(SMALL)
    jobs = [
        subprocess.Popen(
            [sys.executable, str(tmp_path / "train.py"), s3, str(number)], env=environment, stderr=subprocess.PIPE
        )
        for number in range(JOBS)
    ]
    for job in jobs:
        _, errors = job.communicate(timeout=200)
        assert (job.returncode, errors) == (0, b"")
    store = open_store(s3)
    for number in range(JOBS):
        run = store.run(f"job {number}")
        assert run.status == "finished"
        assert run.history("loss").values.tolist() == [float(step + number) for step in range(200)]
    check_equal(root, s3)


@pytest.fixture
def working_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def killed(command: list[str], after: float) -> None:
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL) as process:
        assert process.stdout is not None
        if command[1] == "-c":
            process.stdout.readline()
        time.sleep(after)
        process.kill()
    assert process.returncode in (-signal.SIGKILL, 0)


def sync() -> list[str]:
    return [sys.executable, "-m", "tachograph", "sync"]


@pytest.mark.parametrize("seed", range(3))
def test_the_sender_is_killed(url, root, working_folder, seed):
    moments = random.Random(seed)
    for _ in range(2):
        killed([sys.executable, "-c", ENDLESS, url], moments.uniform(0.05, 0.8))
    for _ in range(2):
        killed(sync(), moments.uniform(0.1, 0.5))
    assert main(["sync"]) == 0
    check_equal(root, url)


def test_several_senders_at_once_beside_a_training(s3, root, working_folder):
    with subprocess.Popen([sys.executable, "-c", ENDLESS, s3], stdout=subprocess.PIPE) as training:
        assert training.stdout is not None
        training.stdout.readline()
        senders = [subprocess.Popen(sync(), stdout=subprocess.DEVNULL, stderr=subprocess.PIPE) for _ in range(3)]
        for sender in senders:
            _, errors = sender.communicate(timeout=180)
            assert (sender.returncode, errors) == (0, b"")
        training.kill()
    assert main(["sync"]) == 0
    check_equal(root, s3)


# -- a bucket that is away --

STEADY = """
import os, sys, time
import tachograph
with tachograph.start_run("steady", sinks=[sys.argv[1]]) as run:
    print("began", flush=True)
    for step in range(int(sys.argv[2])):
        run.log({"loss": step})
        if step % 20 == 0:
            tachograph.flush(0)
        time.sleep(0.002)
"""


def trained(url: str, steps: int = 300, **environment: str) -> tuple[float, str]:
    """How long a training took, and what it said."""
    began = time.monotonic()
    command = [sys.executable, "-c", STEADY, url, str(steps)]
    environment = {**os.environ, "TACHOGRAPH_EXIT_WAIT": "1", **environment}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=180)
    assert done.returncode == 0, done.stderr
    return time.monotonic() - began, done.stderr


@pytest.mark.parametrize(
    ("wrong", "why"),
    [
        ({"AWS_SECRET_ACCESS_KEY": "wrong-secret"}, "403 SignatureDoesNotMatch"),
        ({"AWS_ENDPOINT_URL": "http://127.0.0.1:1"}, "connection refused"),
        ({"bucket": "s3://no-such-bucket"}, "no such bucket"),
    ],
)
def test_what_could_not_be_sent_is_sent_later(s3, root, wrong, why, monkeypatch, capfd):
    seconds, told = trained(s3, **{name: value for name, value in wrong.items() if name != "bucket"})
    if "bucket" not in wrong:
        assert seconds < 8
        assert len(told.splitlines()) == 1, told
        assert "wrong-secret" not in told
    target = wrong.pop("bucket", s3)
    with monkeypatch.context() as context:
        context.setattr("tachograph.cli.sync.ATTEMPTS", 1)
        for name, value in wrong.items():
            context.setenv(name, value)
        capfd.readouterr()
        assert main(["sync", "--to", target]) == 1
        assert why in capfd.readouterr().err
    assert main(["sync"]) == 0
    check_equal(root, s3)


def test_a_bucket_that_comes_back(own_server, root):
    server = own_server()
    url = server.new_bucket()
    command = [sys.executable, "-c", STEADY, url, "2000"]
    environment = {**os.environ, "TACHOGRAPH_EXIT_WAIT": "60"}
    training = subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    assert training.stdout is not None
    training.stdout.readline()
    time.sleep(1)
    server.stop()
    time.sleep(2)
    server.start()
    _, errors = training.communicate(timeout=120)
    assert (training.returncode, errors) == (0, b"")
    check_equal(root, url)


def test_a_bucket_that_is_away_when_training_begins(own_server, root):
    server = own_server()
    url = server.new_bucket()
    server.stop()
    run = tachograph.start_run("early", sinks=[url])
    run.log({"loss": 1.0})
    assert not tachograph.flush(0.5)
    server.start()
    assert tachograph.flush(60)
    run.log({"loss": 2.0})
    run.finish()
    assert tachograph.flush(60)
    check_equal(root, url)


# -- how much is asked of it --


@pytest.fixture
def requests(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[str]]:
    """The writes and listings that were asked for."""
    made: list[str] = []
    for verb in ("create", "listed", "size"):
        original = getattr(Objects, verb)

        def counted(self: Objects, *given: object, verb: str = verb, original: object = original) -> object:
            made.append(verb)
            return original(self, *given)  # type: ignore[operator]

        monkeypatch.setattr(Objects, verb, counted)
    return made


def test_a_short_run_takes_few_requests(s3, root, requests):
    with tachograph.start_run("short", sinks=[s3]) as run:
        for step in range(200):
            run.log({"loss": step})
            time.sleep(0.01)
    assert tachograph.flush()
    assert requests.count("listed") == 2  # what of the run is there, and whether it was removed
    assert requests.count("create") <= 3


def test_a_long_journal_goes_in_large_segments(s3, root, requests):
    with tachograph.start_run("long") as run:
        for step in range(150_000):
            run.log({"loss": step, "accuracy": step / 2})
    assert main(["sync", "--to", s3]) == 0
    size = sum(path.stat().st_size for path in root.glob("runs/*/*/*.jsonl"))
    assert requests.count("create") <= 2 + size // (4 << 20)
    check_equal(root, s3)
