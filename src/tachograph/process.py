"""Who am I: this process's identity, its rank in a distributed job, and the run its launcher implies."""

from __future__ import annotations

import os
import sys
from functools import lru_cache

import msgspec


class Process(msgspec.Struct, frozen=True):
    """A process on some machine, told apart from any later one with the same number.

    ``boot`` changes when the machine restarts, ``born`` is the process's start time in clock ticks since boot
    (Linux) or hundredths of a second since 1970 (elsewhere); 0 where it could not be read.
    """

    host: str
    boot: str
    pid: int
    born: int


def this() -> Process:
    """The running process."""
    return _describe(os.getpid())


@lru_cache(maxsize=4)  # by number: a forked child asks with its own
def _describe(pid: int) -> Process:
    return Process(_host(), _boot(), pid, _born(pid) or 0)


def is_gone(process: Process) -> bool:
    """Whether ``process`` provably no longer runs. Of a process on another machine nothing can be proven."""
    here = this()
    if process.host != here.host:
        return False
    if process.boot != here.boot:
        return True
    born = _born(process.pid)
    return born is None or (0 not in (born, process.born) and born != process.born)


def _host() -> str:
    if hasattr(os, "uname"):
        return os.uname().nodename
    import socket

    return socket.gethostname()


def _boot() -> str:
    try:
        with open("/proc/sys/kernel/random/boot_id", encoding="ascii") as file:
            return file.read().strip()
    except OSError:
        return ""


def _born(pid: int) -> int | None:
    """When ``pid`` started; None where no such process runs (a zombie has ended: it only waits to be reaped), and 0
    where that can't be seen."""
    if sys.platform != "linux":
        return _born_elsewhere(pid)
    try:
        with open(f"/proc/{pid}/stat", "rb") as file:
            # The second field is the program's name in parentheses, and may itself hold blanks and parentheses.
            fields = file.read().rpartition(b")")[2].split()
    except (FileNotFoundError, ProcessLookupError):
        return 0 if _is_hidden(pid) else None
    except OSError:
        return 0
    return None if fields[0] in (b"Z", b"X") else int(fields[19])


def _is_hidden(pid: int) -> bool:
    """Whether ``pid`` runs though ``/proc`` doesn't show it: the ``hidepid`` of many clusters hides other users'."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except OSError:
        return True
    return False  # it is ours, and would be shown: it ended between the two looks


def _born_elsewhere(pid: int) -> int | None:
    import psutil

    try:
        process = psutil.Process(pid)
        return None if process.status() == psutil.STATUS_ZOMBIE else int(process.create_time() * 100)
    except psutil.NoSuchProcess:
        return None
    except psutil.Error:
        return 0


class Job(msgspec.Struct, frozen=True):
    """A distributed job as its launcher describes it. ``key`` is equal in all its ranks and in no other job."""

    launcher: str
    key: str
    rank: int
    size: int
    attempt: int = 0


def job() -> Job | None:
    """The job that this process is a rank of, or None for a process of its own.

    Nothing is sent and nothing is waited for: all ranks read the same facts from their environment.
    """
    for find in (_torchrun, _slurm, _mpi):
        found = find()
        if found is not None and found.size > 1:
            return found
    return None


def _number(*names: str) -> int | None:
    for name in names:
        value = os.environ.get(name, "")
        if value.isdecimal():
            return int(value)
    return None


def _torchrun() -> Job | None:
    rank, size = _number("RANK"), _number("WORLD_SIZE")
    if rank is None or size is None or "TORCHELASTIC_RUN_ID" not in os.environ:
        return None
    named = os.environ["TORCHELASTIC_RUN_ID"]
    if _number("LOCAL_WORLD_SIZE") == size:
        # One node: the launcher is every rank's parent. An id given by the user need not be unique, a process is.
        key = _parent()
    elif named != "none":
        key = named
    else:
        key = os.environ.get("MASTER_ADDR", "") + ":" + os.environ.get("MASTER_PORT", "")
    return Job("torchrun", f"torchrun:{named}:{key}", rank, size, _number("TORCHELASTIC_RESTART_COUNT") or 0)


def _slurm() -> Job | None:
    rank, size = _number("SLURM_PROCID"), _number("SLURM_STEP_NUM_TASKS", "SLURM_NTASKS")
    if rank is None or size is None or "SLURM_JOB_ID" not in os.environ:
        return None
    # Without a step (a plain script inside sbatch) there is one process, however many tasks were asked for.
    if "SLURM_STEP_ID" not in os.environ:
        return None
    key = f"slurm:{os.environ.get('SLURM_CLUSTER_NAME', '')}:{os.environ['SLURM_JOB_ID']}.{os.environ['SLURM_STEP_ID']}"
    return Job("slurm", key, rank, size, _number("SLURM_RESTART_COUNT") or 0)


def _mpi() -> Job | None:
    rank, size = _number("OMPI_COMM_WORLD_RANK", "PMI_RANK"), _number("OMPI_COMM_WORLD_SIZE", "PMI_SIZE")
    if rank is None or size is None:
        return None
    named = next(
        (
            os.environ[name]
            for name in ("PMIX_NAMESPACE", "OMPI_MCA_ess_base_jobid", "PMI_JOBID")
            if os.environ.get(name)
        ),
        "",
    )
    local = _number("OMPI_COMM_WORLD_LOCAL_SIZE", "MPI_LOCALNRANKS")
    key = _parent() if local == size or not named else named
    return Job("mpi", f"mpi:{named}:{key}", rank, size)


def is_child() -> bool:
    """Whether ``multiprocessing``, or what is built on it, started this process."""
    module = sys.modules.get("multiprocessing.process")
    return module is not None and module.parent_process() is not None


def parent() -> Process | None:
    """The process that started this one; None where it is gone."""
    number = os.getppid()
    return _describe(number) if number > 1 and _born(number) is not None else None


def _parent() -> str:
    parent = _describe(os.getppid())
    return f"{parent.host}:{parent.boot}:{parent.pid}:{parent.born}"


def job_run_id(job: Job, ordinal: int) -> str:
    """The id of the ``ordinal``-th run (from 0) of a job: the same in every rank that runs the same program."""
    import hashlib

    digest = hashlib.sha256(f"{job.key}#{ordinal}".encode()).hexdigest()
    return f"{job.launcher}-{digest[:16]}"
