"""All points of a run, in the order of their names, a bounded number at a time."""

from __future__ import annotations

import heapq
from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np

from tachograph.compact.parts import Arrow
from tachograph.store.questions import Questions
from tachograph.store.run_record import RunRecord, Writer

POINTS = 1 << 16  # in a table, about
PAGE = 256  # chunks that are asked for at a time


class Chunk(NamedTuple):
    """Some points of a metric; see :class:`tachograph.store.history.Packed`. ``age`` numbers the writers, oldest
    first."""

    name: str
    age: int
    writer: Writer
    size: int
    steps: bytes
    times: bytes
    values: bytes


def tables(arrow: Arrow, questions: Questions, run: RunRecord) -> Iterator[Any]:
    """The points as Arrow tables."""
    written = [_chunks(questions, run.id, age, writer) for age, writer in enumerate(run.writers)]
    pending: list[Chunk] = []
    points = 0
    for chunk in heapq.merge(*written, key=lambda chunk: chunk[:2]):
        pending.append(chunk)
        points += chunk.size
        if points >= POINTS:
            yield _table(arrow, run.id, pending)
            pending, points = [], 0
    if pending:
        yield _table(arrow, run.id, pending)


def _chunks(questions: Questions, run: str, age: int, writer: Writer) -> Iterator[Chunk]:
    after = None
    while page := questions.series(run, writer.id, after, PAGE):
        for name, _, size, steps, times, values in page:
            yield Chunk(name, age, writer, size, steps, times, values)
        if len(page) < PAGE:
            break
        after = page[-1][0], page[-1][1]


def _table(arrow: Arrow, run: str, chunks: list[Chunk]) -> Any:
    pa = arrow.pa
    counts = [chunk.size for chunk in chunks]
    seconds = np.frombuffer(b"".join(chunk.times for chunk in chunks), "<f8")
    columns = {
        "run": _repeated(pa, [run] * len(chunks), counts),
        "name": _repeated(pa, [chunk.name for chunk in chunks], counts),
        "step": pa.array(np.frombuffer(b"".join(chunk.steps for chunk in chunks), "<i8")),
        "time": pa.array(np.rint(seconds * 1e6).astype("<i8")).cast(arrow.points.field("time").type),
        "value": pa.array(np.frombuffer(b"".join(chunk.values for chunk in chunks), "<f8")),
        "rank": pa.array(np.repeat(np.array([chunk.writer.rank for chunk in chunks], "<i4"), counts)),
        "writer": _repeated(pa, [chunk.writer.id for chunk in chunks], counts),
    }
    return pa.table(columns, arrow.points)


def _repeated(pa: Any, texts: list[str], counts: list[int]) -> Any:
    """A column with each text so many times; the text itself is held once."""
    numbers = {text: number for number, text in enumerate(dict.fromkeys(texts))}
    codes = np.repeat(np.array([numbers[text] for text in texts], np.int32), counts)
    return pa.DictionaryArray.from_arrays(pa.array(codes), pa.array(list(numbers), pa.string()))
