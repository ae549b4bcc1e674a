"""Which process this is, and whether another one is gone."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import msgspec
import psutil  # noqa: F401  # it must be there before the platform is said to be another one
import pytest

from tachograph import journal, process
from tachograph.process import Process, is_gone, this


def other(**changes: object) -> Process:
    return msgspec.structs.replace(this(), **changes)


@pytest.fixture
def child() -> Iterator[subprocess.Popen[bytes]]:
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as running:
        yield running
        running.kill()


def test_this_process_is_here() -> None:
    assert this() == this()
    assert this().pid == os.getpid()
    assert this().born > 0
    assert not is_gone(this())


def test_a_fork_is_another_process() -> None:
    reading, writing = os.pipe()
    if (pid := os.fork()) == 0:
        os.write(writing, msgspec.json.encode(this()))
        os._exit(0)
    os.waitpid(pid, 0)
    forked = msgspec.json.decode(os.read(reading, 10_000), type=Process)
    assert (forked.host, forked.boot, forked.pid) == (this().host, this().boot, pid)
    assert is_gone(forked)


def test_a_process_is_gone_once_it_has_ended(child: subprocess.Popen[bytes]) -> None:
    running = process._describe(child.pid)
    assert not is_gone(running)
    child.kill()
    os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOWAIT)  # a zombie now
    assert is_gone(running)
    child.wait()
    assert is_gone(running)


def test_a_number_that_was_given_again_is_another_process(child: subprocess.Popen[bytes]) -> None:
    assert is_gone(other(pid=child.pid))
    assert is_gone(other(born=this().born - 1))


def test_nothing_is_proven_where_nothing_can_be_seen() -> None:
    assert not is_gone(other(host="elsewhere", pid=1, born=1))
    assert not is_gone(other(host="elsewhere", boot="another"))
    assert not is_gone(other(born=0))  # its start could not be read when it wrote
    assert is_gone(other(boot="another"))


@pytest.mark.parametrize("platform", [sys.platform, "win32"])  # as it is seen without /proc
def test_where_a_process_comes_from(platform: str, monkeypatch: pytest.MonkeyPatch) -> None:
    code = "import os; os.environ['TOLD'] = 'later'; input()"
    with subprocess.Popen([sys.executable, "-c", code], stdin=subprocess.PIPE, env={"TOLD": "a=b"}) as running:
        monkeypatch.setattr(sys, "platform", platform)
        assert process.parent_of(running.pid) == os.getpid()
        assert process.started_with(running.pid, ["TOLD", "HOME"]) == {"TOLD": "a=b", "HOME": None}
        running.kill()
    assert process.parent_of(running.pid) == 0
    assert process.started_with(running.pid, ["TOLD"]) == {"TOLD": None}


def test_when_a_process_was_started(child: subprocess.Popen[bytes]) -> None:
    now = time.time()
    assert now - 1 < process.started(process.numbered(child.pid)) < now + 0.02
    assert process.started(this()) < process.started(process.numbered(child.pid))


HIDDEN = """
import os, subprocess, sys
from tachograph import process
process.this()
target = process._describe(os.getppid())
assert target.born
subprocess.run(["mount", "-t", "proc", "-o", f"hidepid={sys.argv[1]}", "proc", "/proc"], check=True)
os.setgroups([])
os.setgid(65534)
os.setuid(65534)
sys.exit(process.is_gone(target))
"""


@pytest.mark.skipif(sys.platform != "linux" or os.geteuid() != 0 or not shutil.which("unshare"), reason="needs root")
@pytest.mark.parametrize("hidepid", ["1", "2"])
def test_a_process_that_is_hidden_from_us_is_not_gone(hidepid: str) -> None:
    command = ["unshare", "--mount", "--propagation", "private", sys.executable, "-c", HIDDEN, hidepid]
    done = subprocess.run(command, capture_output=True, text=True)
    if "mount" in done.stderr:
        pytest.skip("mounting is not permitted here")
    assert done.returncode == 0, done.stderr


def test_a_killed_process_reads_as_gone(root: Path) -> None:
    code = "import os, tachograph; tachograph.start_run().log({'loss': 1.0}); os.kill(os.getpid(), 9)"
    done = subprocess.run([sys.executable, "-c", code])
    assert done.returncode == -signal.SIGKILL
    (run,) = (root / "runs").iterdir()
    (writer,) = journal.writers(run)
    header = journal.header(writer)
    assert header is not None
    assert is_gone(Process(header.host, header.boot, header.pid, header.born))
