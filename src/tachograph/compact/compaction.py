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
from tachograph.compact.parts import Arrow, PartAddress, PointFileWriter, Rows, UnreadablePart
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
        self._records: dict[str, RunRecord] = {}  # asked for together, and not yet written
        self.report = Report(destination.name)

    def run(self) -> Report:
        """First everything that is no longer true is removed, then what is new is added: so a run is never there twice,
        even where it has moved to another day."""
        self._store.refresh()
        dates, growing = set(), []
        for date, runs in self._days():
            dates.add(date)
            if self._renew(date, runs):
                growing.append(date)
            self.report.open += sum(map(_is_open, runs.values()))
        gone = {address.date for address in self._addresses()} - dates
        if gone and not dates:
            raise NotFound(f"there are no runs in {self._store.name}, but {self._destination.name} has tables of some")
        for date in gone:
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
        first, runs = next(self._days(_begin(date)), (date, {}))
        return runs if first == date else {}

    def _states(self, begin: float) -> Iterator[RunState]:
        after = (begin, "")
        while page := self._store.questions.states(after, PIECE):
            yield from page
            after = page[-1].row.started, page[-1].row.id

    def _addresses(self, date: str | None = None) -> list[PartAddress]:
        """The addresses of parts that are there, or of which some file is, in order."""
        addresses = {PartAddress.of(name) for name in self._sizes}
        return sorted(each for each in addresses if each is not None and date in (None, each.date))

    def _parts(self, date: str) -> Iterator[tuple[PartAddress, dict[str, str]]]:
        """The parts of a day with their members; several are looked into at a time, since a bucket takes its time."""
        addresses = self._addresses(date)
        with ThreadPoolExecutor(AT_ONCE) as pool:
            yield from zip(addresses, pool.map(partial(self._arrow.members, self._destination), addresses), strict=True)

    # -- what is to be done --

    def _renew(self, date: str, runs: dict[str, RunState]) -> bool:
        """Bring the parts of a day up to date; whether there are closed runs that are in none of them yet.

        A run that was resumed stays as it was until it is closed again.
        """
        in_parts: set[str] = set()
        for address, members in self._parts(date):
            there = [(version, runs[id]) for id, version in members.items() if id in runs and id not in in_parts]
            kept = [state for version, state in there if version == state.version or (version and _is_open(state))]
            changed = [state for version, state in there if version != state.version and not _is_open(state)]
            if len(kept) < len(members) or not members:
                self._write(address, kept, changed, deque())
                self.report.renewed += len(changed)
                self.report.dropped += len(members) - len(kept) - len(changed)
            in_parts |= {state.row.id for state in kept + changed}
        return any(id not in in_parts and not _is_open(state) for id, state in runs.items())

    def _add(self, date: str) -> None:
        """Add the runs of a day that are in none of its parts: to the last one while it has room, else to new ones."""
        runs = self._day(date)
        parts = dict(self._parts(date))
        in_parts = {id for members in parts.values() for id in members}
        new = deque(state for id, state in runs.items() if id not in in_parts and not _is_open(state))
        self.report.added += len(new)
        address = max(parts, default=PartAddress(date, 0))
        kept = [runs[id] for id in parts.get(address, ()) if id in runs]
        if not kept or self._is_full(address, len(kept)):
            address, kept = PartAddress(date, address.number + 1), []
        while new:
            self._write(address, kept, [], new)
            address, kept = PartAddress(date, address.number + 1), []

    def _is_full(self, address: PartAddress, runs: int) -> bool:
        sizes = self._sizes[address.metrics], self._sizes[address.runs]
        return runs >= PART_RUNS or max(sizes) >= PART_BYTES

    # -- doing it --

    def _write(self, address: PartAddress, kept: list[RunState], renewed: list[RunState], new: deque[RunState]) -> None:
        """Replace a part by one that keeps some of its runs as they are, renews others, and takes as many new ones as
        there is room for out of ``new``."""
        with self._destination.draft() as metrics, self._destination.draft() as runs:
            try:
                count = self._draft(metrics, runs, address, kept, renewed, new)
            except UnreadablePart:  # what is there is damaged: all of it is made anew
                again = [state for state in kept if not _is_open(state)]
                count = self._draft(metrics, runs, address, [], again + renewed, new)
            if count:
                self._publish(metrics, address.metrics)
                self._publish(runs, address.runs)
            else:
                self._remove(address.runs)
                self._remove(address.metrics)

    def _draft(
        self,
        metrics: Path,
        runs: Path,
        address: PartAddress,
        kept: list[RunState],
        renewed: list[RunState],
        new: deque[RunState],
    ) -> int:
        """Write the files of a part; returns how many runs it has. Raises ``UnreadablePart`` before any new run was
        taken."""
        token = os.urandom(8).hex()
        with PointFileWriter(self._arrow, metrics, token) as points, Rows(self._arrow, runs, token) as rows:
            if kept:
                ids = {state.row.id for state in kept}
                points.copy(self._destination, address.metrics, ids)
                rows.copy(self._destination, address.runs, ids)
            changed = deque(renewed)
            while changed:
                self._take(changed, points, rows)
            count = len(kept) + len(renewed)
            while new and (not count or (count < PART_RUNS and max(points.size, rows.size) < PART_BYTES)):
                self._take(new, points, rows)
                count += 1
        return count

    def _take(self, waiting: deque[RunState], points: PointFileWriter, rows: Rows) -> None:
        """Write the first of the waiting runs, as the store has it."""
        run, version = self._record(waiting), waiting.popleft().version
        count = 0
        for table in tables(self._arrow, self._store.questions, run):
            points.add(run.id, table)
            count += table.num_rows
        rows.add(run, count, version)
        self.report.points += count

    def _record(self, waiting: deque[RunState]) -> RunRecord:
        """The record of the first of the waiting runs; the store is asked for it together with the next ones."""
        id = waiting[0].row.id
        if id not in self._records:
            records = self._store.records([state.row for state in islice(waiting, TOGETHER)])
            self._records = {run.id: run for run in records}
        return self._records.pop(id)

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
