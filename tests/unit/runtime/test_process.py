"""Which process this is, and whether another one is gone."""

from __future__ import annotations

import contextlib
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

import tachograph
from tachograph import cli, journal
from tachograph.runtime import process
from tachograph.runtime.background import background
from tachograph.runtime.process import Process, is_gone, this
from tachograph.ship import delivery


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
    assert not is_gone(other(boot=""))  # likewise its boot


def test_another_boot_of_this_machine_is_over_and_one_of_a_namesake_may_go_on(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(process, "this", lambda: here)
    here = other(machine="our own")
    assert is_gone(other(boot="another", machine="our own"))
    assert not is_gone(other(boot="another", machine="a namesake's"))
    assert not is_gone(other(boot="another", machine=""))  # in a container: that may be one anywhere
    assert is_gone(other(boot="another", machine=None, namespace=0))  # as older versions have written
    here = other(machine="")
    assert not is_gone(other(boot="another", machine=""))


def test_what_older_versions_have_written_is_judged_as_before(child: subprocess.Popen[bytes]) -> None:
    running = msgspec.structs.replace(process.numbered(child.pid), namespace=0, machine=None)
    assert not is_gone(running)
    child.kill()
    child.wait()
    assert is_gone(running)


def test_out_of_file_descriptors_a_process_does_not_take_itself_for_another() -> None:
    code = """
import os, resource
from tachograph.runtime import process
resource.setrlimit(resource.RLIMIT_NOFILE, (3, 4096))
assert process.this().boot == ""
assert not process.is_gone(process.this())
resource.setrlimit(resource.RLIMIT_NOFILE, (100, 4096))
assert process.this().boot and process.this().born
"""
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0


IN_A_CONTAINER = """
import sys, time, tachograph
with tachograph.start_run("in a container") as run:
    run.log({"loss": 1.0})
    print("begun", flush=True)
    sys.stdin.readline()
"""


@contextlib.contextmanager
def unshared(*options: str, code: str = IN_A_CONTAINER) -> Iterator[subprocess.Popen[str]]:
    """A training in namespaces of its own, which waits for a line."""
    command = ["unshare", *options, sys.executable, "-c", code]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as running:
        assert running.stdout is not None
        if running.stdout.readline() != "begun\n":
            pytest.skip("namespaces are not permitted here")
        try:
            yield running
        finally:
            running.communicate("end\n", timeout=180)


@pytest.mark.skipif(sys.platform != "linux" or os.geteuid() != 0 or not shutil.which("unshare"), reason="needs root")
@pytest.mark.parametrize("rename", [False, True], ids=["our host's name", "a name of its own"])
def test_a_training_in_a_container_is_not_dead_while_it_runs(
    root: Path, rename: bool, capsys: pytest.CaptureFixture[str]
) -> None:
    options = ["--pid", "--fork", "--mount-proc", *(["--uts"] if rename else [])]
    code = "import socket; socket.sethostname('another')\n" * rename + IN_A_CONTAINER
    with unshared(*options, code=code) as running:
        (run,) = tachograph.open_store(root).runs()
        assert run.status == "running"
        assert cli.main(["rm", "--yes", "in a container"]) == 1
        assert "still running" in capsys.readouterr().err
        with tachograph.start_run("beside it"):
            assert background.drain(10)  # looks for crashed writers
        assert not list(root.rglob("*.gone-*"))
        writer = next(root.glob(f"runs/{run.id}/*"))
        assert not delivery.is_over(writer)
    assert tachograph.open_store(root).run("in a container").status == "finished"
    assert running.returncode == 0


@pytest.mark.skipif(sys.platform != "linux" or os.geteuid() != 0 or not shutil.which("unshare"), reason="needs root")
def test_a_child_in_a_container_adds_to_its_parents_run(root: Path) -> None:
    with tachograph.start_run("parent") as run:
        code = "import tachograph; tachograph.log({'of_the_child': 1.0})"
        command = ["unshare", "--pid", "--fork", "--mount-proc", sys.executable, "-c", code]
        done = subprocess.run(command, capture_output=True, text=True)
        if "unshare" in done.stderr:
            pytest.skip("namespaces are not permitted here")
    assert tachograph.open_store(root).run(run.id).metrics["of_the_child"] == 1.0


@pytest.mark.parametrize("platform", [sys.platform, "win32"])  # as it is seen without /proc
def test_where_a_process_comes_from(platform: str, monkeypatch: pytest.MonkeyPatch) -> None:
    code, pipe = "import os; os.environ['TOLD'] = 'later'; print(flush=True); input()", subprocess.PIPE
    with subprocess.Popen([sys.executable, "-c", code], stdin=pipe, stdout=pipe, env={"TOLD": "a=b"}) as running:
        assert running.stdout is not None
        assert running.stdout.readline()  # before that it may still be a copy of this process
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
from tachograph.runtime import process
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
    assert is_gone(process.of(header))
