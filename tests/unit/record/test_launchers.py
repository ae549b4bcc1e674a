"""Which job this process is a rank of, and which run its ranks share. Real processes are given the variables of each
launcher here; launchers themselves run in ``tests/integrations/jobs``."""

from __future__ import annotations

import os
import subprocess
import sys
import textwrap
from collections.abc import Callable, Iterator
from pathlib import Path

import msgspec
import pytest

import tachograph
from tachograph import journal
from tachograph.record import launchers as jobs
from tachograph.record.launchers import Job

RANK = """
import tachograph
with tachograph.start_run("training") as run:
    run.log({"loss": 0.5})
"""
# What torchrun, srun and mpirun do: one process starts the ranks, and tells them in their environment who they are.
LAUNCHER = """
import json, os, subprocess, sys
environments, *command = json.loads(sys.argv[1])
ranks = [subprocess.Popen(command, env={**os.environ, **each}) for each in environments]
sys.exit(max(rank.wait() for rank in ranks))
"""
Launcher = Callable[..., dict[str, str]]


def torchrun(rank: int, **more: str) -> dict[str, str]:
    return {
        "RANK": str(rank), "WORLD_SIZE": "2", "LOCAL_RANK": str(rank), "LOCAL_WORLD_SIZE": "2",
        "MASTER_ADDR": "localhost", "MASTER_PORT": "29500", "TORCHELASTIC_RUN_ID": "none",
        "TORCHELASTIC_RESTART_COUNT": "0", **more,
    }  # fmt: skip


def srun(rank: int, **more: str) -> dict[str, str]:
    return {
        "SLURM_JOB_ID": "4711", "SLURM_STEP_ID": "0", "SLURM_PROCID": str(rank), "SLURM_NTASKS": "2",
        "SLURM_STEP_NUM_TASKS": "2", "SLURM_CLUSTER_NAME": "c", **more,
    }  # fmt: skip


def open_mpi(rank: int, **more: str) -> dict[str, str]:
    return {
        "OMPI_COMM_WORLD_RANK": str(rank), "OMPI_COMM_WORLD_SIZE": "2", "OMPI_COMM_WORLD_LOCAL_SIZE": "2",
        "PMIX_NAMESPACE": "prterun-1@1", **more,
    }  # fmt: skip


def mpich(rank: int, **more: str) -> dict[str, str]:
    return {"PMI_RANK": str(rank), "PMI_SIZE": "2", "MPI_LOCALNRANKS": "2", **more}


def deepspeed(rank: int, **more: str) -> dict[str, str]:
    return {
        "RANK": str(rank), "WORLD_SIZE": "2", "LOCAL_RANK": str(rank), "LOCAL_SIZE": "2",
        "MASTER_ADDR": "10.0.0.7", "MASTER_PORT": "29500", **more,
    }  # fmt: skip


def operator(rank: int, **more: str) -> dict[str, str]:
    """Kubeflow: one rank in each container."""
    return {"RANK": str(rank), "WORLD_SIZE": "2", "MASTER_ADDR": "bert-0", "MASTER_PORT": "23456", **more}


def started(*environments: dict[str, str], code: str = RANK, wrapped: bool = False) -> subprocess.Popen[str]:
    """A rank for each environment, by a launcher process of their own; perhaps each behind a shell."""
    command = [sys.executable, "-c", code]
    if wrapped:
        command = ["bash", "-c", '"$@"; exit $?', "bash", *command]
    told = msgspec.json.encode([environments, *command]).decode()
    return subprocess.Popen([sys.executable, "-c", LAUNCHER, told], stderr=subprocess.PIPE, text=True)


def launch(*environments: dict[str, str], code: str = RANK, wrapped: bool = False) -> None:
    finish(started(*environments, code=textwrap.dedent(code), wrapped=wrapped))


def finish(*launchers: subprocess.Popen[str]) -> None:
    for launcher in launchers:
        _, said = launcher.communicate(timeout=180)
        assert launcher.returncode == 0, said


def writers(root: Path) -> dict[str, list[tuple[int, str, int]]]:
    """Rank, role and attempt of each writer, by run; the oldest run first."""
    runs = {}
    for run in (root / "runs").iterdir():
        runs[run.name] = [header for writer in journal.writers(run) if (header := journal.header(writer))]
    begun = sorted(runs.items(), key=lambda item: min(header.at for header in item[1]))
    return {name: sorted((one.rank, one.role, one.attempt) for one in headers) for name, headers in begun}


BOTH = [(0, "owner", 0), (1, "worker", 0)]
LAUNCHERS = pytest.mark.parametrize("launcher", [torchrun, srun, open_mpi, mpich, deepspeed, operator])
NEAR = [torchrun, open_mpi, mpich, deepspeed]


@LAUNCHERS
@pytest.mark.parametrize("wrapped", [False, True], ids=["", "wrapped"])
def test_all_ranks_land_in_one_run(root: Path, launcher: Launcher, wrapped: bool) -> None:
    launch(launcher(0), launcher(1), wrapped=wrapped)
    ((run, found),) = writers(root).items()
    assert found == BOTH
    assert run.startswith(("torchrun-", "slurm-", "mpi-", "ranks-"))


@pytest.mark.slow
@pytest.mark.parametrize("launcher", [*NEAR, operator])
def test_the_same_command_twice_makes_two_runs(root: Path, launcher: Launcher) -> None:
    for _ in range(2):
        launch(launcher(0), launcher(1))
    assert list(writers(root).values()) == [BOTH, BOTH]


@pytest.mark.slow
def test_ranks_that_a_shell_started_by_hand(root: Path) -> None:
    """The shell lives on, and the port is the same: only what was recorded tells the second job from the first."""
    told = [[operator(rank, MASTER_ADDR="localhost") for rank in range(2)], sys.executable, "-c", RANK]
    twice = "import sys\nfor _ in range(2):\n" + textwrap.indent(LAUNCHER.replace("sys.exit", "print"), "  ")
    subprocess.run([sys.executable, "-c", twice, msgspec.json.encode(told).decode()], check=True)
    assert list(writers(root).values()) == [BOTH, BOTH]


@pytest.mark.slow
@pytest.mark.parametrize("launcher", NEAR)
def test_the_same_command_twice_at_the_same_time(root: Path, launcher: Launcher) -> None:
    finish(*[started(launcher(0), launcher(1)) for _ in range(2)])
    assert list(writers(root).values()) == [BOTH, BOTH]


@pytest.mark.slow
def test_each_step_of_a_slurm_job_is_a_run(root: Path) -> None:
    for step in "01":
        launch(srun(0, SLURM_STEP_ID=step), srun(1, SLURM_STEP_ID=step))
    assert list(writers(root).values()) == [BOTH, BOTH]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("launcher", "each"),
    [
        (torchrun, {"LOCAL_RANK": "0", "LOCAL_WORLD_SIZE": "1", "TORCHELASTIC_RUN_ID": "bert", "MASTER_ADDR": "n1"}),
        (torchrun, {"LOCAL_RANK": "0", "LOCAL_WORLD_SIZE": "1", "MASTER_ADDR": "n1"}),
        (open_mpi, {"OMPI_COMM_WORLD_LOCAL_SIZE": "1"}),
        (mpich, {"MPI_LOCALNRANKS": "1"}),
        (deepspeed, {"LOCAL_RANK": "0", "LOCAL_SIZE": "1"}),
    ],
)
def test_ranks_of_several_nodes_agree(root: Path, launcher: Launcher, each: dict[str, str]) -> None:
    """Each node has a launcher of its own, so their processes have nothing in common. The same job again is another."""
    together = RANK + "\n    import time; time.sleep(1)"
    for _ in range(2):
        finish(*[started(launcher(rank, **each), code=together) for rank in range(2)])
    assert list(writers(root).values()) == [BOTH, BOTH]


@pytest.mark.slow
def test_a_torchrun_on_each_node_of_a_slurm_step(root: Path) -> None:
    """What srun says of its tasks, the launchers, is not what counts: two nodes with two ranks each."""
    for node in range(2):
        task = srun(node) | {"WORLD_SIZE": "4", "MASTER_ADDR": "n1"}
        launch(torchrun(2 * node, **task, RANK=str(2 * node)), torchrun(1, **task, RANK=str(2 * node + 1)))
    assert list(writers(root).values()) == [[(0, "owner", 0), *[(rank, "worker", 0) for rank in (1, 2, 3)]]]


# ---- attempts --------------------------------------------------------------------------------------------------------

TWICE = [(0, "owner", 0), (0, "owner", 1), (1, "worker", 0), (1, "worker", 1)]
COUNTING = """
import os, tachograph
with tachograph.start_run("training") as run:
    for _ in range(3):
        run.log({"loss": 0.5})
    with run.child("fold") as fold:
        fold.log({"score": 1.0})
"""


@pytest.mark.slow
def test_a_restart_by_torchrun_goes_on_with_the_run(root: Path) -> None:
    attempts = [[torchrun(rank, TORCHELASTIC_RESTART_COUNT=str(count)) for rank in range(2)] for count in range(2)]
    told = [msgspec.json.encode([attempt, sys.executable, "-c", COUNTING]).decode() for attempt in attempts]
    both = f"import sys\nfor sys.argv[1] in {told!r}:\n" + textwrap.indent(LAUNCHER.replace("sys.exit", "print"), "  ")
    subprocess.run([sys.executable, "-c", both, ""], check=True)
    check_attempts(root)


@pytest.mark.slow
def test_a_slurm_job_that_is_queued_again_goes_on_with_the_run(root: Path) -> None:
    launch(srun(0), srun(1), code=COUNTING)
    launch(srun(0, SLURM_RESTART_COUNT="1"), srun(1, SLURM_RESTART_COUNT="1"), code=COUNTING)
    check_attempts(root)


@pytest.mark.slow
def test_all_ranks_resume_an_earlier_run(root: Path) -> None:
    code = RANK.replace('"training"', "resume=__import__('os').environ.get('BEFORE')")
    launch(torchrun(0), torchrun(1), code=code)
    (run,) = tachograph.open_store(root).runs()
    launch(torchrun(0, BEFORE=run.id), torchrun(1, BEFORE=run.id), code=code)
    assert writers(root) == {run.id: TWICE}
    (run,) = tachograph.open_store(root).runs()
    assert list(run.history("loss").steps) == list(run.history("rank1/loss").steps) == [0, 1]


def check_attempts(root: Path) -> None:
    (run,) = tachograph.open_store(root).runs()
    assert writers(root)[run.id] == TWICE
    assert list(run.history("loss").steps) == list(range(6))
    assert list(run.history("rank1/loss").steps) == list(range(6))
    assert run.status == "finished"
    (child,) = run.children
    assert list(child.history("score").steps) == [0, 1]
    assert {writer.rank for writer in child.writers} == {0, 1}


# ---- which run -------------------------------------------------------------------------------------------------------


def test_several_runs_of_one_job(root: Path) -> None:
    launch(torchrun(0), torchrun(1), code="""
        import tachograph
        for name in ["first", "second"]:
            with tachograph.start_run(name):
                pass
    """)  # fmt: skip
    assert list(writers(root).values()) == [BOTH, BOTH]


def test_only_rank_0_opens_a_run(root: Path) -> None:
    launch(torchrun(0), torchrun(1), code="""
        import os, tachograph
        if os.environ["RANK"] == "0":
            tachograph.start_run().log({"loss": 0.5})
    """)  # fmt: skip
    assert list(writers(root).values()) == [[(0, "owner", 0)]]


def test_rank_0_opens_runs_by_hand_around_what_a_plug_in_records_in_all_ranks(root: Path) -> None:
    """In rank 1 the plug-in opens runs of its own: they are those that rank 0 has open, and no others."""
    launch(torchrun(0), torchrun(1), code=f"""
        import os, pathlib, time, tachograph
        from tachograph.record.start import open_run
        met = pathlib.Path({str(root.parent)!r})

        def meet(what):  # as ranks do in each step of a training
            (met / f"{{what}}-{{os.environ['RANK']}}").touch()
            while not all((met / f"{{what}}-{{rank}}").exists() for rank in "01"):
                time.sleep(0.01)

        for name in ["looking", "training", "again"]:
            run = tachograph.start_run(name) if os.environ["RANK"] == "0" else None
            meet(f"{{name}} begins")
            for fit in range(2 if name != "looking" else 0):
                if not run:
                    with open_run("fit", None, opener="toy"):
                        meet(f"{{name}} {{fit}}")
                else:
                    meet(f"{{name}} {{fit}}")
            if run:
                run.finish()
            meet(f"{{name}} ends")
        with open_run("fit", None, opener="toy"):
            pass
    """)  # fmt: skip
    twice = [(0, "owner", 0), (1, "worker", 0), (1, "worker", 0)]
    assert list(writers(root).values()) == [[(0, "owner", 0)], twice, twice, BOTH]


@pytest.mark.slow
def test_a_training_that_a_rank_starts_is_no_rank(root: Path) -> None:
    launch(torchrun(0), torchrun(1), wrapped=True, code=f"""
        import multiprocessing, os, subprocess, sys, tachograph
        with tachograph.start_run("training"):
            if os.environ["RANK"] == "0":
                subprocess.run([sys.executable, "-c", {RANK!r}], check=True)
                child = multiprocessing.get_context("fork").Process(target=exec, args=[{RANK!r}])
                child.start()
                child.join()
    """)  # fmt: skip
    shared, *nested = writers(root).items()
    assert shared[0].startswith("torchrun-")
    assert shared[1] == BOTH
    assert [(id.startswith("torchrun-"), found) for id, found in nested] == [(False, [(0, "owner", 0)])] * 2


def test_ranks_below_a_process_with_an_open_run_add_to_it(root: Path, script: Callable[..., object]) -> None:
    done = script(f"""
        import json, subprocess, sys, tachograph
        code = "import tachograph; tachograph.log({{'loss': 0.5}})"
        with tachograph.start_run("outer"):
            told = json.dumps([{[torchrun(0), torchrun(1)]!r}, sys.executable, "-c", code])
            subprocess.run([sys.executable, "-c", {LAUNCHER!r}, told], check=True)
    """)
    assert done.returncode == 0, done.stderr  # type: ignore[attr-defined]
    ((_, found),) = writers(root).items()
    assert found == [(0, "owner", 0), (0, "worker", 0), (1, "worker", 0)]
    assert set(tachograph.open_store(root).run("outer").metrics) == {"loss", "rank1/loss"}


# ---- who is a rank ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "alone",
    [
        {"RANK": "0", "WORLD_SIZE": "1", "TORCHELASTIC_RUN_ID": "none"},
        {"RANK": "0", "WORLD_SIZE": "2"},  # somebody else's variables
        {"SLURM_JOB_ID": "1", "SLURM_PROCID": "0", "SLURM_NTASKS": "4"},  # a plain script inside sbatch
        {"SLURM_JOB_ID": "1", "SLURM_STEP_ID": "0", "SLURM_PROCID": "0", "SLURM_NTASKS": "1"},
        {"PMI_RANK": "²", "PMI_SIZE": "2"},
        {"PMI_RANK": "", "PMI_SIZE": "many"},
        {"LOCAL_RANK": "1"},
    ],
    ids=lambda variables: next(iter(variables)),
)
def test_a_process_of_its_own_is_no_rank(alone: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in alone.items():
        monkeypatch.setenv(name, value)
    assert jobs.job() is None


@pytest.fixture
def announced() -> Iterator[Callable[..., None]]:
    told: list[Job | None] = [None]
    withdraw = jobs.announce(lambda: told[0])
    yield lambda job: told.__setitem__(0, job)
    withdraw()
    jobs._announced_job = None


def test_what_a_framework_knows_of_the_job(announced: Callable[..., None]) -> None:
    assert jobs.job() is None
    announced(jobs.met(1, 2, "n1:4711"))
    assert jobs.job() == Job("met:n1:4711", rank=1, size=2, certain=False)
    announced(None)
    assert jobs.job() == Job("met:n1:4711", rank=1, size=2, certain=False)  # it is over: that was our rank
    announced(jobs.met(0, 1, "n1:4711"))
    if (pid := os.fork()) == 0:
        os._exit(jobs.job() is not None)
    assert os.waitpid(pid, 0)[1] == 0


SPAWNED = """
import multiprocessing, sys, tachograph
from tachograph.record import launchers as jobs

def train(rank):
    jobs.announce(lambda: jobs.met(rank, 2, "localhost:29500"))
    with tachograph.start_run("training") as run:
        run.log({"loss": 0.5})

if __name__ == "__main__":
    context = multiprocessing.get_context(sys.argv[1])
    for _ in range(2):
        ranks = [context.Process(target=train, args=[rank]) for rank in range(2)]
        for rank in ranks:
            rank.start()
        for rank in ranks:
            rank.join()
            assert rank.exitcode == 0
"""


@pytest.mark.slow
@pytest.mark.parametrize("method", ["fork", "spawn", "forkserver"])
def test_two_jobs_that_one_process_spawns(root: Path, script: Callable[..., object], method: str) -> None:
    done = script(SPAWNED, method)
    assert done.returncode == 0, done.stderr  # type: ignore[attr-defined]
    assert list(writers(root).values()) == [BOTH, BOTH]
