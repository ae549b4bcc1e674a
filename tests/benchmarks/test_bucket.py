"""What a bucket costs: bytes, requests and seconds, on SeaweedFS on this machine. What a cloud's network adds is not
in the seconds; the requests are the same there."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.faults.proxy import Proxy
from tests.integrations.bucket.test_faults import passing
from tests.integrations.server.serving import lines
from tests.parts import seaweedfs

import tachograph
from tachograph.bucket.objects import Objects
from tachograph.cli import main
from tachograph.ship.sender import FIRST_PAUSE, PAUSE_SHARE
from tachograph.sinks.bucket import CloudSink
from tachograph.store.store import open_store

pytestmark = pytest.mark.benchmark


@pytest.fixture
def s3(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> str:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    for name, value in seaweedfs.running().environment.items():
        monkeypatch.setenv(name, value)
    return seaweedfs.running().new_bucket()


@pytest.fixture
def made(monkeypatch: pytest.MonkeyPatch) -> Counter[str]:
    """Requests by kind, and the bytes that were written."""
    counts: Counter[str] = Counter()

    def count(verb: str, kind: str, size: Callable[..., int] = lambda *given: 0) -> None:
        original = getattr(Objects, verb)

        def counted(self: Objects, *given: Any) -> Any:
            counts[kind] += 1
            counts["bytes"] += size(*given)
            return original(self, *given)

        monkeypatch.setattr(Objects, verb, counted)

    def listed(self: Objects, *given: str) -> Iterator[Any]:
        counts["LIST"] += 1
        for number, one in enumerate(original(self, *given), start=1):
            counts["LIST"] += number % 1000 == 0
            yield one

    original = Objects.listed
    monkeypatch.setattr(Objects, "listed", listed)
    count("create", "PUT", lambda path, content: len(content))
    count("read", "GET")
    count("read_range", "GET")
    count("size", "HEAD")
    return counts


def told(title: str, counts: Counter[str], seconds: float, root: Path | None = None) -> None:
    journals = sum(path.stat().st_size for path in root.glob("runs/*/*/*.jsonl")) if root else 0
    print(f"\n{title}: {seconds:.2f} s, {dict(counts)}" + (f", journals of {journals:,} bytes" if journals else ""))
    counts.clear()


def record(sinks: list[str], points: int, names: int = 1, pause: float = 0.0) -> None:
    with tachograph.start_run(sinks=sinks) as run:
        for step in range(points):
            run.log({f"m{number}": step / 7 + number for number in range(names)}, step=step)
            time.sleep(pause)


def test_a_short_run(s3, root, made):
    began = time.monotonic()
    record([s3], 200, pause=0.01)
    tachograph.flush()
    told("200 points in 2 s, sent while it was recorded", made, time.monotonic() - began, root)


def test_a_run_of_a_minute(s3, root, made):
    began = time.monotonic()
    record([s3], 600, pause=0.1)
    tachograph.flush()
    told("600 points in 60 s, sent while they were recorded", made, time.monotonic() - began, root)


def test_a_long_run(s3, root, made):
    record([], 1_000_000)
    began = time.monotonic()
    assert main(["sync", "--to", s3]) == 0
    told("1,000,000 points, sent afterwards", made, time.monotonic() - began, root)
    began = time.monotonic()
    assert len(open_store(s3).run("latest").history("m0").values) == 1_000_000
    told("1,000,000 points, opened for the first time", made, time.monotonic() - began)


def test_eight_writers(s3, root, made):
    sink = CloudSink(s3)
    began = time.monotonic()
    sink.resume("many")
    for writer in range(8):
        sink.write("many", f"{writer}-host-1-abc", lines("many", f"{writer}-host-1-abc", 10_000))
    told("8 writers of 10,000 points each", made, time.monotonic() - began)
    began = time.monotonic()
    assert len(open_store(s3).run("many").writers) == 8
    told("8 writers, opened for the first time", made, time.monotonic() - began)


def test_opening_a_bucket_of_a_thousand_runs(s3, root, made):
    sink = CloudSink(s3)
    began = time.monotonic()
    for number in range(1000):
        id = f"202611{1 + number // 50:02}-{number:06}-abcdef"
        sent = lines(id, "w", 200)
        sink.resume(id)
        sink.write(id, "w", sent[:1])
        sink.write(id, "w", sent[1:])
    told("1,000 runs of 200 points written one after another", made, time.monotonic() - began)
    for what in ("for the first time", "again", "once more by the same store"):
        began = time.monotonic()
        if what != "once more by the same store":
            store = open_store(s3)
        assert len(store.runs()) == 1000
        told(f"1,000 runs opened {what}", made, time.monotonic() - began)
    CloudSink(s3).write("20261201-000000-abcdef", "w", lines("20261201-000000-abcdef", "w", 200))
    made.clear()
    began = time.monotonic()
    assert len(store.runs()) == 1001
    told("and one run more", made, time.monotonic() - began)


JOBS, SECONDS, FASTER = 3, 90.0, 5.0
LIVE = """
import sys, time
import tachograph
from tachograph.ship import sender
from tachograph.sinks.bucket import CloudSink

seconds, faster = float(sys.argv[2]), float(sys.argv[3])
sender.FIRST_PAUSE, CloudSink.pause = sender.FIRST_PAUSE / faster, CloudSink.pause / faster
with tachograph.start_run(sinks=[sys.argv[1]]) as run:
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        run.log({"loss": time.monotonic()})
        time.sleep(0.02)
"""


def reckoned(seconds: float) -> int:
    """How many segments there should be of so long a run: one at each look, and one at its end."""
    at, count = 0.0, 1
    while at < seconds:
        count, at = count + 1, at + min(CloudSink.pause, max(FIRST_PAUSE, PAUSE_SHARE * at))
    return count


def test_what_live_jobs_ask_for(s3, root, monkeypatch):
    """A schedule that is so many times as fast: what is counted is what a job takes that is so many times as long."""
    between = Proxy(seaweedfs.running().ports["s3.port"])
    between.mode = passing
    monkeypatch.setenv("AWS_ENDPOINT_URL", between.url)
    command = [sys.executable, "-c", LIVE, s3, str(SECONDS), str(FASTER)]
    environment = {**os.environ, "TACHOGRAPH_EXIT_WAIT": "30"}
    jobs = [subprocess.Popen(command, env=environment) for _ in range(JOBS)]
    assert [job.wait() for job in jobs] == [0] * JOBS
    found = Counter("LIST" if "list-type" in line else line.split()[0] for line in between.requests)
    expected = reckoned(SECONDS * FASTER)
    each = {kind: f"{count / JOBS:.1f}" for kind, count in found.items()}
    print(f"\n{JOBS} jobs of {SECONDS * FASTER / 60:.0f} minutes: {each} each, reckoned: {expected} PUT")
    between.close()
    assert abs(found["PUT"] / JOBS - expected) < 0.15 * expected
