"""Which process this is, whether another one is gone, and which run the ranks of a job share."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import textwrap
from collections.abc import Callable, Iterator
from pathlib import Path

import msgspec
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


HIDDEN = """
import os, subprocess, sys
from tachograph import process
process.job()
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


# ---- jobs ----------------------------------------------------------------------------------------------------------

RANK = """
import tachograph
with tachograph.start_run("training") as run:
    run.log({"loss": 0.5})
"""
# What torchrun, srun and mpirun do: one process starts the ranks, and tells them in their environment who they are.
LAUNCHER = f"""
import json, os, subprocess, sys
environments = json.loads(sys.argv[1])
ranks = [subprocess.Popen([sys.executable, "-c", {RANK!r}], env={{**os.environ, **each}}) for each in environments]
sys.exit(max(rank.wait() for rank in ranks))
"""


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


LAUNCHERS = pytest.mark.parametrize("launcher", [torchrun, srun, open_mpi, mpich])


def launch(*environments: dict[str, str]) -> None:
    """Start a rank for each environment, by a launcher process of their own."""
    ranks = msgspec.json.encode(environments).decode()
    subprocess.run([sys.executable, "-c", LAUNCHER, ranks], check=True)


def writers(root: Path) -> dict[str, list[tuple[int, str, int]]]:
    """Rank, role and attempt of each writer, by run."""
    found = {}
    for run in (root / "runs").iterdir():
        headers = [journal.header(writer) for writer in journal.writers(run)]
        found[run.name] = sorted((header.rank, header.role, header.attempt) for header in headers if header)
    return found


BOTH = [(0, "owner", 0), (1, "worker", 0)]


@LAUNCHERS
def test_all_ranks_land_in_one_run(root: Path, launcher: Callable[..., dict[str, str]]) -> None:
    launch(launcher(0), launcher(1))
    ((run, found),) = writers(root).items()
    assert found == BOTH
    assert run.startswith(("torchrun-", "slurm-", "mpi-"))


@pytest.mark.parametrize("launcher", [torchrun, open_mpi, mpich])
def test_the_same_command_twice_makes_two_runs(root: Path, launcher: Callable[..., dict[str, str]]) -> None:
    for _ in range(2):
        launch(launcher(0), launcher(1))
    assert list(writers(root).values()) == [BOTH, BOTH]


def test_each_step_of_a_slurm_job_is_a_run(root: Path) -> None:
    for step in "01":
        launch(srun(0, SLURM_STEP_ID=step), srun(1, SLURM_STEP_ID=step))
    assert list(writers(root).values()) == [BOTH, BOTH]


def test_ranks_of_several_nodes_agree(root: Path) -> None:
    """Each node has a launcher of its own, so their processes have nothing in common."""
    for rank in range(2):
        launch(torchrun(rank, LOCAL_RANK="0", LOCAL_WORLD_SIZE="1", TORCHELASTIC_RUN_ID="job-17"))
        launch(open_mpi(rank, OMPI_COMM_WORLD_LOCAL_SIZE="1"))
    assert list(writers(root).values()) == [BOTH, BOTH]


def test_a_restart_by_torchrun_goes_on_with_the_run(root: Path) -> None:
    attempts = [[torchrun(rank, TORCHELASTIC_RESTART_COUNT=str(count)) for rank in range(2)] for count in range(2)]
    ranks = [msgspec.json.encode(attempt).decode() for attempt in attempts]
    both = f"import sys\nfor sys.argv[1] in {ranks!r}:\n" + textwrap.indent(LAUNCHER.replace("sys.exit", "print"), "  ")
    subprocess.run([sys.executable, "-c", both, ""], check=True)
    assert list(writers(root).values()) == [[(0, "owner", 0), (0, "owner", 1), (1, "worker", 0), (1, "worker", 1)]]


@pytest.mark.parametrize(
    "alone",
    [
        {"RANK": "0", "WORLD_SIZE": "1", "TORCHELASTIC_RUN_ID": "none"},
        {"RANK": "0", "WORLD_SIZE": "2"},  # somebody else's variables
        {"SLURM_JOB_ID": "1", "SLURM_PROCID": "0", "SLURM_NTASKS": "4"},  # a plain script inside sbatch
        {"SLURM_JOB_ID": "1", "SLURM_STEP_ID": "0", "SLURM_PROCID": "0", "SLURM_NTASKS": "1"},
        {"PMI_RANK": "²", "PMI_SIZE": "2"},
        {"PMI_RANK": "", "PMI_SIZE": "many"},
    ],
    ids=lambda variables: next(iter(variables)),
)
def test_a_process_of_its_own_is_no_rank(alone: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in alone.items():
        monkeypatch.setenv(name, value)
    assert process.job() is None


def test_the_runs_of_one_program_are_told_apart_in_all_ranks(monkeypatch: pytest.MonkeyPatch) -> None:
    ids = []
    for rank in range(2):
        for name, value in srun(rank).items():
            monkeypatch.setenv(name, value)
        job = process.job()
        assert job is not None
        assert (job.rank, job.size) == (rank, 2)
        ids.append([process.job_run_id(job, ordinal) for ordinal in range(3)])
    assert ids[0] == ids[1]
    assert len(set(ids[0])) == 3


def test_a_killed_process_reads_as_gone(root: Path) -> None:
    code = "import os, tachograph; tachograph.start_run().log({'loss': 1.0}); os.kill(os.getpid(), 9)"
    done = subprocess.run([sys.executable, "-c", code])
    assert done.returncode == -signal.SIGKILL
    (run,) = (root / "runs").iterdir()
    (writer,) = journal.writers(run)
    header = journal.header(writer)
    assert header is not None
    assert is_gone(Process(header.host, header.boot, header.pid, header.born))
