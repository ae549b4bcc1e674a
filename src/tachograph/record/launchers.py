"""The distributed job that this process is a rank of, as its launcher describes it.

Nothing is sent and nothing is waited for: all ranks read the same facts from their environment, and from what they can
see of the process that started them. A rank may stand behind a wrapper (a shell, ``numactl``): what started the job is
the nearest ancestor that was not yet given the rank's own variables. A program that a rank starts, and that trains
something by itself, has inherited the rank's variables, but is no rank.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable

import msgspec

from tachograph import guard
from tachograph.runtime import process
from tachograph.runtime.process import Process

PARENT = "TACHOGRAPH_PARENT"  # <pid>:<start>:<namespace>:<root> of a process that has opened runs, for those below


class Job(msgspec.Struct, frozen=True):
    """A distributed job as one of its ranks sees it.

    ``key`` is equal in all ranks, and begins with what launched them. Where it is ``certain`` no other job has it; an
    address with a port, or a name that a user chose, may come again. ``size`` is 0 where it is not known. ``attempt``
    counts how often the launcher has started the job again. ``first`` is set in the other ranks where rank 0 is the
    process that started them: it may have opened runs before there was a job. ``restarter`` is a launcher that starts
    a job again without always counting it, and ``outermost`` the process of ours, perhaps a wrapper, that it started.
    """

    key: str
    rank: int
    size: int
    attempt: int = 0
    certain: bool = True
    first: Process | None = None
    restarter: Process | None = None
    outermost: Process | None = None


class _Launch(msgspec.Struct):
    """A job as the environment describes it.

    ``marks`` are variables that differ between a rank and the process that launched it. ``near`` means that all ranks
    are on this machine; where they are not, the job is known by its ``name``, with an ``address`` if the name may come
    again. What a user started ``by_hand`` has no launcher that ends with the job.
    """

    launcher: str
    rank: int
    size: int
    marks: tuple[str, ...]
    near: bool
    name: str = ""
    address: str = ""
    attempt: int = 0
    by_hand: bool = False


_searches: list[Callable[[], Job | None]] = []
_announced_job: tuple[int, Job] | None = None  # with the process that it was found for


def job() -> Job | None:
    """The job that this process is a rank of, or None for a process of its own."""
    for describe in (_torchrun, _mpi, _ranked, _slurm):
        launch = describe()
        if launch is not None:
            return _job(launch) if launch.size > 1 else None
    return _lightning() or _announced()


def announce(search: Callable[[], Job | None]) -> Callable[[], None]:
    """Ask ``search`` for the job each time that a run is opened, where no launcher describes one: for plug-ins, whose
    framework may know. Returns a function that cancels it."""
    _searches.append(search)
    return lambda: _searches.remove(search)


def met(rank: int, size: int, address: str) -> Job | None:
    """The job of processes that found one another at ``address`` (host:port, or a file), with no launcher around."""
    if size < 2:
        return None
    if process.is_child() and (_is_here(address.rpartition(":")[0]) or os.path.exists(address)):
        return _spawned(rank, size)
    return Job(f"met:{address}", rank, size, certain=False)


def _spawned(rank: int, size: int) -> Job:
    """A job whose ranks were started with ``multiprocessing``, in their order.

    One process may start several jobs, but it numbers its children: that number minus the rank is the same in a job.
    """
    numbers = sys.modules["multiprocessing.process"].current_process()._identity
    return Job(f"spawn:{process.numbered(process.starter_of_child())}:{numbers[-1] - rank}", rank, size)


def _announced() -> Job | None:
    global _announced_job
    for search in _searches:
        job = None
        with guard.contained("job"):
            job = search()
        if job is not None:
            _announced_job = os.getpid(), job
    # Ranks stay what they are once the framework has closed their connection.
    return _announced_job[1] if _announced_job is not None and _announced_job[0] == os.getpid() else None


def _job(launch: _Launch) -> Job | None:
    starter, outermost = _starter(launch.marks)
    if starter is None:
        return None
    rank, size, attempt = launch.rank, launch.size, launch.attempt
    if launch.by_hand and process.is_child():
        return _spawned(rank, size)
    if launch.near:
        # The name that a user gave the job need not be unique: the process that started it is, unless it is a shell.
        return Job(f"{launch.launcher}:{launch.name}:{starter}", rank, size, attempt, certain=not launch.by_hand)
    if _slurm_step():
        return Job(f"slurm:{_slurm_step()}:{launch.name}", rank, size, attempt + _count("SLURM_RESTART_COUNT"))
    job = Job(f"{launch.launcher}:{launch.name}:{launch.address}", rank, size, attempt, certain=not launch.address)
    if launch.launcher != "torchrun":
        return job
    # The torchrun of a node restarts its ranks uncounted where those of another one have failed.
    return msgspec.structs.replace(job, restarter=starter, outermost=outermost)


# -- what launchers say --


def _torchrun() -> _Launch | None:
    rank, size, named = _number("RANK"), _number("WORLD_SIZE"), os.environ.get("TORCHELASTIC_RUN_ID")
    if rank is None or size is None or named is None:
        return None
    # The port of a job with a name changes with each restart; one without a name has nothing better.
    address = _address() if named == "none" else os.environ.get("MASTER_ADDR", "")
    return _Launch(
        "torchrun", rank, size, ("RANK", "TORCHELASTIC_ERROR_FILE"), _number("LOCAL_WORLD_SIZE") == size,
        named, address, _count("TORCHELASTIC_RESTART_COUNT"),
    )  # fmt: skip


def _mpi() -> _Launch | None:
    rank, size = _number("OMPI_COMM_WORLD_RANK", "PMI_RANK"), _number("OMPI_COMM_WORLD_SIZE", "PMI_SIZE")
    if rank is None or size is None:
        return None
    marks = ("OMPI_COMM_WORLD_RANK", "PMI_RANK", "PMI_FD")
    near = _number("OMPI_COMM_WORLD_LOCAL_SIZE", "MPI_LOCALNRANKS") == size
    names = ("PMIX_NAMESPACE", "OMPI_MCA_ess_base_jobid", "PMI_JOBID")
    named = next((os.environ[name] for name in names if os.environ.get(name)), "")
    return _Launch("mpi", rank, size, marks, near, named, "" if named else _address())


def _ranked() -> _Launch | None:
    """The variables that torch.distributed reads, set by DeepSpeed, by an operator in a cluster, or by hand."""
    rank, size = _number("RANK"), _number("WORLD_SIZE")
    if rank is None or size is None or "MASTER_ADDR" not in os.environ or "MASTER_PORT" not in os.environ:
        return None
    launched = _number("LOCAL_WORLD_SIZE", "LOCAL_SIZE") == size
    here = _is_here(os.environ["MASTER_ADDR"])
    by_hand = here and not launched
    return _Launch("ranks", rank, size, ("RANK",), launched or here, _address(), _address(), by_hand=by_hand)


def _slurm() -> _Launch | None:
    rank, size = _number("SLURM_PROCID"), _number("SLURM_STEP_NUM_TASKS", "SLURM_NTASKS")
    # Without a step (a plain script inside sbatch) there is one process, however many tasks were asked for.
    if rank is None or size is None or not _slurm_step():
        return None
    return _Launch("slurm", rank, size, ("SLURM_PROCID", "SLURM_STEP_ID"), near=False)


def _slurm_step() -> str:
    job, step = os.environ.get("SLURM_JOB_ID"), os.environ.get("SLURM_STEP_ID")
    return f"{os.environ.get('SLURM_CLUSTER_NAME', '')}:{job}.{step}" if job and step else ""


def _lightning() -> Job | None:
    """The job of a script that Lightning runs again for each further rank, when training begins.

    By then it has set the variables of all ranks in rank 0, which was started without any. It removes ``WORLD_SIZE``
    when training ends.
    """
    rank, size = _number("LOCAL_RANK"), _count("WORLD_SIZE")
    if rank is None or "RANK" in os.environ or _number("NODE_RANK") != 0 or "MASTER_PORT" not in os.environ:
        return None
    if rank > 0:
        starter, _ = _starter(("LOCAL_RANK",))
        return Job(f"lightning:{starter}", rank, size, first=starter) if starter else None
    if process.is_child() or process.started_with(os.getpid(), ["LOCAL_RANK"])["LOCAL_RANK"] is not None or size == 1:
        return None
    return Job(f"lightning:{process.this()}", rank, size)


# -- who started us --


def _starter(marks: tuple[str, ...]) -> tuple[Process | None, Process]:
    """The process that started this job on this machine, and the one that it started for us, perhaps a wrapper.

    It is the nearest ancestor that was started with other values of ``marks``. None if a rank lies in between: then
    this process is a program that the rank has started, and no rank itself.
    """
    ours = {name: os.environ.get(name) for name in marks}
    outermost = os.getpid()
    pid, child = process.starter_of_child() or os.getppid(), process.is_child()
    recording = os.environ.get(PARENT, "").partition(":")[0]
    while pid > 1 and process.started_with(pid, marks) == ours:
        if child or str(pid) == recording:
            return None, process.this()
        outermost, pid = pid, process.parent_of(pid)
    return process.numbered(pid), process.numbered(outermost)


# -- reading the environment --


def _number(*names: str) -> int | None:
    for name in names:
        value = os.environ.get(name, "")
        if value.isdecimal():
            return int(value)
    return None


def _count(name: str) -> int:
    return _number(name) or 0


def _address() -> str:
    return os.environ.get("MASTER_ADDR", "") + ":" + os.environ.get("MASTER_PORT", "")


def _is_here(host: str) -> bool:
    return host in ("localhost", "::1") or host.startswith("127.")
