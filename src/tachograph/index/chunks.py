"""Points as the index holds them: packed into chunks.

A chunk holds at most ``CHUNK`` points of one writer and one label, in the order of their sequence numbers, packed as
:mod:`tachograph.index.chunk_codec` does it. Where they are many, a digest for summaries stands beside them.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import msgspec
import numpy as np
from msgspec import Struct

from tachograph.index import chunk_codec
from tachograph.index.chunk_codec import FLOAT, INT, Floats, Ints
from tachograph.index.dialect import Connection

CHUNK = 4096
MANY = 64  # points, from which on a chunk has a digest, so that a summary doesn't add them up anew


class ChunkDigest(Struct, frozen=True, array_like=True):
    """What a summary needs to know of a chunk. ``clock`` is the writer's latest time up to and in the chunk.

    None stands for NaN, and for the step of a minimum or maximum where every value is NaN.
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
        return cls(*chunk_codec.unpack(packed, first_seq, last_seq, count))

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
        """The points, cut into pieces for chunks."""
        for start in range(0, len(self), CHUNK):
            yield self[start : start + CHUNK]

    def digest(self, clock: float) -> ChunkDigest:
        """What a summary needs to know of these points. ``clock`` is the writer's latest time up to and in them."""
        numbers, steps = self.values, self.steps
        total = float(numbers.sum())
        if total != total:  # there is a NaN, or infinities of both signs
            valid = ~np.isnan(numbers)
            numbers, steps = numbers[valid], steps[valid]
            total = float(numbers.sum())
        low, high = (float(numbers.min()), float(numbers.max())) if len(numbers) else (None, None)
        return ChunkDigest(
            count=len(self.values), numbers=len(numbers), total=total,
            min=low, min_step=None if low is None else int(steps[numbers == low].min()),
            max=high, max_step=None if high is None else int(steps[numbers == high].min()),
            first=float(self.values[0]), first_at=float(self.times[0]),
            last=float(self.values[-1]), last_step=int(self.steps[-1]),
            clock=clock,
        )  # fmt: skip


class NewestPoint(Struct):
    """The newest point of a writer and a label."""

    number: float | None  # None stands for NaN
    step: int
    seq: int
    clock: float


def add(db: Connection, writer: int, added: Mapping[int, Points]) -> dict[int, NewestPoint]:
    """Add a writer's points, by label, in a transaction of the caller's. Returns the newest point of each label.

    A last chunk that is small beside what is added is taken out and written anew with that. So each point is rewritten
    a few times at most, however little is added at a time. The chunks of a writer and a label never overlap.
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
            newest[label] = NewestPoint(number, int(piece.steps[-1]), int(piece.seqs[-1]), clock)
    db.executemany(f"INSERT INTO chunk ({_COLUMNS}) VALUES (?, ?, ?, ?, ?, ?, ?, ?)", rows)
    return newest


def _take_out(db: Connection, writer: int, points: dict[int, Points]) -> dict[int, float]:
    """Take out the last chunks of each label that are to be written anew, and add their points to ``points``.

    Returns by label the writer's clock before these points.
    """
    clocks: dict[int, float] = {}
    pending = list(points)
    while pending:
        taken = []
        for label, newest in zip(pending, _newest(db, writer, pending), strict=True):
            for first_seq, last_seq, count, clock, packed in newest:
                small = count < CHUNK and count <= 2 * len(points[label])
                if small or last_seq >= points[label].seqs[0]:
                    points[label] = Points.unpacked(first_seq, last_seq, count, packed) + points[label]
                    taken.append((writer, label, first_seq))
                else:
                    clocks[label] = clock
            if not newest:
                clocks[label] = 0.0
        db.executemany("DELETE FROM chunk WHERE writer = ? AND label = ? AND first_seq = ?", taken)
        pending = [label for _, label, _ in taken]
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
    packed = chunk_codec.pack(points.seqs, points.steps, points.times, points.values)
    digest = _encode(points.digest(clock)) if len(points) >= MANY else None
    return int(points.seqs[0]), int(points.seqs[-1]), clock, writer, label, len(points), packed, digest


def digest_of(
    first_seq: int, last_seq: int, clock: float, count: int, packed: bytes, digest: bytes | None
) -> ChunkDigest:
    """The digest of a chunk: the one that stands beside its points, else one that is made now."""
    if digest is not None:
        return _decode(digest)
    with np.errstate(over="ignore", invalid="ignore"):
        return Points.unpacked(first_seq, last_seq, count, packed).digest(clock)


_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(ChunkDigest).decode
