"""``TACHOGRAPH_DETACH=1``: a training ends at once, and what is left to send arrives all the same, once."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tachograph import journal
from tachograph.events import RunEnd
from tachograph.ship import detached
from tachograph.ship.positions import Positions

pytestmark = pytest.mark.skipif(not Path("/proc").is_dir(), reason="looks for processes in /proc")

# A sink that takes its time, and notes each call: it is found by its entry point, as everybody's are.
SLOW = """
import os, time
from tachograph.sinks.folder import FolderSink

class SlowSink(FolderSink):
    def __init__(self, url):
        super().__init__(url.replace("slow", "file", 1).partition("?")[0])
        self.name = super_name(url)

    def write(self, run, writer, lines):
        time.sleep(float(os.environ.get("SLOW_SECONDS", "1")))
        super().write(run, writer, lines)
        with open(os.environ["SLOW_CALLS"], "a") as calls:
            calls.write(f"{os.getpid()} {os.getsid(0)} {len(lines)}\\n")

from tachograph.redaction import redact_url as super_name
"""
TRAINING = """
import sys, time
import tachograph
with tachograph.start_run(sys.argv[2], sinks=[sys.argv[1]]) as run:
    for step in range(3000):
        run.log({"loss": step})
"""


class Far:
    """The far side of a slow sink."""

    def __init__(self, folder: Path) -> None:
        self.root, self.calls = folder / "far", folder / "calls"
        self.url = self.root.as_uri().replace("file", "slow", 1) + "?token=hunter2"

    def check_equal(self, root: Path) -> None:
        """All is there, and nothing was sent twice."""
        near = contents(root)
        assert contents(self.root) == near
        sent = sum(int(line.split()[2]) for line in self.calls.read_text().splitlines())
        assert sent == sum(map(len, near.values()))


def contents(root: Path) -> dict[tuple[str, str], list[bytes]]:
    found = {}
    for writer in sorted(root.glob("runs/*/*")):
        lines = [line for path in journal.segments(writer) for line in path.read_bytes().splitlines()]
        found[writer.parent.name, writer.name] = lines
    return found


@pytest.fixture
def far(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Far]:
    site = tmp_path / "site"
    info = site / "slowsink-1.dist-info"
    info.mkdir(parents=True)
    (site / "slowsink.py").write_text(SLOW)
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: slowsink\nVersion: 1\n")
    (info / "entry_points.txt").write_text("[tachograph.sinks]\nslow = slowsink:SlowSink\n")
    far = Far(tmp_path)
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(site), os.environ.get("PYTHONPATH", "")]).rstrip(os.pathsep))
    monkeypatch.setenv("SLOW_CALLS", str(far.calls))
    monkeypatch.setenv("TACHOGRAPH_DETACH", "1")
    monkeypatch.setenv("TACHOGRAPH_CONSOLE", "0")
    monkeypatch.chdir(tmp_path)
    (tmp_path / "train.py").write_text(TRAINING)
    yield far
    for number in senders(tmp_path):
        os.kill(number, signal.SIGKILL)


def senders(folder: Path) -> list[int]:
    """The detached processes of this test's store."""
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        try:
            command = (process / "cmdline").read_bytes().split(b"\0")
        except OSError:
            continue
        if b"tachograph.ship.detached" in command and str(folder / "store").encode() in command:
            found.append(int(process.name))
    return found


def wait_for(condition: Callable[[], object], seconds: float = 60) -> None:
    until = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < until
        time.sleep(0.05)


def train(far: Far, name: str = "one") -> subprocess.Popen[str]:
    command = [sys.executable, "train.py", far.url, name]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def end_of(training: subprocess.Popen[str], root: Path) -> tuple[float, str]:
    """Wait for its end, and that of all who have its output open: how long that took from the end of its last run, and
    what it said."""
    output, errors = training.communicate(timeout=180)
    ended = time.time()
    assert (training.returncode, output) == (0, "")
    found = [item for path in root.glob("runs/*/*/*.jsonl") for item in journal.read(path)]
    return ended - max(item.at for item in found if isinstance(item, RunEnd)), errors


def test_the_training_ends_at_once_and_all_arrives_later(root: Path, far: Far, tmp_path: Path) -> None:
    training = train(far)
    seconds, errors = end_of(training, root)
    assert seconds < 1.0
    (line,) = errors.splitlines()
    assert "a process in the background does that" in line
    assert "hunter2" not in line
    (sender,) = senders(tmp_path)
    assert b"hunter2" not in Path(f"/proc/{sender}/cmdline").read_bytes()
    assert os.getsid(sender) == sender
    wait_for(lambda: not senders(tmp_path))
    far.check_equal(root)
    log = Positions(root, detached.redact_url(far.url)).folder / "detached.log"
    assert str(log) in line
    assert "done with 1 run" in log.read_text()
    assert not list((root / "sinks").glob("*/*.json"))  # all of it was sent
    assert not [path for path in (root / "sinks").rglob("*") if path.is_file() and b"hunter2" in path.read_bytes()]


def test_jobs_that_end_together_have_one_sender_and_send_nothing_twice(root: Path, far: Far, tmp_path: Path) -> None:
    trainings = [train(far, name) for name in ("one", "two", "three")]
    for training in trainings:
        end_of(training, root)
    wait_for(lambda: not senders(tmp_path))
    far.check_equal(root)
    assert len(contents(root)) == 3
    assert not list((root / "sinks").glob("*/*.json"))
    after = {line.split()[0] for line in far.calls.read_text().splitlines()[-5:]}
    assert len(after) == 1


def test_it_outlives_the_group_that_the_training_belonged_to(root: Path, far: Far, tmp_path: Path) -> None:
    """As when a launcher kills all that it started, or a terminal is closed."""
    command = [sys.executable, "-c", "import subprocess, sys, time; subprocess.run(sys.argv[1:]); time.sleep(60)"]
    launcher = subprocess.Popen(
        [*command, sys.executable, "train.py", far.url, "one"], start_new_session=True, stderr=subprocess.DEVNULL
    )
    wait_for(lambda: senders(tmp_path))
    os.killpg(launcher.pid, signal.SIGHUP)
    os.killpg(launcher.pid, signal.SIGKILL)
    launcher.wait()
    wait_for(lambda: not senders(tmp_path))
    far.check_equal(root)


def test_a_sink_that_comes_back_is_waited_for(
    root: Path, far: Far, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SLOW_SECONDS", "0")
    (tmp_path / "far").write_text("in the way")
    end_of(train(far), root)
    positions = Positions(root, detached.redact_url(far.url))
    wait_for(lambda: "FileExists" in (positions.folder / "detached.log").read_text() or positions.last_error())
    (tmp_path / "far").unlink()
    wait_for(lambda: not senders(tmp_path))
    far.check_equal(root)
    assert positions.last_error() is None


def test_it_ends_with_the_store(root: Path, far: Far, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "far").write_text("in the way")
    end_of(train(far), root)
    wait_for(lambda: Positions(root, detached.redact_url(far.url)).last_error())
    shutil.rmtree(root)
    wait_for(lambda: not senders(tmp_path), 30)
    assert not root.exists()


def test_where_all_is_sent_no_process_is_begun(root: Path, far: Far, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SLOW_SECONDS", "0")
    assert end_of(train(far), root)[1] == ""
    assert not list((root / "sinks").glob("*/detached.*"))
    far.check_equal(root)
