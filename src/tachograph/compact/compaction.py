"""Compaction: the closed runs of a store as Parquet tables, for those who ask about thousands of them at once.

    tables/metrics/date=2026-11-23/part-00001.parquet    a row for each point of the runs that began on that day (UTC)
    tables/runs/date=2026-11-23/part-00001.parquet       a row for each of these runs

The tables say what the store says; the journals stay as they are, and the tables can be thrown away and made anew. A
run is in one part, as a whole, and a part is only ever replaced by another one at one stroke: so whoever reads the
files, by whatever pattern, never sees a run twice, nor half of one, whenever a compaction was killed. Runs that closed
since are added to the last part of their day until that is large enough, so a day of small runs is one part. What a run
recorded later takes the place of what is there; a run that is gone from the store goes from the tables.

Each row of ``runs`` has the ``version`` of the run that it tells of, which changes with all that is recorded: that is
all a compaction needs to know of those before.
"""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from functools import partial
from itertools import groupby, islice
from pathlib import Path

from msgspec import Struct

from tachograph.compact.destination import Destination
from tachograph.compact.parts import Arrow, PartAddress, PointWriter, Rows, UnreadablePart
from tachograph.compact.points import tables
from tachograph.errors import NotFound
from tachograph.store.questions import PIECE, RunState
from tachograph.store.run_record import RunRecord
from tachograph.store.store import Store

FORMAT = "1"  # of the tables: another one makes all of them anew
PART_BYTES = 64 << 20  # a part takes no more runs from here on
PART_RUNS = 10_000
AT_ONCE = 8  # parts that are looked into
TOGETHER = 100  # runs whose params, tags and last metrics are asked for at once


class Report(Struct):
    """What a compaction did: how many runs it ``added``, ``renewed`` and ``dropped``, and left because they are
    ``open``; the ``files`` it wrote, with their ``bytes`` and the ``points`` it took from the store."""

    tables: str
    added: int = 0
    renewed: int = 0
    dropped: int = 0
    open: int = 0
    points: int = 0
    files: list[str] = []
    bytes: int = 0


def compact(store: Store, destination: Destination) -> Report:
    """Bring the tables on ``destination`` up to date with ``store``.

    Raises ``Error`` where pyarrow is not installed or another compaction is at work, ``NotFound`` where the store is
    empty and the tables are not; OSError, as for a full disk, leaves whole tables behind.
    """
    with destination.alone():
        return _Compaction(store, destination).run()


class _Compaction:
    def __init__(self, store: Store, destination: Destination) -> None:
        self._store, self._destination, self._arrow = store, destination, Arrow()
        self._sizes = destination.files()
        self._asked: dict[str, RunRecord] = {}
        self.report = Report(destination.name)

    def run(self) -> Report:
        """First everything goes that is no longer so, then what is new comes: so never is a run there twice, even
        where it has moved to another day."""
        self._store.refresh()
        dates, growing = set(), []
        for date, runs in self._days():
            dates.add(date)
            if self._renew(date, runs):
                growing.append(date)
            self.report.open += sum(map(_is_open, runs.values()))
        left = {place.date for place in self._places()} - dates
        if left and not dates:
            raise NotFound(f"there are no runs in {self._store.name}, but {self._destination.name} has tables of some")
        for date in left:
            self._renew(date, {})
        for date in growing:
            self._add(date)
        return self.report

    # -- what there is --

    def _days(self, begin: float = -1.0) -> Iterator[tuple[str, dict[str, RunState]]]:
        """The runs by their id, day by day, from ``begin`` on."""
        for date, states in groupby(self._states(begin), key=lambda state: _date(state.row.started)):
            yield date, {state.row.id: _formatted(state) for state in states}

    def _day(self, date: str) -> dict[str, RunState]:
        found, runs = next(self._days(_begin(date)), (date, {}))
        return runs if found == date else {}

    def _states(self, begin: float) -> Iterator[RunState]:
        after = (begin, "")
        while page := self._store.questions.states(after, PIECE):
            yield from page
            after = page[-1].row.started, page[-1].row.id

    def _places(self, date: str | None = None) -> list[PartAddress]:
        """Where there are parts, or files of such, in order."""
        found = {place for name in self._sizes if (place := PartAddress.of(name)) and date in (None, place.date)}
        return sorted(found)

    def _parts(self, date: str) -> Iterator[tuple[PartAddress, dict[str, str]]]:
        """The parts of a day with their members, some of which are asked for at a time: a bucket takes its time."""
        places = self._places(date)
        with ThreadPoolExecutor(AT_ONCE) as pool:
            yield from zip(places, pool.map(partial(self._arrow.members, self._destination), places), strict=True)

    # -- what is to be done --

    def _renew(self, date: str, runs: dict[str, RunState]) -> bool:
        """Bring the parts of a day up to date; whether there are closed runs that are in none of them yet.

        A run that was resumed stays as it was until it is closed again.
        """
        known: set[str] = set()
        for place, members in self._parts(date):
            there = [(version, runs[id]) for id, version in members.items() if id in runs and id not in known]
            kept = [state for version, state in there if version == state.version or (version and _is_open(state))]
            changed = [state for version, state in there if version != state.version and not _is_open(state)]
            if len(kept) < len(members) or not members:
                self._write(place, kept, changed, deque())
                self.report.renewed += len(changed)
                self.report.dropped += len(members) - len(kept) - len(changed)
            known |= {state.row.id for state in kept + changed}
        return any(id not in known and not _is_open(state) for id, state in runs.items())

    def _add(self, date: str) -> None:
        """Add the runs of a day that are in none of its parts: to the last one while it has room, else to new ones."""
        runs = self._day(date)
        parts = dict(self._parts(date))
        known = {id for members in parts.values() for id in members}
        new = deque(state for id, state in runs.items() if id not in known and not _is_open(state))
        self.report.added += len(new)
        place = max(parts, default=PartAddress(date, 0))
        kept = [runs[id] for id in parts.get(place, ()) if id in runs]
        if not kept or self._is_full(place, len(kept)):
            place, kept = PartAddress(date, place.number + 1), []
        while new:
            self._write(place, kept, [], new)
            place, kept = PartAddress(date, place.number + 1), []

    def _is_full(self, place: PartAddress, runs: int) -> bool:
        sizes = self._sizes[place.metrics], self._sizes[place.runs]
        return runs >= PART_RUNS or max(sizes) >= PART_BYTES

    # -- doing it --

    def _write(self, place: PartAddress, kept: list[RunState], renewed: list[RunState], new: deque[RunState]) -> None:
        """Replace a part by one of runs that it has, of some that it has otherwise, and of as many new ones as there is
        room for, which are taken out of ``new``."""
        with self._destination.draft() as metrics, self._destination.draft() as runs:
            try:
                count = self._draft(metrics, runs, place, kept, renewed, new)
            except UnreadablePart:  # what is there is damaged: all of it is made anew
                again = [state for state in kept if not _is_open(state)]
                count = self._draft(metrics, runs, place, [], again + renewed, new)
            if count:
                self._publish(metrics, place.metrics)
                self._publish(runs, place.runs)
            else:
                self._remove(place.runs)
                self._remove(place.metrics)

    def _draft(
        self,
        metrics: Path,
        runs: Path,
        place: PartAddress,
        kept: list[RunState],
        renewed: list[RunState],
        new: deque[RunState],
    ) -> int:
        """Write the files of a part; how many runs it has. Raises ``Unreadable`` before any new one was taken."""
        token = os.urandom(8).hex()
        with PointWriter(self._arrow, metrics, token) as points, Rows(self._arrow, runs, token) as rows:
            if kept:
                ids = {state.row.id for state in kept}
                points.copy(self._destination, place.metrics, ids)
                rows.copy(self._destination, place.runs, ids)
            changed = deque(renewed)
            while changed:
                self._take(changed, points, rows)
            count = len(kept) + len(renewed)
            while new and (not count or (count < PART_RUNS and max(points.size, rows.size) < PART_BYTES)):
                self._take(new, points, rows)
                count += 1
        return count

    def _take(self, waiting: deque[RunState], points: PointWriter, rows: Rows) -> None:
        """Take the first of some runs from the store."""
        run, version = self._record(waiting), waiting.popleft().version
        count = 0
        for table in tables(self._arrow, self._store.questions, run):
            points.add(run.id, table)
            count += table.num_rows
        rows.add(run, count, version)
        self.report.points += count

    def _record(self, waiting: deque[RunState]) -> RunRecord:
        """The first of them, about which the store is asked together with those that come next."""
        id = waiting[0].row.id
        if id not in self._asked:
            asked = self._store.records([state.row for state in islice(waiting, TOGETHER)])
            self._asked = {run.id: run for run in asked}
        return self._asked.pop(id)

    def _publish(self, draft: Path, name: str) -> None:
        self._sizes[name] = draft.stat().st_size
        self._destination.publish(draft, name)
        self.report.files.append(name)
        self.report.bytes += self._sizes[name]

    def _remove(self, name: str) -> None:
        self._sizes.pop(name, None)
        self._destination.remove(name)


def _begin(date: str) -> float:
    """When a day begins, in seconds since 1970."""
    return datetime.fromisoformat(date).replace(tzinfo=UTC).timestamp()


def _date(started: float) -> str:
    return datetime.fromtimestamp(started, UTC).strftime("%Y-%m-%d")


def _is_open(state: RunState) -> bool:
    return state.row.status == "running"


def _formatted(state: RunState) -> RunState:
    return state._replace(version=f"{FORMAT}-{state.version}")
