"""The form that every kind of data set is brought into: groups of columns of one dtype, read piece by piece.

Arrays are here, since all the other kinds end as arrays. Nothing made here is as large as the data: pieces are views or
bounded copies.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

LIMIT = 32 * 2**20  # bytes of a table that are read for its digest
ROWS = 10_000  # rows that are read for the statistics,
COLUMNS = 1_000  # columns,
CELLS = 2_000_000  # and values of eight bytes: about a tenth of a second
READS = 2_000  # reads of single columns: in a frame each takes tens of microseconds, however short it is

Rows = slice | NDArray[np.int64]


class CellValues(NamedTuple):
    """Values in C order, row after row; `missing` marks the same positions where the values themselves cannot."""

    values: NDArray[Any]
    missing: NDArray[np.bool_] | None


@dataclass(frozen=True)
class ColumnGroup:
    """Columns which have one dtype."""

    columns: dict[int, str]  # position in the table: name
    dtype: str
    length: int  # what `read` counts: the cells of an array, the rows of a frame
    read: Callable[[int, int], CellValues]
    unit: int | None  # bytes of what `read` counts; None: objects, whose size is estimated
    cuts: int = 2**31  # in how many pieces it may be read; 0: too many columns, it is never read

    @cached_property
    def size(self) -> int:
        """Bytes of all of it."""
        return _estimated(self) if self.unit is None else self.length * self.unit

    def copied(self) -> ColumnGroup:
        """The same with values of its own."""
        values, missing = self.read(0, self.length)
        values, missing = values.copy(), None if missing is None else missing.copy()

        def cut(start: int, stop: int) -> CellValues:
            return CellValues(values[start:stop], None if missing is None else missing[start:stop])

        return replace(self, read=cut)


@dataclass(frozen=True, slots=True)
class Table:
    """A data set: `parts` are all of it, `sample` the rows and columns which statistics are made of."""

    format: str
    shape: tuple[int, ...]
    rows: int | None
    width: int | None
    parts: list[ColumnGroup] | None = None  # None: not readable, or not without moving it
    sample: list[ColumnGroup] = field(default_factory=list)
    looked_at: int = 0  # rows in the sample
    density: float | None = None
    layout: str = ""  # how a sparse matrix is stored

    @property
    def omitted(self) -> int:
        """Columns which the sample lacks; values of more than two dimensions are one column."""
        return 0 if len(self.shape) > 2 else max(0, (self.width or 0) - sum(len(part.columns) for part in self.sample))

    def detached(self) -> Table:
        """The same without the data itself: the sample is a copy of its rows."""
        return replace(self, parts=None, sample=[part.copied() for part in self.sample])


def spread(total: int, width: int) -> Rows:
    """At most `ROWS` rows, fewer of wide ones: one from each of as many equal intervals, or all.

    The position within the interval moves by the golden ratio, since rows at a fixed distance would see one class only
    of data which repeats its classes in turn.
    """
    wanted = min(ROWS, max(1, CELLS // max(1, width)))
    if total <= wanted:
        return slice(None)
    steps = np.arange(wanted + 1, dtype=np.int64)
    bounds = steps * total // wanted
    return bounds[:-1] + (steps[:-1] * 2654435769 % 2**32) * np.diff(bounds) // 2**32


def row_count(rows: Rows, total: int) -> int:
    return total if isinstance(rows, slice) else len(rows)


def array_table(data: Any, name: str, kind: str | None = None) -> Table:
    """Any numpy array: a column for each field of a structured one, and a single one above two dimensions."""
    array = np.asanyarray(data)
    array = array if isinstance(array, np.ma.MaskedArray) else np.asarray(array)  # np.matrix never drops a dimension
    parts = array_parts(array, name)
    total = array.shape[0] if array.ndim else 1
    width = len(parts) if array.dtype.names else math.prod(array.shape[1:])
    some = array[:, :COLUMNS] if array.ndim == 2 else _thinned(array)
    rows = spread(total, math.prod(some.shape[1:]) * max(1, array.itemsize // 8))
    return Table(
        kind or f"numpy.{'ma.' if isinstance(array, np.ma.MaskedArray) else ''}{type(data).__name__}",
        array.shape,
        rows=total,
        width=width,
        parts=parts,
        sample=array_parts(some[rows] if array.ndim else some, name)[:COLUMNS],
        looked_at=row_count(rows, total),
    )


def array_parts(array: NDArray[Any], name: str, first: int = 0) -> list[ColumnGroup]:
    """The parts of an array, one for each field however deep, their columns counted from `first`."""
    if array.dtype.names is None:
        return [array_part(array, name, first)]
    parts: list[ColumnGroup] = []
    for key in array.dtype.names:
        parts += array_parts(array[key], key, first + sum(len(part.columns) for part in parts))
    return parts


def array_part(array: NDArray[Any], name: str, first: int) -> ColumnGroup:
    """An array without fields, its columns counted from `first`."""
    wide = array.shape[1] if array.ndim == 2 else 1
    names = [name] if wide == 1 else map(str, range(min(wide, COLUMNS)))
    data, mask = np.ma.getdata(array), None
    if np.ma.getmask(array) is not np.ma.nomask:
        mask = np.ma.getmaskarray(array)

    def cut(start: int, stop: int) -> CellValues:
        return CellValues(_flat(data, start, stop), None if mask is None else _flat(mask, start, stop))

    return ColumnGroup(dict(enumerate(names, first)), spelled(array.dtype), array.size, cut, unit(array.dtype))


def _flat(array: NDArray[Any], start: int, stop: int) -> NDArray[Any]:
    """Cells in C order, copying no more than these: `ndarray.flat` does the same ten times slower."""
    if array.flags.c_contiguous:
        return array.reshape(-1)[start:stop]
    if array.ndim == 1:
        return array[start:stop]
    width = array[0].size
    first, last = start // width, -(-stop // width)
    if width <= stop - start:
        cells = np.ascontiguousarray(array[first:last]).reshape(-1)
        return cells[start - first * width : stop - first * width]
    ends = [(row, max(start - row * width, 0), min(stop - row * width, width)) for row in range(first, last)]
    return np.concatenate([_flat(array[row], begin, end) for row, begin, end in ends])


def _thinned(array: NDArray[Any]) -> NDArray[Any]:
    """A view with rows of at most `CELLS` values."""
    for axis in range(1, array.ndim):
        step = max(1, math.ceil(math.prod(array.shape[1:]) / CELLS))
        array = array[(slice(None),) * axis + (slice(None, None, step),)]
    return array


def spelled(dtype: np.dtype[Any]) -> str:
    """The dtype's name without its byte order."""
    return str(dtype if dtype.kind in "OTV" else dtype.newbyteorder("="))


def unit(dtype: np.dtype[Any]) -> int | None:
    """Bytes of a value; None for objects and texts of any length."""
    return None if dtype.kind in "OT" else dtype.itemsize


def _estimated(part: ColumnGroup) -> int:
    """Bytes of objects, estimated from the first, the middle and the last of them; at least one each."""
    near, length = 64, part.length
    starts = (0, (length - near) // 2, length - near)
    spans = [(start, start + near) for start in starts] if length > 3 * near else [(0, length)]
    size = sum(_size(part.read(start, stop).values) for start, stop in spans)
    return max(length, size * length // max(1, sum(stop - start for start, stop in spans)))


def _size(values: NDArray[Any]) -> int:
    return sum(_object_size(value) for value in values.reshape(-1).tolist())


def _object_size(value: object, depth: int = 3) -> int:
    """About what an object takes. Values in a container are taken to be like its first one."""
    if isinstance(value, np.ndarray):
        return int(value.nbytes)
    if isinstance(value, (str, bytes)):
        return 48 + len(value)
    if isinstance(value, (list, tuple, dict)) and value and depth:
        first = next(iter(value.values() if isinstance(value, dict) else value))
        return 48 + len(value) * _object_size(first, depth - 1)
    return 32


def label(name: object) -> str:
    """A column's name as text, joined with dots where it has levels."""
    return ".".join(map(str, name)) if isinstance(name, tuple) else str(name)


def numbered(keys: Iterable[Any]) -> list[tuple[int, Any]]:
    """The columns that are described, with their positions."""
    return list(itertools.islice(enumerate(keys), COLUMNS))


def object_array(values: Sequence[Any]) -> NDArray[Any]:
    """One dimension always, where `np.array` would look into nested lists."""
    return np.fromiter(values, dtype=object, count=len(values))


def unread(schema: Mapping[str, str]) -> list[ColumnGroup]:
    """Columns of which only name and dtype are known."""
    nothing = CellValues(np.empty(0), None)
    return [ColumnGroup({i: name}, schema[name], 0, lambda start, stop: nothing, 0) for i, name in numbered(schema)]
