"""A metric's points as people read them: the chunks of all writers merged into a history, or summed up."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from math import nan
from typing import TYPE_CHECKING

import numpy as np
from msgspec import Struct

from tachograph.index.chunk_codec import FLOAT, INT, Floats, Ints
from tachograph.index.chunks import ChunkDigest

if TYPE_CHECKING:
    import pandas


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


def summarize(writers: Iterable[Sequence[ChunkDigest]]) -> Summary:
    """The summary of a metric, from its chunks: those of each writer in their order, writers in the order of their
    ids."""
    series = [chunks for chunks in writers if chunks]
    chunks = [chunk for chunks in series for chunk in chunks]
    numbers = sum(chunk.numbers for chunk in chunks)
    lowest = [(chunk.min, chunk.min_step) for chunk in chunks if chunk.min is not None and chunk.min_step is not None]
    highest = [(-chunk.max, chunk.max_step) for chunk in chunks if chunk.max is not None and chunk.max_step is not None]
    low, min_step = min(lowest, default=(nan, None))
    high, max_step = min(highest, default=(nan, None))
    return Summary(
        count=sum(chunk.count for chunk in chunks),
        first=_number(min(series, key=lambda chunks: chunks[0].first_at)[0].first),
        last=_number(max(reversed(series), key=lambda chunks: chunks[-1].clock)[-1].last),
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
    """The points of a chunk, ``size`` of them: their columns as bytes, 8 for each number."""

    writer: str
    size: int
    steps: bytes
    times: bytes
    values: bytes


def merge(chunks: Sequence[Packed]) -> History:
    """The history of a metric, from the chunks of its writers, which come by writer and sequence number.

    The points of a writer stay in the order of their sequence numbers; between writers the order is that of time. A
    clock that was set back is taken to have stood still meanwhile, so that both hold.
    """
    count = sum(chunk.size for chunk in chunks)
    history = History(np.empty(count, INT), np.empty(count, FLOAT), np.empty(count, FLOAT))
    starts, at = [], 0
    for index, chunk in enumerate(chunks):
        if index == 0 or chunk.writer != chunks[index - 1].writer:
            starts.append(at)
        end = at + chunk.size
        history.steps[at:end] = np.frombuffer(chunk.steps, INT)
        history.times[at:end] = np.frombuffer(chunk.times, FLOAT)
        history.values[at:end] = np.frombuffer(chunk.values, FLOAT)
        at = end
    if len(starts) < 2:
        return history
    clocks = [np.maximum.accumulate(times) for times in np.split(history.times, starts[1:])]
    order = np.argsort(np.concatenate(clocks), kind="stable")
    return History(history.steps[order], history.times[order], history.values[order])
