"""The points of a chunk as few bytes, exactly.

    byte 0      how the rest is written: bits 0 to 2 the sequence numbers, 3 to 5 the steps, 6 the values
    numbers     0: they follow at equal distances, or there is one: nothing; else as differences from the first
    steps       0: the first and the distance, 8 bytes each, as they follow at equal distances; else as they are
    times       8 bytes each
    values      0: 8 bytes each; 1: 4 bytes each, as all of them are 32-bit floats

Whole numbers take 1, 2, 4 or 8 bytes each (1 to 4), as the largest of them needs. All are little-endian.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]

EVEN = 0
INT, FLOAT, HALF = np.dtype("<i8"), np.dtype("<f8"), np.dtype("<f4")
_WIDTHS = [np.dtype(name) for name in ("<i1", "<i2", "<i4", "<i8")]


def pack(seqs: Ints, steps: Ints, times: Floats, values: Floats) -> bytes:
    """The points as bytes; ``seqs`` ascend. Whoever unpacks them has to know the first, the last, and how many."""
    count = len(seqs)
    differences = seqs - seqs[0]
    how_seqs = EVEN if _is_even(differences) else _width(differences)
    how_steps = EVEN if count > 2 and _is_even(steps) else _width(steps)
    with np.errstate(over="ignore"):
        halves = values.astype(HALF)
    is_half = np.array_equal(halves.astype(FLOAT), values, equal_nan=True)
    return b"".join(
        (
            bytes([how_seqs | how_steps << 3 | is_half << 6]),
            b"" if how_seqs == EVEN else differences.astype(_WIDTHS[how_seqs - 1]).tobytes(),
            (steps[[0, 1]] if how_steps == EVEN else steps.astype(_WIDTHS[how_steps - 1])).tobytes(),
            times.tobytes(),
            (halves if is_half else values).tobytes(),
        )
    )


def unpack(packed: bytes, first: int, last: int, count: int) -> tuple[Ints, Ints, Floats, Floats]:
    """What was packed: sequence numbers from ``first`` to ``last``, steps, times, values."""
    how = packed[0]
    how_seqs, how_steps, at = how & 7, how >> 3 & 7, 1
    places: Ints = np.arange(count, dtype=INT)
    if how_seqs == EVEN:
        seqs = first + (last - first) // max(count - 1, 1) * places
    else:
        width = _WIDTHS[how_seqs - 1]
        seqs = first + np.frombuffer(packed, width, count, at).astype(INT)
        at += count * width.itemsize
    if how_steps == EVEN:
        two = np.frombuffer(packed, INT, 2, at)
        steps: Ints = two[:1] + (two[1:] - two[:1]) * places
        at += 2 * INT.itemsize
    else:
        width = _WIDTHS[how_steps - 1]
        steps = np.frombuffer(packed, width, count, at).astype(INT)
        at += count * width.itemsize
    times = np.frombuffer(packed, FLOAT, count, at)
    values = np.frombuffer(packed, HALF if how >> 6 else FLOAT, count, at + count * FLOAT.itemsize)
    return seqs, steps, times, values.astype(FLOAT)


def _is_even(numbers: Ints) -> bool:
    """Whether they follow each other at equal distances."""
    distances = np.diff(numbers)
    return bool((distances[1:] == distances[:-1]).all())


def _width(numbers: Ints) -> int:
    low, high = int(numbers.min()), int(numbers.max())
    bounds = [np.iinfo(width) for width in _WIDTHS]
    return next(place for place, bound in enumerate(bounds, 1) if bound.min <= low and high <= bound.max)
