"""A training is killed on a machine; those who read from another one learn of it."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import msgspec
import pytest
from tests.integrations.postgres.serving import DatabaseServer
from tests.integrations.server.serving import Server, lines, numbered
from tests.parts import postgres, seaweedfs

from tachograph import events
from tachograph.events import RunEnd
from tachograph.store.run_record import RunRecord
from tachograph.store.store import open_store

# As if on a machine of another name: its processes are real, and to be looked for among those of this one.
ELSEWHERE = """
from tachograph.runtime import process
process._host = lambda: "elsewhere"
"""
TRAINING = """
import itertools, sys, time
import tachograph
with tachograph.start_run("killed", sinks=sys.argv[1:]) as run:
    for step in itertools.count():
        run.log({"loss": step / 2})
        if step == 100:
            tachograph.flush(30)
            print("under way", flush=True)
        time.sleep(0.001)
"""
NEXT = """
import sys
import tachograph
with tachograph.start_run("next", sinks=sys.argv[1:]) as run:
    run.log({"loss": 1.0})
"""
SYNC = """
import sys
from tachograph.cli import main
sys.exit(main(["sync"]))
"""


def elsewhere(code: str, *arguments: str) -> None:
    """Run a program on the other machine, to its end."""
    command = [sys.executable, "-c", ELSEWHERE + code, *arguments]
    environment = {**os.environ, "TACHOGRAPH_EXIT_WAIT": "30"}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=180)
    assert (done.returncode, done.stderr) == (0, "")


def killed(*sinks: str, how: signal.Signals = signal.SIGKILL) -> None:
    """A training on the other machine is killed."""
    command = [sys.executable, "-c", ELSEWHERE + TRAINING, *sinks]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as training:
        assert training.stdout is not None
        assert training.stdout.readline() == "under way\n"
        training.send_signal(how)
    assert training.returncode == -how


def seen(url: str | Path) -> RunRecord:
    """The run as it is seen from here."""
    return open_store(url).run("killed")


@contextmanager
def serving(kind: str, folder: Path) -> Iterator[Server]:
    """A server that keeps what it is sent in a folder, or in PostgreSQL."""
    if kind == "server":
        server = Server(folder / "served")
    else:
        server = DatabaseServer(folder / "served", postgres.running().new_database())
    try:
        yield server
    finally:
        server.kill()
        if isinstance(server, DatabaseServer):
            server.pool.close()


@pytest.fixture(params=["server", "database", "bucket", "folder"])
def url(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """Places to which runs are sent."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    if request.param == "folder":
        yield (tmp_path / "far").as_uri()
    elif request.param == "bucket":
        running = seaweedfs.running()
        for name, value in running.environment.items():
            monkeypatch.setenv(name, value)
        yield running.new_bucket()
    else:
        with serving(request.param, tmp_path) as server:
            yield server.url


@pytest.mark.parametrize("following", [SYNC, NEXT], ids=["sync", "the next run"])
def test_where_it_was_sent_to(root: Path, url: str, following: str) -> None:
    killed(url)
    assert seen(url).status == "running"  # for all that is known
    elsewhere(following, *[url] * (following is NEXT))
    run = seen(url)
    assert (run.status, [writer.status for writer in run.writers]) == ("crashed", ["crashed"])
    assert run.ended == run.latest
    here = seen(root)
    assert (run.ended, run.metrics, run.writers) == (here.ended, here.metrics, here.writers)
    assert len(list(root.glob("runs/*/*.gone-*"))) == 1


@pytest.mark.parametrize("following", [SYNC, NEXT], ids=["sync", "the next run"])
def test_in_a_folder_that_machines_share(root: Path, following: str) -> None:
    killed()
    assert seen(root).status == "running"
    elsewhere(following)
    assert seen(root).status == "crashed"


def test_sync_tells_what_was_all_sent_before_it_was_known(root: Path, tmp_path: Path) -> None:
    """Another machine, to which the journal was quiet for long, has ended the run."""
    with serving("server", tmp_path) as server:
        killed(server.url)
        [path] = root.glob("runs/*/*/1.jsonl")
        os.utime(path, (time.time() - 7200,) * 2)
        assert subprocess.run([sys.executable, "-m", "tachograph", "sync"], timeout=180, check=False).returncode == 0
        assert len(list(root.glob("sinks/*/sent/*.json"))) == 1
        assert seen(server.url).status == "running"
        elsewhere(NEXT)  # which sends nothing
        assert len(list(root.glob("sinks/*/sent/*.json"))) == 0
        elsewhere(SYNC)
        assert seen(server.url).status == "crashed"


def test_a_training_that_is_only_stopped_lives(root: Path, tmp_path: Path) -> None:
    far = (tmp_path / "far").as_uri()
    with subprocess.Popen([sys.executable, "-c", ELSEWHERE + TRAINING, far], stdout=subprocess.PIPE) as training:
        assert training.stdout is not None
        training.stdout.readline()
        training.send_signal(signal.SIGSTOP)
        elsewhere(SYNC)
        elsewhere(NEXT, far)
        assert list(root.glob("runs/*/*.gone-*")) == []
        assert seen(far).status == seen(root).status == "running"
        training.kill()


@pytest.mark.parametrize("kind", ["server", "database"])
def test_whatever_a_server_is_sent_first(kind: str, tmp_path: Path) -> None:
    """The lines of a writer, a witness of its death, and a late end, by different senders."""
    writer = "0-elsewhere-1-a"
    start, *points, end = lines("r", writer, 4)
    own = msgspec.structs.replace(events.decode(start), writer=f"{writer}.gone-5", role="witness")
    witness = numbered([own, RunEnd(status="crashed", of=writer, last=5)])
    with serving(kind, tmp_path) as server:

        def sent(name: str, content: list[bytes]) -> tuple[str, list[str], bool]:
            assert server.post("r", name, content).ok
            run = open_store(server.url).run("r")
            return run.status, [one.status for one in run.writers], run.ended is None

        assert server.post("r", f"{writer}.gone-5", witness).ok
        assert open_store(server.url).runs() == []
        assert sent(writer, [start]) == ("crashed", ["crashed"], False)
        assert sent(writer, points) == ("crashed", ["crashed"], False)
        assert sent(writer, [end]) == ("finished", ["finished"], False)
        assert sent(f"{writer}.gone-5", witness) == ("finished", ["finished"], False)
        assert sent("0-elsewhere-2-b", lines("r", "0-elsewhere-2-b", 1, end=False)[:1])[0] == "running"
