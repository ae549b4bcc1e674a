"""The points of a chunk as few bytes, exactly.

    byte 0      how the rest is written: bits 0 to 2 the sequence numbers, 3 to 5 the steps, 6 the values
    numbers     0: they follow at equal distances, or there is one: nothing; else as differences from the first
    steps       0: the first and the distance, 8 bytes each, as they follow at equal distances; else as they are
    times       8 bytes each
    values      0: 8 bytes each; 1: 4 bytes each, as all of them are 32-bit floats

Whole numbers take 1, 2, 4 or 8 bytes each (1 to 4), as the largest of them needs. All are little-endian.
"""

from __future__ import annotations

from itertools import pairwise
from struct import pack as pack_as
from struct import unpack as unpack_as

import numpy as np
from numpy.typing import NDArray

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]

EVEN, HALF = 0, 1 << 6
FEW = 32  # points, up to which arrays are slower than lists
INT, FLOAT, HALF_FLOAT = np.dtype("<i8"), np.dtype("<f8"), np.dtype("<f4")
_CODES, _WIDTHS = "bhiq", [np.dtype(name) for name in ("<i1", "<i2", "<i4", "<i8")]


def pack(seqs: Ints, steps: Ints, times: Floats, values: Floats) -> bytes:
    """The points as bytes; ``seqs`` ascend. Whoever unpacks them has to know the first, the last, and how many."""
    if len(seqs) <= FEW:
        return pack_few(seqs.tolist(), steps.tolist(), times.tolist(), values.tolist())
    return pack_many(seqs, steps, times, values)


def pack_few(seqs: list[int], steps: list[int], times: list[float], values: list[float]) -> bytes:
    """The same by lists."""
    count, form, whole_numbers = len(seqs), "", list[int]()
    how_seqs = EVEN if _are_even(seqs) else _width(0, seqs[-1] - seqs[0])
    how_steps = EVEN if count > 2 and _are_even(steps) else _width(min(steps), max(steps))
    if how_seqs != EVEN:
        form, whole_numbers = f"{count}{_CODES[how_seqs - 1]}", [seq - seqs[0] for seq in seqs]
    if how_steps == EVEN:
        form, whole_numbers = f"{form}2q", [*whole_numbers, *steps[:2]]
    else:
        form, whole_numbers = f"{form}{count}{_CODES[how_steps - 1]}", [*whole_numbers, *steps]
    how = how_seqs | how_steps << 3
    halves = _halves(values)
    if halves is not None:
        return pack_as(f"<B{form}{count}d", how | HALF, *whole_numbers, *times) + halves
    return pack_as(f"<B{form}{count}d{count}d", how, *whole_numbers, *times, *values)


def _are_even(numbers: list[int]) -> bool:
    if len(numbers) < 3:
        return True
    distance = numbers[1] - numbers[0]
    return all(second - first == distance for first, second in pairwise(numbers))


def _halves(values: list[float]) -> bytes | None:
    """The values with 4 bytes each, where nothing is lost by that; else None."""
    form = f"<{len(values)}f"
    try:
        halves = pack_as(form, *values)
    except OverflowError:
        return None
    pairs = zip(values, unpack_as(form, halves), strict=True)
    return halves if all(value == half or (value != value and half != half) for value, half in pairs) else None


def pack_many(seqs: Ints, steps: Ints, times: Floats, values: Floats) -> bytes:
    """The same by arrays."""
    differences = seqs - seqs[0]
    how_seqs = EVEN if _is_even(differences) else _width(0, int(differences[-1]))
    how_steps = EVEN if len(steps) > 2 and _is_even(steps) else _width(int(steps.min()), int(steps.max()))
    with np.errstate(over="ignore"):
        halves = values.astype(HALF_FLOAT)
    is_half = np.array_equal(halves.astype(FLOAT), values, equal_nan=True)
    return b"".join(
        (
            bytes([how_seqs | how_steps << 3 | HALF * is_half]),
            b"" if how_seqs == EVEN else differences.astype(_WIDTHS[how_seqs - 1]).tobytes(),
            (steps[[0, 1]] if how_steps == EVEN else steps.astype(_WIDTHS[how_steps - 1])).tobytes(),
            times.tobytes(),
            (halves if is_half else values).tobytes(),
        )
    )


def _is_even(numbers: Ints) -> bool:
    """Whether they follow each other at equal distances."""
    distances = np.diff(numbers)
    return bool((distances[1:] == distances[:-1]).all())


def _width(low: int, high: int) -> int:
    """How many bytes whole numbers from ``low`` to ``high`` take, as a position in ``_WIDTHS``, counted from 1."""
    bits = max(high.bit_length() if high >= 0 else (-high - 1).bit_length(), (-low - 1).bit_length() if low < 0 else 0)
    return 1 if bits < 8 else 2 if bits < 16 else 3 if bits < 32 else 4


def unpack(packed: bytes, first: int, last: int, count: int) -> tuple[Ints, Ints, Floats, Floats]:
    """What was packed: sequence numbers from ``first`` to ``last``, steps, times, values."""
    how = packed[0]
    how_seqs, how_steps, at = how & 7, how >> 3 & 7, 1
    indexes: Ints = np.arange(count, dtype=INT)
    if how_seqs == EVEN:
        seqs = first + (last - first) // max(count - 1, 1) * indexes
    else:
        width = _WIDTHS[how_seqs - 1]
        seqs = first + np.frombuffer(packed, width, count, at).astype(INT)
        at += count * width.itemsize
    if how_steps == EVEN:
        two = np.frombuffer(packed, INT, 2, at)
        steps: Ints = two[:1] + (two[1:] - two[:1]) * indexes
        at += 2 * INT.itemsize
    else:
        width = _WIDTHS[how_steps - 1]
        steps = np.frombuffer(packed, width, count, at).astype(INT)
        at += count * width.itemsize
    times = np.frombuffer(packed, FLOAT, count, at)
    values = np.frombuffer(packed, HALF_FLOAT if how & HALF else FLOAT, count, at + count * FLOAT.itemsize)
    return seqs, steps, times, values.astype(FLOAT)


def columns(packed: bytes, first: int, last: int, count: int) -> tuple[bytes, bytes, bytes]:
    """Steps, times and values, with 8 bytes each."""
    if count == 1:
        how = packed[0]
        form = f"<{_CODES[(how >> 3 & 7) - 1]}d{'f' if how & HALF else 'd'}"
        step, time, value = unpack_as(form, packed[1:])
        return pack_as("<q", step), pack_as("<d", time), pack_as("<d", value)
    _, steps, times, values = unpack(packed, first, last, count)
    return steps.tobytes(), times.tobytes(), values.tobytes()
