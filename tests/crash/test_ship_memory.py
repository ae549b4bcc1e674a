"""Sending takes no more memory however much there is, nor does receiving."""

from __future__ import annotations

import hashlib
import os
import signal
import subprocess
import sys
import textwrap
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.integrations.server.serving import Server

from tachograph import events, journal
from tachograph.events import Artifact, Metrics, RunEnd, RunStart

pytestmark = pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="reads memory from /proc")

RUN, WRITER = "20260101-000000-aaaaaa", "0-elsewhere-1-aaaaaa"
MB = 1 << 20


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Server]:
    running = Server(tmp_path / "served")
    yield running
    running.kill()


def most(pid: int | str) -> int:
    """The most memory that a process has had, in bytes."""
    [line] = [line for line in Path(f"/proc/{pid}/status").read_text().splitlines() if line.startswith("VmHWM")]
    return int(line.split()[1]) << 10


def write(root: Path, points: int, *others: events.Event) -> None:
    """A run of a process that is gone, with so many points."""
    folder = root / "runs" / RUN / WRITER
    folder.mkdir(parents=True)
    start = RunStart(run=RUN, writer=WRITER, role="owner", host="elsewhere", boot="", pid=1, born=1, name="large")
    metrics = (Metrics(step=step, values={"loss": step / 7, "accuracy": step / 9}) for step in range(points))
    with open(folder / "1.jsonl", "wb") as file:
        for seq, event in enumerate(_all(start, metrics, others), start=1):
            event.v, event.seq, event.at = events.VERSION, seq, 1.7e9 + seq / 1000
            file.write(events.encode(event) + b"\n")


def _all(start: events.Event, metrics: Iterator[Metrics], others: tuple[events.Event, ...]) -> Iterator[events.Event]:
    yield start
    yield from metrics
    yield from others
    yield RunEnd(status="finished")


# What a training does that finds a run of an earlier process unsent: it sends that, too.
TRAINING = """
import sys, time
from pathlib import Path
import requests, tachograph
from tachograph.ship.positions import Positions

def most():
    [line] = [line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("VmHWM")]
    return int(line.split()[1]) << 10

url = sys.argv[1]
with tachograph.start_run("first", sinks=[url]) as run:
    run.log({"loss": 1})
assert tachograph.flush(60)
before = most()
Positions(Path(sys.argv[2]), url).begin(sys.argv[3])
from tachograph.ship.shipper import shipper
shipper.reset()
with tachograph.start_run("second", sinks=[url]) as run:
    run.log({"loss": 1})
assert tachograph.flush(500)
print(before, most())
"""


def train(root: Path, url: str) -> tuple[int, int]:
    """The most memory of a training before and after it has sent the large run."""
    command = [sys.executable, "-c", textwrap.dedent(TRAINING), url, str(root), RUN]
    environment = {**os.environ, "TACHOGRAPH_CONSOLE": "0"}
    done = subprocess.run(command, env=environment, capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")
    before, after = map(int, done.stdout.split())
    return before, after


@pytest.mark.parametrize("points", [150_000, pytest.param(1_000_000, marks=pytest.mark.benchmark)])
def test_many_events(server: Server, root: Path, points: int) -> None:
    write(root, points)
    size = journal.size(root / "runs" / RUN / WRITER / "1.jsonl")
    before_there = most(server.process.pid)
    before, after = train(root, server.url)
    there = most(server.process.pid)
    print(f"\n{points:,} events, {size / MB:.0f} MB: {(after - before) / MB:.1f} MB more here, "
          f"{(there - before_there) / MB:.1f} MB more there")  # fmt: skip
    assert after - before < 16 * MB
    assert there - before_there < 32 * MB
    assert sum(journal.sizes(server.root / "runs" / RUN / WRITER)[0].values()) == size


@pytest.mark.parametrize("size", [150 * MB, pytest.param(500 * MB, marks=pytest.mark.benchmark)])
def test_a_large_file(server: Server, root: Path, size: int) -> None:
    block, found = os.urandom(MB), hashlib.sha256()
    draft = root / "blobs" / ".draft-1"
    draft.parent.mkdir(parents=True)
    with open(draft, "wb") as file:
        for number in range(size // MB):
            found.update(piece := number.to_bytes(8, "big") + block[8:])
            file.write(piece)
    blob = root / "blobs" / found.hexdigest()[:2] / found.hexdigest()
    blob.parent.mkdir()
    draft.rename(blob)
    digest = f"sha256:{found.hexdigest()}"
    write(root, 10, Artifact(name="model", type="model", digest=digest, size=size, filename="model"))
    before_there = most(server.process.pid)
    before, after = train(root, server.url)
    there = most(server.process.pid)
    print(f"\na file of {size / MB:.0f} MB: {(after - before) / MB:.1f} MB more here, "
          f"{(there - before_there) / MB:.1f} MB more there")  # fmt: skip
    assert (server.root / blob.relative_to(root)).stat().st_size == size
    assert after - before < 24 * MB
    assert there - before_there < 32 * MB


# It goes on for long beside a server that takes nothing.
LONG = """
import sys
from pathlib import Path
import requests, tachograph

def most():
    [line] = [line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("VmHWM")]
    return int(line.split()[1]) << 10

with tachograph.start_run("long", sinks=[sys.argv[1]]) as run:
    run.log({"loss": 1})
    assert tachograph.flush(60)
    print("began", flush=True)
    sys.stdin.readline()
    before = most()
    for step in range(int(sys.argv[2])):
        run.log({"loss": step / 7, "accuracy": step / 9})
    print(before, most(), flush=True)
    sys.stdin.readline()
assert tachograph.flush(500)
print(before, most())
"""


@pytest.mark.parametrize("points", [150_000, pytest.param(1_000_000, marks=pytest.mark.benchmark)])
def test_a_server_that_stands_still_while_a_training_goes_on(server: Server, root: Path, points: int) -> None:
    command = [sys.executable, "-c", textwrap.dedent(LONG), server.url, str(points)]
    environment = {**os.environ, "TACHOGRAPH_CONSOLE": "0"}
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
    with subprocess.Popen(command, env=environment, text=True, **pipes) as training:
        assert training.stdin is not None
        assert training.stdout is not None
        assert training.stdout.readline() == "began\n"
        os.kill(server.process.pid, signal.SIGSTOP)
        print(file=training.stdin, flush=True)
        before, during = map(int, training.stdout.readline().split())
        os.kill(server.process.pid, signal.SIGCONT)
        output, _ = training.communicate("\n", timeout=500)
    assert training.returncode == 0
    after = int(output.split()[1])
    more = (during - before) / MB, (after - before) / MB
    print(f"\n{points:,} events: {more[0]:.1f} MB more before any was taken, {more[1]:.1f} MB when all were")
    assert after - before < 24 * MB
    [run] = (root / "runs").iterdir()
    [writer] = journal.writers(run)
    there = journal.sizes(server.root / "runs" / run.name / writer.name)[0]
    assert sum(there.values()) == sum(journal.sizes(writer)[0].values())
