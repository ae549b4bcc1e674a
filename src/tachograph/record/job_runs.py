"""Which run a rank of a distributed job writes to.

The ranks of a job share their runs: the first run that each opens is the same one, and so is the second. Rank 0 owns
it; the others add their start, their end, their error and the load of their machine. Each rank works that out by
itself, from its job's key and from what is in the store: no rank waits for another.

What is in the store decides three things. Where a job's key may come again, a run in which this rank's place is taken
belongs to an earlier job. A rank whose place was held by a process that is no more, in a job that was started again,
goes on with that run, as a further attempt. And where rank 0 alone opened a run by hand, what a plug-in opens in the
other ranks is that run.

The run's status is that of rank 0's newest attempt: it knows whether the training came to its end, or else a witness of
its death does. That another rank failed or died is in the status of its writer.
"""

from __future__ import annotations

import threading
from itertools import count
from pathlib import Path

import msgspec

from tachograph import journal
from tachograph.events import Metrics, RunStart
from tachograph.record import launchers
from tachograph.record.launchers import Job
from tachograph.runtime import forks, process

_opened: dict[str | None, int] = {}  # how many runs this process has opened, by the id of their parent
_generations: dict[str, int] = {}  # which of the jobs with this key is ours
_one_at_a_time = threading.RLock()


class RunRank(msgspec.Struct, frozen=True):
    """A rank's part in a run. ``resumed`` says that the run has an earlier attempt of this rank."""

    id: str
    rank: int
    attempt: int
    resumed: bool


def run_rank(root: Path, name: str, parent_id: str | None, opener: str) -> RunRank | None:
    """The run that this process's job is about to open, and its rank there; None for a process of its own."""
    job = launchers.job()
    if job is None:
        _opened[parent_id] = _opened.get(parent_id, 0) + 1
        return None
    with _one_at_a_time:
        series = _Series(root, job, parent_id)
        turn, again = series.turn(name, opener)
    id = series.id(turn)
    earlier = [] if again else [start.attempt for start in _earlier(root / "runs" / id, job.rank)]
    return RunRank(id, job.rank, max([job.attempt, *(attempt + 1 for attempt in earlier)]), bool(earlier))


def next_steps(folder: Path, rank: int) -> dict[str, int]:
    """For each metric that earlier attempts of a rank have recorded in a run's folder, the step after its last one."""
    steps: dict[str, int] = {}
    for writer in journal.writers(folder):
        start = journal.header(writer)
        if start is not None and start.rank == rank:
            for event in journal.read_writer(writer):
                if isinstance(event, Metrics):
                    steps.update((name, max(steps.get(name, 0), event.step + 1)) for name in event.values)
    return steps


class _Series:
    """The runs that a job opens one after the other, below one parent or below none."""

    def __init__(self, root: Path, job: Job, parent_id: str | None) -> None:
        self._runs, self._job, self._parent_id = root / "runs", job, parent_id
        self._firsts = _opened_by(self._runs, job.first, parent_id) if job.first is not None else []
        self._key = f"{job.key}#{parent_id or _generation(self._runs, job)}"

    def id(self, turn: int) -> str:
        return self._firsts[turn] if turn < len(self._firsts) else _id(self._key, turn)

    def turn(self, name: str, opener: str) -> tuple[int, bool]:
        """Which run comes next here, counted from 0, and whether it is the one that was open here last."""
        opened = _opened.get(self._parent_id, 0)
        turn = opened if self._job.rank == 0 else self._named(name, self._next(opened, opener))
        _opened[self._parent_id] = turn + 1
        return turn, turn < opened

    def _owner(self, turn: int) -> _Owner | None:
        return _owner(self._runs / self.id(turn))

    def _named(self, name: str, turn: int) -> int:
        """``turn``, or a later one: ended runs of another name are passed over, since rank 0 has gone on from them."""
        for later in count(turn):
            owner = self._owner(later)
            if owner is None or owner.start.name == name:
                return later
            if owner.ended is None:
                return turn
        raise AssertionError

    def _next(self, opened: int, opener: str) -> int:
        """The next run that this rank may join.

        A run that rank 0 opened in another way and has ended was for something that does not happen here: it is passed
        over. One that the user opened in rank 0 alone is joined for as long as it is open.
        """
        for turn in count(max(opened - 1, 0)):
            owner = self._owner(turn)
            other = owner is not None and owner.start.opener != opener
            if owner is not None and other and owner.ended is None and (turn >= opened or owner.start.opener == "user"):
                return turn
            if turn >= opened and not other:
                return turn
        raise AssertionError


def _id(key: str, turn: int) -> str:
    import hashlib

    digest = hashlib.sha256(f"{key}#{turn}".encode()).hexdigest()
    return f"{key.partition(':')[0]}-{digest[:16]}"


def _generation(runs: Path, job: Job) -> int:
    """Which of the jobs with this key ours is, counted from 0: the newest one, or the next one if that is over."""
    generation = _generations.get(job.key)
    if generation is None:
        taken = next(number for number in count() if not (runs / _id(f"{job.key}#{number}", 0)).exists())
        newest = max(taken - 1, 0)
        over = taken > 0 and job.attempt == 0 and _is_over(runs / _id(f"{job.key}#{newest}", 0), job)
        generation = _generations[job.key] = newest + over
    return generation


def _is_over(folder: Path, job: Job) -> bool:
    """Whether the job that opened this run is another one."""
    earlier = _earlier(folder, job.rank)
    if earlier:
        return not all(_restarted(job, start.at) for start in earlier)
    owner = None if job.certain else _owner(folder)
    return owner is not None and owner.ended is not None and owner.ended < process.started(process.this())


def _restarted(job: Job, before: float) -> bool:
    """Whether the launcher that has started this rank was there before, and all that it started for us came later."""
    if job.restarter is None or job.outermost is None:
        return False
    return process.started(job.restarter) < before < process.started(job.outermost)


def _earlier(folder: Path, rank: int) -> list[RunStart]:
    """The headers of other processes that had this rank in a run; not of those that they started."""
    me = process.this()
    starts = [journal.header(writer) for writer in journal.writers(folder)]
    return [
        start for start in starts
        if start is not None and start.rank == rank and start.role == ("worker" if rank else "owner")
        and (start.host, start.pid, start.born) != (me.host, me.pid, me.born)
    ]  # fmt: skip


class _Owner(msgspec.Struct):
    """The header of rank 0's newest attempt, and when that ended (seconds since 1970), if it has."""

    start: RunStart
    ended: float | None


def _owner(folder: Path) -> _Owner | None:
    """Rank 0 of a run; None where it has not begun."""
    writers = [(start, writer) for writer in journal.writers(folder) if (start := journal.header(writer)) is not None]
    owners = [pair for pair in writers if pair[0].role == "owner"]
    if not owners:
        return None
    start, writer = max(owners, key=lambda pair: (pair[0].attempt, pair[0].at))
    return _Owner(start, journal.segments(writer)[-1].stat().st_mtime if journal.has_ended(writer) else None)


def _opened_by(runs: Path, first: process.Process, parent_id: str | None) -> list[str]:
    """The ids of the runs that a process has opened below a parent, or below none, oldest first."""
    opened = []
    for run in runs.iterdir() if runs.is_dir() else ():
        for writer in journal.writers(run):
            start = journal.header(writer) if f"-{first.pid}-" in writer.name else None
            if start is not None and (start.role, start.born, start.parent) == ("owner", first.born, parent_id):
                opened.append((start.at, run.name))
    return [name for _, name in sorted(opened)]


def _forked() -> None:
    global _one_at_a_time
    _one_at_a_time = threading.RLock()
    _opened.clear()


forks.in_child("ranks", _forked)
