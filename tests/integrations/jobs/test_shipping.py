"""Ranks that send to one server: one run there, whatever dies on the way."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from tests.crash.test_detached import senders
from tests.integrations.server.serving import Server, held

import tachograph
from tachograph import journal
from tachograph.cli import main
from tachograph.store.run_record import RunRecord

TORCHRUN = ("-m", "torch.distributed.run", "--nproc-per-node=2", "--monitor-interval=0.1")
Launched = Callable[..., "subprocess.Popen[str]"]


@pytest.fixture
def server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    running = Server(tmp_path / "served")
    monkeypatch.setenv("TACHOGRAPH_SINKS", running.url)
    monkeypatch.setenv("TACHOGRAPH_EXIT_WAIT", "60")
    yield running
    running.kill()
    for number in senders(tmp_path):
        os.kill(number, signal.SIGKILL)


def said(launched: subprocess.Popen[str]) -> str:
    return launched.communicate(timeout=90)[0]


def the_run(place: Path) -> RunRecord:
    (run,) = tachograph.open_store(place).runs(children=True)
    return run


def writers(run: RunRecord) -> list[tuple[int, str, str]]:
    return sorted((writer.rank, writer.role, writer.status) for writer in run.writers)


def check_equal(server: Server, *roots: Path) -> None:
    """The server has each line of each writer, once, in its order; and nothing else."""
    near = {}
    for root in roots:
        for folder in root.glob("runs/*/*"):
            lines = [line for path in journal.segments(folder) for line in path.read_bytes().splitlines()]
            near[folder.parent.name, folder.name] = [line for line in lines if line]
    there = {(folder.parent.name, folder.name) for folder in server.root.glob("runs/*/*")}
    assert {key: held(server.root, *key) for key in there} == near


BOTH = [(0, "owner", "finished"), (1, "worker", "finished")]


def test_two_ranks_make_one_run_there(root: Path, launch: Launched, server: Server) -> None:
    code = """
        dist.init_process_group("gloo")
        with tachograph.start_run("ddp", params={"lr": 0.1}) as run:
            train(run, steps=20)
            with run.child("evaluation") as child:
                if dist.get_rank() == 0:
                    child.log({"score": 1.0})
        dist.destroy_process_group()
    """
    job = launch(code, *TORCHRUN)
    output = said(job)
    assert job.returncode == 0, output
    check_equal(server, root)
    (run,) = tachograph.open_store(server.root).runs()
    assert (writers(run), run.status, run.params) == (BOTH, "finished", {"lr": 0.1})
    assert list(run.history("loss").steps) == list(range(20))
    assert any(name.startswith("system/rank1/") for name in run.system)
    (child,) = run.children
    assert (writers(child), child.metrics) == (BOTH, {"score": 1.0})
    assert [one["id"] for one in server.ask("/runs").json()] == [run.id]


def test_a_rank_that_dies(root: Path, launch: Launched, server: Server) -> None:
    """What it could not send any more is sent by whoever comes next."""
    code = """
        def end(step):
            if dist.get_rank() == 1:
                run.log({f"seen_{number}": step for number in range(50)})
            if step == 5:
                dist.barrier()
                if dist.get_rank() == 1:
                    os.kill(os.getpid(), signal.SIGKILL)

        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        dist.init_process_group("gloo")
        with tachograph.start_run("ddp") as run:
            train(run, steps=6, each=end)
            time.sleep(0.5)
    """
    job = launch(code, *TORCHRUN)
    output = said(job)
    assert job.returncode != 0, output
    there = the_run(server.root)
    assert there.status == "finished"
    assert list(there.history("loss").steps) == list(range(6))
    assert main(["sync"]) == 0
    check_equal(server, root)
    assert writers(the_run(server.root)) == [(0, "owner", "finished"), (1, "worker", "crashed")]


def test_a_server_that_dies_in_the_middle_and_comes_back(root: Path, launch: Launched, server: Server) -> None:
    code = """
        dist.init_process_group("gloo")
        with tachograph.start_run("ddp") as run:
            train(run, steps=5)
            open(f"ready-{dist.get_rank()}", "w").close()
            while not os.path.exists("go-on"):
                time.sleep(0.02)
            train(run, steps=200)
        dist.destroy_process_group()
    """
    job = launch(code, *TORCHRUN)
    here = root.parent
    until = time.monotonic() + 60
    while not all((here / f"ready-{rank}").exists() for rank in range(2)):
        assert job.poll() is None, said(job)
        assert time.monotonic() < until
        time.sleep(0.05)
    server.kill()
    (here / "go-on").touch()
    time.sleep(1.5)
    server.start()
    output = said(job)
    assert job.returncode == 0, output
    check_equal(server, root)
    run = the_run(server.root)
    assert writers(run) == BOTH
    assert len(run.history("loss").steps) == 205


def test_ranks_that_do_not_wait(root: Path, launch: Launched, server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    """The job ends beside a server that takes nothing; what torchrun ends with it is not the process that sends."""
    monkeypatch.setenv("TACHOGRAPH_DETACH", "1")
    code = """
        dist.init_process_group("gloo")
        with tachograph.start_run("ddp") as run:
            tachograph.flush(30)
            dist.barrier()
            if dist.get_rank() == 0:
                os.kill(int(os.environ["SERVER"]), signal.SIGSTOP)
            dist.barrier()
            train(run, steps=50)
        dist.destroy_process_group()
    """
    monkeypatch.setenv("SERVER", str(server.process.pid))
    job = launch(code, *TORCHRUN)
    try:
        output = said(job)
    finally:
        os.kill(server.process.pid, signal.SIGCONT)
    assert job.returncode == 0, output
    assert output.count("a process in the background does that") == 2
    until = time.monotonic() + 60
    while senders(root.parent) and list((root / "sinks").glob("*/*.json")):  # until all is there
        assert time.monotonic() < until, next((root / "sinks").glob("*/detached.log")).read_text()
        time.sleep(0.1)
    check_equal(server, root)
    assert writers(the_run(server.root)) == BOTH


PLAIN = """
import sys, time, tachograph
with tachograph.start_run("plain") as run:
    run.log({"loss": 0.5, "own": float(sys.argv[1])})
"""


@pytest.mark.parametrize("shared", [True, False], ids=["one store", "a store each"])
def test_plain_processes_with_the_variables_of_ranks(root: Path, tmp_path: Path, server: Server, shared: bool) -> None:
    """As in containers, which may have no folder in common."""
    roots = [root, root] if shared else [tmp_path / "store-0", tmp_path / "store-1"]
    launched = []
    for rank in range(2):
        names = {"RANK": str(rank), "WORLD_SIZE": "2", "MASTER_ADDR": "bert-0", "MASTER_PORT": "23456"}
        environment = {**os.environ, **names, "TACHOGRAPH_DIR": str(roots[rank])}
        launched.append(subprocess.Popen([sys.executable, "-c", PLAIN, str(rank)], env=environment))
    assert [one.wait(90) for one in launched] == [0, 0]
    check_equal(server, *roots)
    run = the_run(server.root)
    assert writers(run) == BOTH
    assert run.metrics["loss"] == 0.5
