"""Points as arrays: packed into chunks for the index, unpacked and merged into a history, summed up.

A chunk holds some of the points of one writer and one label, in the order of their sequence numbers, packed as
:mod:`tachograph.packing` does it; where they are many, what a summary needs to know of them is beside it. Chunks are
never larger than ``CHUNK``.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from math import nan
from typing import TYPE_CHECKING, Any

import msgspec
import numpy as np
from msgspec import Struct

from tachograph import packing
from tachograph.dialect import Connection
from tachograph.packing import FLOAT, INT, Floats, Ints

if TYPE_CHECKING:
    import pandas

CHUNK = 4096
MANY = 64  # points of a chunk, from which on a summary doesn't add them up anew


class Digest(Struct, frozen=True, array_like=True):
    """What a summary needs to know of a chunk, and a writer's ``clock``: the latest time up to and in it.

    None stands for NaN, and for the step of a minimum that isn't there.
    """

    count: int
    numbers: int  # that are not NaN
    total: float | None
    min: float | None
    min_step: int | None
    max: float | None
    max_step: int | None
    first: float | None
    first_at: float
    last: float | None
    last_step: int
    clock: float


class Points(Struct):
    """Some of the points of one writer and one name, by their sequence number."""

    seqs: Ints
    steps: Ints
    times: Floats
    values: Floats

    @classmethod
    def gathered(cls, flat: Sequence[float]) -> Points:
        """From one list: seq, step, time, value, seq, step ..."""
        seqs, steps = (np.array(flat[start::4], INT) for start in (0, 1))
        times, values = (np.array(flat[start::4], FLOAT) for start in (2, 3))
        return cls(seqs, steps, times, values).sorted()

    @classmethod
    def unpacked(cls, first_seq: int, last_seq: int, count: int, packed: bytes) -> Points:
        return cls(*packing.unpack(packed, first_seq, last_seq, count))

    def __len__(self) -> int:
        return len(self.seqs)

    def __add__(self, newer: Points) -> Points:
        return Points(
            np.concatenate([self.seqs, newer.seqs]), np.concatenate([self.steps, newer.steps]),
            np.concatenate([self.times, newer.times]), np.concatenate([self.values, newer.values]),
        ).sorted()  # fmt: skip

    def __getitem__(self, which: slice | Ints) -> Points:
        return Points(self.seqs[which], self.steps[which], self.times[which], self.values[which])

    def sorted(self) -> Points:
        in_order = (self.seqs[1:] > self.seqs[:-1]).all()
        return self if in_order else self[np.argsort(self.seqs)]

    def pieces(self) -> Iterator[Points]:
        """Cut into chunks."""
        for start in range(0, len(self), CHUNK):
            yield self[start : start + CHUNK]

    def digest(self, clock: float) -> Digest:
        """``clock`` is the writer's latest time up to and in these."""
        numbers, steps = self.values, self.steps
        total = float(numbers.sum())
        if total != total:  # there is a NaN, or infinities of both signs
            valid = ~np.isnan(numbers)
            numbers, steps = numbers[valid], steps[valid]
            total = float(numbers.sum())
        low, high = (float(numbers.min()), float(numbers.max())) if len(numbers) else (None, None)
        return Digest(
            count=len(self.values), numbers=len(numbers), total=total,
            min=low, min_step=None if low is None else int(steps[numbers == low].min()),
            max=high, max_step=None if high is None else int(steps[numbers == high].min()),
            first=float(self.values[0]), first_at=float(self.times[0]),
            last=float(self.values[-1]), last_step=int(self.steps[-1]),
            clock=clock,
        )  # fmt: skip


class Summary(Struct, frozen=True):
    """A metric at a glance. NaN takes no part in ``min``, ``max`` and ``mean``, but ``count`` counts it.

    ``first`` and ``last`` are by recorded order; ``min_step`` and ``max_step`` are the (lowest) steps at which the
    minimum and the maximum were reached, None where every value is NaN.
    """

    count: int
    first: float
    last: float
    min: float
    max: float
    mean: float
    min_step: int | None
    max_step: int | None


def summarize(writers: Iterable[Sequence[Digest]]) -> Summary:
    """The summary of the chunks of several writers, which come by their ids, and their chunks in order."""
    series = [chunks for chunks in writers if chunks]
    chunks = [chunk for chunks in series for chunk in chunks]
    numbers = sum(chunk.numbers for chunk in chunks)
    lowest = [(chunk.min, chunk.min_step) for chunk in chunks if chunk.min is not None and chunk.min_step is not None]
    highest = [(-chunk.max, chunk.max_step) for chunk in chunks if chunk.max is not None and chunk.max_step is not None]
    low, min_step = min(lowest, default=(nan, None))
    high, max_step = min(highest, default=(nan, None))
    return Summary(
        count=sum(chunk.count for chunk in chunks),
        first=_number(min(series, key=lambda own: own[0].first_at)[0].first),
        last=_number(max(reversed(series), key=lambda own: own[-1].clock)[-1].last),
        min=low, max=-high, mean=sum(_number(chunk.total) for chunk in chunks) / numbers if numbers else nan,
        min_step=min_step, max_step=max_step,
    )  # fmt: skip


def _number(value: float | None) -> float:
    return nan if value is None else value


class History:
    """The points of a metric in recorded order.

    ``steps`` (int64), ``times`` (float64, seconds since 1970 UTC) and ``values`` (float64) are arrays of equal length.
    """

    def __init__(self, steps: Ints, times: Floats, values: Floats) -> None:
        self.steps, self.times, self.values = steps, times, values

    def __len__(self) -> int:
        return len(self.steps)

    def __repr__(self) -> str:
        return f"<history of {len(self)} points>"

    def to_pandas(self) -> pandas.DataFrame:
        """A frame with the columns ``step``, ``time`` (UTC) and ``value``."""
        import pandas

        time = pandas.to_datetime(self.times, unit="s", utc=True)
        return pandas.DataFrame({"step": self.steps, "time": time, "value": self.values})


class Packed(Struct):
    """A chunk as the index hands it out for a history."""

    writer: str
    size: int
    steps: bytes
    times: bytes
    values: bytes


def merge(chunks: Sequence[Packed]) -> History:
    """The history of several writers' chunks, which come by writer and sequence number.

    Within a writer the order is that of the sequence numbers, between writers that of time. A clock that was set back
    is taken to have stood still meanwhile, so that both hold.
    """
    count = sum(chunk.size for chunk in chunks)
    history = History(np.empty(count, INT), np.empty(count, FLOAT), np.empty(count, FLOAT))
    starts, at = [], 0
    for place, chunk in enumerate(chunks):
        if place == 0 or chunk.writer != chunks[place - 1].writer:
            starts.append(at)
        end = at + chunk.size
        history.steps[at:end] = np.frombuffer(chunk.steps, INT)
        history.times[at:end] = np.frombuffer(chunk.times, FLOAT)
        history.values[at:end] = np.frombuffer(chunk.values, FLOAT)
        at = end
    if len(starts) < 2:
        return history
    clocks = [np.maximum.accumulate(own) for own in np.split(history.times, starts[1:])]
    order = np.argsort(np.concatenate(clocks), kind="stable")
    return History(history.steps[order], history.times[order], history.values[order])


class Last(Struct):
    """The newest point of a writer and a label."""

    number: float | None  # None stands for NaN
    step: int
    seq: int
    clock: float


def add(db: Connection, writer: int, added: Mapping[int, Points]) -> dict[int, Last]:
    """Add points by label, in a transaction of the caller's; the newest of each.

    A chunk that is small beside what comes after it becomes part of it: so each point is rewritten a few times at
    most, however little is added at a time. Chunks of a writer never overlap.
    """
    points = dict(added)
    clocks = _take_out(db, writer, points)
    rows, newest = [], {}
    with np.errstate(over="ignore", invalid="ignore"):
        for label, clock in clocks.items():
            for piece in points[label].pieces():
                row = _row(writer, label, piece, clock)
                clock = row[2]
                rows.append(row)
            value = float(piece.values[-1])
            number = None if value != value else value
            newest[label] = Last(number, int(piece.steps[-1]), int(piece.seqs[-1]), clock)
    db.executemany(f"INSERT INTO chunk ({_COLUMNS}) VALUES (?, ?, ?, ?, ?, ?, ?, ?)", rows)
    return newest


def _take_out(db: Connection, writer: int, points: dict[int, Points]) -> dict[int, float]:
    """Take out the last chunks of each label where they are to become part of the points, to which they are added.

    By label the writer's clock before them.
    """
    clocks: dict[int, float] = {}
    left = list(points)
    while left:
        taken = []
        for label, found in zip(left, _newest(db, writer, left), strict=True):
            for first_seq, last_seq, count, clock, packed in found:
                small = count < CHUNK and count <= 2 * len(points[label])
                if small or last_seq >= points[label].seqs[0]:
                    points[label] = Points.unpacked(first_seq, last_seq, count, packed) + points[label]
                    taken.append((writer, label, first_seq))
                else:
                    clocks[label] = clock
            if not found:
                clocks[label] = 0.0
        db.executemany("DELETE FROM chunk WHERE writer = ? AND label = ? AND first_seq = ?", taken)
        left = [label for _, label, _ in taken]
    return clocks


def _newest(db: Connection, writer: int, labels: list[int]) -> list[list[tuple[int, int, int, float, bytes]]]:
    return db.each(
        """SELECT first_seq, last_seq, count, clock, points FROM chunk
           WHERE writer = ? AND label = ? ORDER BY first_seq DESC LIMIT 1""",
        [(writer, label) for label in labels],
    )


_COLUMNS = "first_seq, last_seq, clock, writer, label, count, points, digest"


def _row(writer: int, label: int, points: Points, clock: float) -> tuple[Any, ...]:
    clock = max(clock, float(points.times.max()))
    packed = packing.pack(points.seqs, points.steps, points.times, points.values)
    digest = _encode(points.digest(clock)) if len(points) >= MANY else None
    return int(points.seqs[0]), int(points.seqs[-1]), clock, writer, label, len(points), packed, digest


def digest_of(first_seq: int, last_seq: int, clock: float, count: int, packed: bytes, digest: bytes | None) -> Digest:
    """What a summary needs to know of a chunk, whether it is beside it or not."""
    if digest is not None:
        return _decode(digest)
    with np.errstate(over="ignore", invalid="ignore"):
        return Points.unpacked(first_seq, last_seq, count, packed).digest(clock)


_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(Digest).decode
