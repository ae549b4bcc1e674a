"""torchrun: its ranks write to one run, whatever happens to one of them, and a restart goes on with it."""

from __future__ import annotations

import socket
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

import tachograph
from tachograph.store.run_record import RunRecord

TORCHRUN = ("-m", "torch.distributed.run", "--nproc-per-node=2", "--monitor-interval=0.1")
Launched = Callable[..., "subprocess.Popen[str]"]


def said(launched: subprocess.Popen[str]) -> str:
    """Wait for its end; what it printed."""
    return launched.communicate(timeout=180)[0]


def runs(root: Path) -> list[RunRecord]:
    return list(tachograph.open_store(root).runs(children=True))


def writers(run: RunRecord) -> list[tuple[int, str, int, str]]:
    return sorted((writer.rank, writer.role, writer.attempt, writer.status) for writer in run.writers)


BOTH = [(0, "owner", 0, "finished"), (1, "worker", 0, "finished")]
SIMPLE = """
dist.init_process_group("gloo")
with tachograph.start_run("ddp", params={"lr": 0.1}) as run:
    train(run)
    with run.child("evaluation") as child:
        if dist.get_rank() == 0:
            child.log({"score": 1.0})
dist.destroy_process_group()
"""


def test_two_jobs_at_the_same_time_one_of_them_behind_a_shell(root: Path, launch: Launched) -> None:
    """The same id, given by the user; in the second one each rank has a shell between it and torchrun."""
    plain = launch(SIMPLE, *TORCHRUN, "--rdzv-id=17", "--rdzv-backend=c10d", "--rdzv-endpoint=localhost:0")
    shell = ("--no-python", "bash", "-c", f"{sys.executable} {{script}}; exit $?")
    wrapped = launch(SIMPLE, *TORCHRUN, "--rdzv-id=17", "--rdzv-backend=c10d", "--rdzv-endpoint=localhost:0", *shell)
    for job in [plain, wrapped]:
        output = said(job)
        assert job.returncode == 0, output
    found = [run for run in runs(root) if run.parent_id is None]
    assert [writers(run) for run in found] == [BOTH, BOTH]
    for run in found:
        assert run.status == "finished"
        assert set(run.metrics) == {"loss"}
        assert list(run.history("loss").steps) == [0, 1, 2]
        assert run.system
        assert any(name.startswith("system/rank1/") for name in run.system)
        (child,) = run.children
        assert writers(child) == BOTH
        assert dict(child.metrics) == {"score": 1.0}


def test_a_killed_rank_is_on_record_and_the_other_one_finishes(root: Path, launch: Launched) -> None:
    code = """
        def end(step):
            if step == 2:
                dist.barrier()
                if dist.get_rank() == 1:
                    os.kill(os.getpid(), signal.SIGKILL)

        signal.signal(signal.SIGTERM, signal.SIG_IGN)   # torchrun asks rank 0 to stop: it is almost done
        dist.init_process_group("gloo")
        with tachograph.start_run("ddp") as run:
            train(run, each=end)
            time.sleep(0.5)
    """
    job = launch(code, *TORCHRUN)
    output = said(job)
    assert job.returncode != 0, output
    (run,) = runs(root)
    assert writers(run) == [(0, "owner", 0, "finished"), (1, "worker", 0, "crashed")]
    assert run.status == "finished"
    assert list(run.history("loss").steps) == [0, 1, 2]


def test_the_first_failure_is_the_runs_error(root: Path, launch: Launched) -> None:
    code = """
        def fail(step):
            if step == 1 and dist.get_rank() == 1:
                raise ValueError("boom")

        signal.signal(signal.SIGTERM, signal.SIG_IGN)   # torchrun asks rank 0 to stop: it is to fail by itself
        dist.init_process_group("gloo")
        try:
            with tachograph.start_run("ddp") as run:
                train(run, steps=5, each=fail)
        except Exception:
            os._exit(1)
    """
    output = said(launch(code, *TORCHRUN))
    (run,) = runs(root)
    assert writers(run) == [(0, "owner", 0, "failed"), (1, "worker", 0, "failed")], output
    assert (run.error.type, run.error.message) == ("ValueError", "boom")
    command = [sys.executable, "-m", "tachograph", "show", "latest"]
    shown = subprocess.run(command, capture_output=True, text=True, timeout=180).stdout
    assert "Error of rank 1\nValueError: boom" in shown


def test_an_elastic_restart_goes_on_with_the_run(root: Path, launch: Launched) -> None:
    """Rank 1 fails in the first attempt, and torchrun stops rank 0."""
    code = """
        def fail(step):
            if step == 1 and os.environ["TORCHELASTIC_RESTART_COUNT"] == "0":
                dist.barrier()
                if dist.get_rank() == 1:
                    raise RuntimeError("a flaky node")
                time.sleep(60)

        def seen(step):
            if dist.get_rank() == 0 and step == 0:
                print("status:", tachograph.open_store().run("latest").status)

        dist.init_process_group("gloo")
        with tachograph.start_run("ddp") as run:
            train(run, each=lambda step: (fail(step), seen(step)))
    """
    job = launch(code, *TORCHRUN, "--max-restarts=1")
    output = said(job)
    assert job.returncode == 0, output
    assert output.count("status: running") == 2
    (run,) = runs(root)
    assert writers(run) == [
        (0, "owner", 0, "crashed"),
        (0, "owner", 1, "finished"),
        (1, "worker", 0, "failed"),
        (1, "worker", 1, "finished"),
    ]
    assert run.status == "finished"
    assert list(run.history("loss").steps) == [0, 1, 2, 3, 4]
    (error,) = [writer.error for writer in run.writers if writer.error]
    assert (error.type, error.message) == ("RuntimeError", "a flaky node")


@pytest.mark.parametrize("first", [0, 1])
def test_rank_0_alone_opens_a_run_and_a_program_of_its_own_opens_another(
    root: Path, launch: Launched, first: int
) -> None:
    code = """
        import subprocess
        inner = "import tachograph; tachograph.start_run('inner').log({'inner': 1.0})"
        dist.init_process_group("gloo")
        run = tachograph.start_run("outer") if dist.get_rank() == 0 else None
        if run:
            subprocess.run([sys.executable, "-c", inner], check=True)
        train(run)
        if run:
            run.finish()
        dist.barrier()
        together = tachograph.start_run("together") if dist.get_rank() == FIRST else None
        dist.barrier()
        with together or tachograph.start_run("together"):
            dist.barrier()
    """
    job = launch(code.replace("FIRST", str(first)), *TORCHRUN)
    output = said(job)
    assert job.returncode == 0, output
    found = {run.name: run for run in runs(root)}
    assert {name: writers(run) for name, run in found.items()} == {
        "outer": BOTH[:1], "inner": BOTH[:1], "together": BOTH,
    }  # fmt: skip
    assert set(found["outer"].metrics) == {"loss"}


def test_a_restart_of_two_nodes_of_which_one_does_not_count_it(root: Path, launch: Launched) -> None:
    """Each node has a torchrun of its own. That of the rank that did not fail starts it again as if for the first
    time, and the port is another one."""
    code = """
        dist.init_process_group("gloo")
        with tachograph.start_run("nodes") as run:
            dist.barrier()
            if os.environ["TORCHELASTIC_RESTART_COUNT"] == "0" and dist.get_rank() == 1:
                raise RuntimeError("a flaky node")
            train(run)
    """
    with socket.socket() as found:
        found.bind(("localhost", 0))
        endpoint = f"localhost:{found.getsockname()[1]}"
    node = ("-m", "torch.distributed.run", "--nproc-per-node=1", "--nnodes=2", "--monitor-interval=0.1",
            "--max-restarts=1", "--rdzv-id=bert", "--rdzv-backend=c10d", f"--rdzv-endpoint={endpoint}")  # fmt: skip
    for job in [launch(code, *node), launch(code, *node)]:
        output = said(job)
        assert job.returncode == 0, output
    (run,) = runs(root)
    assert sorted((writer.rank, writer.attempt) for writer in run.writers) == [(0, 0), (0, 1), (1, 0), (1, 1)]
    assert run.status == "finished"
    assert set(run.metrics) == {"loss"}
