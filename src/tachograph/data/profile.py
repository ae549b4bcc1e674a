"""Statistics of columns: numbers in blocks of many columns at once, everything else column by column.

Texts are kept where they are categories: values that repeat, and don't point to a person. Of names, addresses and free
text only lengths and kinds of characters are kept. A digest in their place would not do: what comes from a small set, a
phone number or a name, is found by trying all.
"""

from __future__ import annotations

import datetime
import itertools
import math
from collections import Counter
from collections.abc import Collection, Sequence
from decimal import Decimal
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tachograph import values as plain
from tachograph.data.fingerprint import Column
from tachograph.data.table import CellValues, ColumnGroup
from tachograph.redaction import is_private_name, is_private_text

BINS = 10
QUANTILES = {"p5": 0.05, "p25": 0.25, "p50": 0.5, "p75": 0.75, "p95": 0.95}
TOP = 20  # values named with their counts,
REPEATS = 2  # if each value occurs so often on average,
SHARE = 100  # and this one at least once in so many rows: rarer ones say little, and more of single rows
CLASSES = 100  # more are no classes
SHOWN = 64  # characters of a value that are shown
COMPARED = 1024  # characters of a value that are compared: a column of documents must not cost more than one of words


def columns(parts: Sequence[ColumnGroup]) -> list[Column]:
    """The columns of a sample, in the data's own order."""
    by_position = {
        position: column for part in parts for position, column in zip(part.columns, _describe(part), strict=True)
    }
    return [_shown(by_position[position]) for position in sorted(by_position)]


def _shown(column: Column) -> Column:
    """The column; of one with a private name only that name, its dtype and how much is missing."""
    return Column(column.name, column.dtype, missing=column.missing) if is_private_name(column.name) else column


def is_category(column: Column, value: object) -> bool:
    """Whether ``value`` is one of the categories that are kept of its column."""
    return _clean(_label(value)[:SHOWN]) in column.top


def classes(parts: Sequence[ColumnGroup]) -> dict[str, int] | None:
    """Class balance of a sample of one column; None where it is none: several columns, fractions, over 100 values,
    values that don't repeat, a private name."""
    if len(parts) != 1 or len(parts[0].columns) != 1 or not parts[0].length:
        return None
    if any(map(is_private_name, parts[0].columns.values())):
        return None
    cells = _read(parts[0])
    if cells.values.dtype.kind not in "biufOSTU":  # dates have no classes, though numpy makes numbers of some
        return None
    values = _present(cells, 0)
    kinds = set(map(type, values))
    if not kinds or not all(issubclass(kind, _CLASS_TYPES) for kind in kinds):
        return None
    counts = Counter(values)
    if len(counts) > CLASSES or not all(map(_is_whole, counts)) or not are_classes(counts, len(values)):
        return None
    named: dict[str, int] = {}
    for value, count in sorted(counts.items(), key=_class_order):
        name = _clean(_label(int(value) if isinstance(value, float) else value)[:SHOWN])
        named[name] = named.get(name, 0) + count
    return named


def are_classes(distinct: Collection[object], total: int) -> bool:
    """Whether so many distinct values among `total` may be named: they repeat, or are two numbers such as 0 and 1."""
    texts = [_label(value) for value in distinct if isinstance(value, (str, bytes))]
    repeat = len(distinct) * REPEATS <= total or (not texts and len(distinct) <= 2)
    return repeat and not any(map(is_private_text, texts))


_CLASS_TYPES = (str, bytes, int, float, np.integer, np.bool_)


def _is_whole(value: object) -> bool:
    """Whole numbers are classes also where a framework keeps them as floats."""
    return not isinstance(value, float) or value.is_integer()


def _class_order(item: tuple[Any, int]) -> tuple[bool, Any]:
    """Numbers by size, then texts."""
    value = item[0]
    is_text = isinstance(value, (str, bytes))
    return is_text, _label(value) if is_text else value


def _read(part: ColumnGroup) -> CellValues:
    """The part as one row for each column."""
    values, missing = part.read(0, part.length)
    count = len(part.columns)
    return CellValues(values.reshape(-1, count).T, None if missing is None else missing.reshape(-1, count).T)


def _describe(part: ColumnGroup) -> list[Column]:
    dtype = _clean(plain.dtype(part.dtype)[:SHOWN])
    names = [(_clean(name), dtype) for name in part.columns.values()]
    if not part.length:
        return [Column(*name) for name in names]
    cells = _read(part)
    match cells.values.dtype.kind:
        case "i" | "u" | "f" | "m":
            return _numbers(names, _floats(cells))
        case "M":
            return [_dates(*name, row) for name, row in zip(names, cells.values, strict=True)]
        case "c" | "V":
            return [_uncounted(*name, row) for name, row in zip(names, cells.values, strict=True)]
        case _:
            return [_objects(*name, cells, i) for i, name in enumerate(names)]


def _floats(cells: CellValues) -> NDArray[np.float64]:
    """A float64 copy, one row for each column, with NaN for what is missing."""
    with np.errstate(all="ignore"):
        if cells.values.dtype.kind == "m":
            floats = _seconds(cells.values)
        else:
            floats = np.array(cells.values, dtype=np.float64, order="C")
    if cells.missing is not None:
        floats[cells.missing] = np.nan
    return floats


def _seconds(values: NDArray[Any]) -> NDArray[np.float64]:
    """Durations in seconds; numpy itself would refuse years, and overflow with attoseconds."""
    unit, count = np.datetime_data(values.dtype)
    seconds = np.array(values.astype(np.int64) * (_SECONDS.get(unit, 1.0) * count), order="C")
    seconds[np.isnat(values)] = np.nan
    return seconds


_SECONDS = {"Y": 31556952.0, "M": 2629746.0, "W": 604800.0, "D": 86400.0, "h": 3600.0, "m": 60.0}
_SECONDS |= {"ms": 1e-3, "us": 1e-6, "ns": 1e-9, "ps": 1e-12, "fs": 1e-15, "as": 1e-18}


def _numbers(names: list[tuple[str, str]], block: NDArray[np.float64]) -> list[Column]:
    """Statistics of a block, one row for each column. The block is changed by it."""
    missing = np.isnan(block).sum(axis=1)
    infinite = np.isinf(block).sum(axis=1)
    zeros = (block == 0).sum(axis=1)
    block[~np.isfinite(block)] = np.nan
    block.sort(axis=1)  # what is NaN comes last
    counts = block.shape[1] - missing - infinite
    rows = np.flatnonzero(counts)
    columns = [Column(*name) for name in names]
    for column, column_missing, column_infinite in zip(columns, missing.tolist(), infinite.tolist(), strict=True):
        column.missing, column.infinite = column_missing, column_infinite
    if len(rows):
        _fill([columns[i] for i in rows], block[rows], counts[rows], zeros[rows])
    return columns


def _fill(columns: list[Column], block: NDArray[np.float64], counts: NDArray[Any], zeros: NDArray[Any]) -> None:
    """Statistics of sorted rows which have `counts` numbers each, at least one, before the NaNs.

    Every row is scaled by a power of two, which is exact, so that sums and squares of huge numbers do not overflow.
    """
    with np.errstate(all="ignore"):
        low, high = block[:, 0], np.take_along_axis(block, counts[:, None] - 1, axis=1)[:, 0]
        scale = np.ldexp(1.0, np.frexp(np.maximum(np.abs(low), np.abs(high)))[1] - 1)
        block = block / scale[:, None]
        means, deviations = _moments(block, counts)
        quantiles = _quantiles(block, counts) * scale[:, None]
        steps = np.linspace(0.0, 1.0, BINS + 1)
        edges = (low / scale)[:, None] * (1 - steps) + (high / scale)[:, None] * steps
        facts = np.column_stack((low, high, means * scale, deviations * scale, zeros / counts)).tolist()
        shown_edges = (edges * scale[:, None]).tolist()
    for i, (column, quantile) in enumerate(zip(columns, quantiles.tolist(), strict=True)):
        fact: list[float | None] = [value if math.isfinite(value) else None for value in facts[i]]
        column.min, column.max, column.mean, column.std, column.zeros = fact
        column.quantiles = dict(zip(QUANTILES, quantile, strict=True))
        column.edges, column.counts = _histogram(block[i, : counts[i]], edges[i], shown_edges[i])


def _moments(block: NDArray[np.float64], counts: NDArray[Any]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    outside = np.arange(block.shape[1]) >= counts[:, None] if (counts < block.shape[1]).any() else None
    inside = block if outside is None else np.where(outside, 0.0, block)
    means = inside.sum(axis=1) / counts
    apart = inside - means[:, None]
    if outside is not None:
        apart[outside] = 0.0
    return means, np.sqrt(np.einsum("ij,ij->i", apart, apart) / counts)


def _quantiles(block: NDArray[np.float64], counts: NDArray[Any]) -> NDArray[np.float64]:
    """Linear interpolation between the two nearest values, as `numpy.quantile` does."""
    positions = (counts[:, None] - 1) * np.array(list(QUANTILES.values()))
    below = positions.astype(np.intp)
    lower = np.take_along_axis(block, below, axis=1)
    upper = np.take_along_axis(block, np.minimum(below + 1, counts[:, None] - 1), axis=1)
    between: NDArray[np.float64] = lower + (upper - lower) * (positions - below)
    return between


def _histogram(
    row: NDArray[np.float64], edges: NDArray[np.float64], shown: list[float]
) -> tuple[list[float], list[int]]:
    """The edges as they are shown, and counts between them in a sorted row; one bin where all values are equal."""
    if row[0] == row[-1]:
        return [shown[0], shown[-1]], [len(row)]
    ends = [0, *row.searchsorted(edges[1:-1]).tolist(), len(row)]
    return shown, [b - a for a, b in itertools.pairwise(ends)]


def _dates(name: str, dtype: str, values: NDArray[Any]) -> Column:
    present = values[~np.isnat(values)]
    column = Column(name, dtype, missing=len(values) - len(present))
    if len(present):
        column.min, column.max = str(present.min()), str(present.max())
    return column


def _uncounted(name: str, dtype: str, values: NDArray[Any]) -> Column:
    missing = int(np.isnan(values).sum()) if values.dtype.kind == "c" else 0
    return Column(name, dtype, missing=missing)


def _objects(name: str, dtype: str, cells: CellValues, i: int) -> Column:
    """The column of objects: described as numbers or dates where all of them are such, else by counting equal ones."""
    values = _present(cells, i)
    missing = cells.values.shape[1] - len(values)
    kinds = set(map(type, values))
    if kinds and all(map(_is_number, kinds)) and (floats := _as_floats(values)) is not None:
        column = _numbers([(name, dtype)], floats)[0]
        column.missing += missing
        return column
    if kinds and all(issubclass(kind, datetime.date) for kind in kinds):
        texts = [value.isoformat() for value in values]
        return Column(name, dtype, missing=missing, min=min(texts), max=max(texts))
    return _counted(Column(name, dtype, missing=missing), values, kinds)


def _is_number(kind: type) -> bool:
    return issubclass(kind, (int, float, Decimal, np.integer, np.floating)) and kind is not bool


def _as_floats(values: list[Any]) -> NDArray[np.float64] | None:
    try:
        return np.array([[float(value) for value in values]])
    except (OverflowError, ValueError):  # an integer beyond float64; a signalling NaN
        return None


def _counted(column: Column, values: list[Any], kinds: set[type]) -> Column:
    counts = Counter(value[:COMPARED] for value in values) if kinds == {str} else Counter(map(_label, values))
    column.distinct = len(counts)
    if kinds == {bool}:
        column.top = dict(counts.most_common())
    elif column.distinct * REPEATS <= len(values):
        column.top = _frequent(counts, len(values))
    if not column.top and kinds and kinds <= {str, bytes}:
        column.lengths = _lengths(values)
        column.forms = dict(Counter(map(_form, values)).most_common())
    return column


def _frequent(counts: Counter[str], total: int) -> dict[str, int]:
    """The most frequent categories, as they are shown."""
    top: dict[str, int] = {}
    for value, count in counts.most_common(TOP):
        if count * SHARE >= total and count >= REPEATS and not is_private_text(value):
            shown = _clean(value[:SHOWN])
            top[shown] = top.get(shown, 0) + count
    return top


def _lengths(texts: Sequence[str | bytes]) -> dict[str, float]:
    shares = {"min": 0.0, **QUANTILES, "max": 1.0}
    quantiles = np.quantile(np.fromiter(map(len, texts), dtype=np.float64), list(shares.values()))
    return dict(zip(shares, quantiles.tolist(), strict=True))


def _form(text: str | bytes) -> str:
    """What kind of characters a text is made of."""
    head = text[:SHOWN]
    if not head:
        return "empty"
    if head.isdigit():
        return "digits"
    return "letters" if head.isalpha() else "letters and digits" if head.isalnum() else "other"


def _label(value: object) -> str:
    """The value as text; of a type that we do not know its name, since its own text may be long or costly."""
    if isinstance(value, str):
        return value[:COMPARED]
    if isinstance(value, bytes):
        return value[:COMPARED].decode(errors="replace")
    if type(value) is int and value.bit_length() > COMPARED:
        return hex(value)  # Python refuses to spell longer ones in decimals
    if isinstance(value, (bool, int, float, Decimal, datetime.date, datetime.time, np.generic)):
        return str(value)
    return f"<{type(value).__name__}>"


def _clean(text: str) -> str:
    """Without lone surrogates, which JSON cannot carry."""
    return text if text.isascii() else text.encode(errors="replace").decode()


def _present(cells: CellValues, i: int) -> list[Any]:
    """The values in row `i` that are not missing, as Python's own types."""
    values = cells.values[i] if cells.missing is None else cells.values[i][~cells.missing[i]]
    plain: list[Any] = values.tolist()
    kinds = set(map(type, plain))
    if kinds <= {str, bytes, int, bool}:
        return plain
    if kinds == {float}:
        return [value for value in plain if value == value]
    return [value for value in plain if type(value) is str or not _absent(value)]


def _absent(value: object) -> bool:
    if value is None or type(value).__name__ in ("NAType", "NaTType"):
        return True
    return isinstance(value, (float, np.floating)) and bool(value != value)
