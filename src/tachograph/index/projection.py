"""Adds the events of a piece of a journal to the index's tables.

Later events win, by (clock, writer, sequence number): the clock is the writer's time, which is taken to stand still
while the machine's is set back. Whatever the order in which writers are read, the tables come out the same.
"""

from __future__ import annotations

from bisect import bisect_right
from collections import defaultdict
from collections.abc import Callable, Iterable
from typing import Any

import msgspec
from msgspec import Struct

from tachograph import events
from tachograph.events import Event, Metrics, Params, RunEnd, RunStart, Tags, Unknown
from tachograph.index import labels
from tachograph.index.dialect import Connection
from tachograph.index.schema import WRITER_HAS_BEGUN
from tachograph.journal import Block, Damage

LONGEST_KIND = 100  # characters of an event's kind that are kept; the kinds that we know are shorter


class Seen:
    """The sequence numbers that were read of a writer, as ranges: a single one, where nothing is damaged."""

    def __init__(self, ranges: list[list[int]]) -> None:
        self.ranges = ranges

    def add(self, seq: int) -> bool:
        """Take note of ``seq``; False where it was read before."""
        if self.ranges and self.ranges[-1][1] == seq - 1:
            self.ranges[-1][1] = seq
            return True
        return self._insert(seq)

    def _insert(self, seq: int) -> bool:
        index = bisect_right(self.ranges, seq, key=lambda numbers: numbers[0])
        if index and seq <= self.ranges[index - 1][1]:
            return False
        self.ranges.insert(index, [seq, seq])
        if index + 1 < len(self.ranges) and self.ranges[index + 1][0] == seq + 1:
            self.ranges[index][1] = self.ranges.pop(index + 1)[1]
        if index and self.ranges[index - 1][1] == seq - 1:
            self.ranges[index - 1][1] = self.ranges.pop(index)[1]
        return True


WRITER_COLUMNS = ("no", "run", "id", "revision", "header", '"end"', "started", "clock", "seen")


class IndexedWriter(Struct):
    """A writer as far as it was read."""

    no: int
    run: int
    id: str
    revision: int
    header: RunStart | None
    end: RunEnd | None
    started: float | None
    clock: float
    seen: Seen

    @classmethod
    def loaded(cls, row: tuple[Any, ...]) -> IndexedWriter:
        """From a row of ``WRITER_COLUMNS``."""
        no, run, id, revision, header, end, started, clock, seen = row
        return cls(
            no, run, id, revision, header and decode_start(header), end and _decode_end(end), started, clock,
            Seen(_decode_ranges(seen)),
        )  # fmt: skip

    def age(self) -> tuple[int, float, str]:
        """By this, writers of a run are ordered from older to newer ones."""
        return (self.header.attempt if self.header else 0, self.started or 0.0, self.id)

    @property
    def is_witness(self) -> bool:
        """Whether it only recorded that another writer has crashed."""
        return self.header is not None and self.header.role == events.WITNESS

    @property
    def last(self) -> int:
        """The number of its last event."""
        return self.seen.ranges[-1][1] if self.seen.ranges else 0

    @property
    def rank(self) -> int:
        """From the header; where that is damaged, from the id, which begins with it."""
        if self.header is not None:
            return self.header.rank
        rank = self.id.partition("-")[0]
        return int(rank) if rank.isdecimal() else 0

    def shown(self, name: str) -> str:
        """The name that the run has for this writer's metric ``name``: the metrics of other ranks have theirs in it, so
        that they don't mix with those of rank 0."""
        if self.rank == 0:
            return name
        if name.startswith("system/"):
            return f"system/rank{self.rank}/{name.removeprefix('system/')}"
        return f"rank{self.rank}/{name}"


class TableBatch:
    """What a block of a journal adds to the tables. It is made without a lock; only :meth:`write` needs one."""

    def __init__(self, writer: IndexedWriter, block: Block) -> None:
        self.writer, self.block = writer, block
        self._points: defaultdict[str, list[float]] = defaultdict(list)  # seq, step, time, value, seq ...
        self._events: list[tuple[float, Event]] = []
        self._damage: list[Damage] = []
        for item in block.items():
            if isinstance(item, Damage):
                self._damage.append(item)
            elif item is not None and writer.seen.add(item.seq):
                self._take(item)

    def _take(self, event: Event) -> None:
        writer = self.writer
        if event.at > writer.clock:
            writer.clock = event.at
        if writer.started is None:
            writer.started = event.at
        if type(event) is Metrics:
            self._take_points(event)
        else:
            self._take_other(event)

    def _take_points(self, event: Metrics) -> None:
        seq, step, at = event.seq, event.step, event.at
        for name, value in event.values.items():
            self._points[name].extend((seq, step, at, value if type(value) is float else events.number(value)))

    def _take_other(self, event: Event) -> None:
        writer = self.writer
        if isinstance(event, RunStart):
            writer.header = writer.header or event
        elif isinstance(event, RunEnd):
            writer.end = event
        else:
            self._events.append((writer.clock, event))

    # -- writing --

    def write(self, db: Connection) -> bool:
        """Add it, in a transaction of the caller's; False (and nothing is added) where another process was faster."""
        writer = self.writer
        if not _claim(db, writer):
            return False
        _write_position(db, writer, self.block)
        _write_damage(db, writer, self.block, self._damage)
        _write_events(db, writer, self._events)
        if self._points:
            _write_points(db, writer, self._points)
        fold_run(db, writer.run)
        return True


def _claim(db: Connection, writer: IndexedWriter) -> bool:
    claimed = db.execute(
        """UPDATE writer SET revision = revision + 1, header = ?, "end" = ?, started = ?, clock = ?, seen = ?
           WHERE no = ? AND revision = ?""",
        (
            writer.header and events.encode(writer.header), writer.end and events.encode(writer.end), writer.started,
            writer.clock, events.encode(writer.seen.ranges), writer.no, writer.revision,
        ),
    )  # fmt: skip
    return claimed.rowcount == 1


def _write_position(db: Connection, writer: IndexedWriter, block: Block) -> None:
    db.execute(
        """INSERT INTO segment (writer, first, "offset", line) VALUES (?, ?, ?, ?)
           ON CONFLICT (writer, first) DO UPDATE SET "offset" = excluded."offset", line = excluded.line""",
        (writer.no, int(block.path.stem), block.end, block.next_line),
    )


def _write_damage(db: Connection, writer: IndexedWriter, block: Block, damage: list[Damage]) -> None:
    db.executemany(
        'INSERT INTO damage (writer, segment, line, "offset", reason, torn) VALUES (?, ?, ?, ?, ?, ?)',
        [(writer.no, int(block.path.stem), item.line, item.offset, item.reason, item.torn) for item in damage],
    )


def _write_events(db: Connection, writer: IndexedWriter, timed_events: list[tuple[float, Event]]) -> None:
    db.executemany(
        "INSERT INTO event (run, writer, seq, clock, kind, line) VALUES (?, ?, ?, ?, ?, ?)",
        [(writer.run, writer.no, event.seq, clock, _kind(event), _line(event)) for clock, event in timed_events],
    )
    _upsert(db, "param", _rows(db, writer, timed_events, Params, _split))
    _upsert(db, "tag", _rows(db, writer, timed_events, Tags, lambda text: (text,)))


def _rows(
    db: Connection,
    writer: IndexedWriter,
    timed_events: list[tuple[float, Event]],
    kind: type[Params | Tags],
    columns: Callable[[Any], Any],
) -> list[tuple[Any, ...]]:
    items = [
        (clock, event.seq, name, value)
        for clock, event in timed_events
        if isinstance(event, kind)
        for name, value in event.values.items()
    ]
    numbers = labels.numbers(db, {name for _, _, name, _ in items})
    return [(writer.run, numbers[name], *columns(value), clock, writer.no, seq) for clock, seq, name, value in items]


def _split(raw: Any) -> tuple[float | None, str | None, bool, bytes]:
    """A parameter as a number, as text, whether it is NaN, and as it is written."""
    value, written = events.param(raw), events.encode(raw)
    if isinstance(value, float) and value != value:
        return None, None, True, written
    if isinstance(value, int | float):
        return _number(value), None, False, written
    text = value if value is None or isinstance(value, str) else events.encode(value).decode()
    return None, text, False, written


def _number(value: float) -> float:
    if isinstance(value, float):
        return value
    return int(value) if abs(value) <= events.MAX_INT else float(value)


def _kind(event: Event) -> str:
    return event.name[:LONGEST_KIND] if isinstance(event, Unknown) else str(event.__struct_config__.tag)


def _line(event: Event) -> bytes:
    return events.encode(event.fields if isinstance(event, Unknown) else event)


def _write_points(db: Connection, writer: IndexedWriter, points: dict[str, list[float]]) -> None:
    from tachograph.index import chunks  # with it comes numpy, which a command that finds nothing new can do without

    numbers = labels.numbers(db, list(map(writer.shown, points)))
    added = {numbers[writer.shown(name)]: chunks.Points.gathered(flat) for name, flat in points.items()}
    rows = [
        (writer.run, label, last.number, last.step, last.clock, writer.no, last.seq)
        for label, last in chunks.add(db, writer.no, added).items()
    ]
    _upsert(db, "metric", rows)


_COLUMNS = {"metric": ("number", "step"), "param": ("number", "text", "nan", "written"), "tag": ("text",)}
_ID = "(SELECT id FROM writer WHERE no = {table}.author)"


def _upsert(db: Connection, table: str, rows: list[tuple[Any, ...]]) -> None:
    """Write the rows that are newer than what is there; in order, so that no two transactions wait for each other.

    The rows are of one writer. Of two writers at the same time, the one with the greater id wins.
    """
    columns = (*_COLUMNS[table], "clock", "author", "seq")
    newest = {row[1]: row for row in sorted(rows, key=lambda row: (row[-3], row[-1]))}
    db.executemany(
        f"""INSERT INTO {table} (run, label, {", ".join(columns)}) VALUES (?, ?, {", ".join("?" * len(columns))})
            ON CONFLICT (run, label) DO UPDATE SET {", ".join(f"{column} = excluded.{column}" for column in columns)}
            WHERE excluded.clock > {table}.clock OR (excluded.clock = {table}.clock AND CASE
                WHEN excluded.author = {table}.author THEN excluded.seq > {table}.seq
                ELSE {_ID.format(table="excluded")} > {_ID.format(table=table)} END)""",
        [newest[label] for label in sorted(newest)],
    )


def fold_run(db: Connection, run: int) -> None:
    """Update the row of a run from what its writers say.

    Its name and origin are those that its first owner has recorded; how it ended is what its newest owner says (see
    :func:`ends`). Where no owner can be read, any writer counts as one.
    """
    db.hold(run)
    rows = db.execute(f"SELECT {', '.join(WRITER_COLUMNS)} FROM writer WHERE run = ? AND {WRITER_HAS_BEGUN}", (run,))
    with_witnesses = [IndexedWriter.loaded(row) for row in rows.fetchall()]
    writers = [writer for writer in with_witnesses if not writer.is_witness]
    if not writers:
        return
    latest = max(writer.clock for writer in with_witnesses)
    with_header = [writer for writer in writers if writer.header is not None] or writers
    owners = [writer for writer in with_header if writer.header and writer.header.role == "owner"] or with_header
    first, leader = min(owners, key=IndexedWriter.age), max(owners, key=IndexedWriter.age)
    header, end = first.header, ends(with_witnesses).get(leader.id)
    ended = end and (latest if end.of else end.at)
    db.execute(
        """UPDATE run SET name = ?, experiment = ?, parent = ?, opener = ?, leader = ?, status = ?, ended = ?,
           started = ?, latest = ? WHERE no = ?""",
        (
            header and header.name, header and header.experiment, header and header.parent, header and header.opener,
            leader.no, end and end.status, ended, min(writer.started or 0.0 for writer in writers), latest, run,
        ),
    )  # fmt: skip


def ends(writers: Iterable[IndexedWriter]) -> dict[str, RunEnd]:
    """How the writers of a run ended, by their ids: as they recorded themselves; else as a witness says, unless the
    writer has recorded something since. The order in which these were read doesn't matter."""
    by_id = {writer.id: writer for writer in writers}
    witnessed = [writer.end for writer in by_id.values() if writer.is_witness and writer.end is not None]
    crashed = {end.of: end for end in witnessed if end.of in by_id and by_id[end.of].last <= end.last}
    return crashed | {writer.id: writer.end for writer in by_id.values() if writer.end is not None}


decode_start = msgspec.json.Decoder(RunStart).decode
_decode_end = msgspec.json.Decoder(RunEnd).decode
_decode_ranges = msgspec.json.Decoder(list[list[int]]).decode
