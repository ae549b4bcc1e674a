"""Frames of pandas, polars and arrow, as tables. None of these is imported here: whoever has a frame has its
library."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable, Sequence, Sized
from functools import partial
from typing import Any

import numpy as np

from tachograph.data.table import (
    COLUMNS,
    READS,
    CellValues,
    ColumnGroup,
    Table,
    label,
    object_array,
    row_count,
    spelled,
    spread,
    unit,
    unread,
)

Cut = Callable[[list[int], int, int], CellValues]  # columns at these positions, rows from, rows up to


def _grouped(dtypes: Iterable[Hashable]) -> dict[str, list[int]]:
    """Places of the columns of each dtype: a few reads of many columns instead of many reads of one."""
    groups: dict[str, list[int]] = {}
    for position, dtype in enumerate(dtypes):
        groups.setdefault(str(dtype), []).append(position)
    return groups


def _stacked(columns: Sequence[CellValues]) -> CellValues:
    values = np.stack([cells.values for cells in columns], axis=1)
    if all(cells.missing is None for cells in columns):
        return CellValues(values, None)
    masks = [np.zeros(len(values), bool) if cells.missing is None else cells.missing for cells in columns]
    return CellValues(values, np.stack(masks, axis=1))


def _row_unit(dtype: np.dtype[Any], columns: Sized) -> int | None:
    size = unit(dtype)
    return None if size is None else size * len(columns)


def _one_by_one(length: int, columns: dict[int, str], dtype: str, plain: np.dtype[Any], cut: Cut) -> list[ColumnGroup]:
    """Parts of columns which can only be read one by one: those that are read, and the rest, too many to be read."""
    near, far = dict(list(columns.items())[:COLUMNS]), dict(list(columns.items())[COLUMNS:])
    parts = [
        ColumnGroup(near, dtype, length, partial(cut, list(near)), _row_unit(plain, near), max(1, READS // len(near)))
    ]
    if far:
        parts.append(ColumnGroup(far, dtype, length, partial(cut, []), _row_unit(plain, far) or 32 * len(far), cuts=0))
    return parts


def pandas_frame(frame: Any, name: str) -> Table:
    length, width = frame.shape
    rows = spread(length, min(width, COLUMNS))
    return Table(
        f"pandas.{type(frame).__name__}",
        (length, width),
        rows=length,
        width=width,
        parts=_pandas_parts(frame),
        sample=_pandas_parts(frame.iloc[:, :COLUMNS].iloc[rows]),
        looked_at=row_count(rows, length),
    )


def pandas_series(series: Any, name: str) -> Table:
    rows = spread(len(series), 1)
    frame = series.to_frame(name if series.name is None else series.name)
    return Table(
        f"pandas.{type(series).__name__}",
        (len(series),),
        rows=len(series),
        width=1,
        parts=_pandas_parts(frame),
        sample=_pandas_parts(frame.iloc[rows]),
        looked_at=row_count(rows, len(series)),
    )


def _pandas_parts(frame: Any) -> list[ColumnGroup]:
    names = list(map(label, frame.columns))
    dtypes = list(frame.dtypes)
    groups = _grouped(dtypes)
    parts: list[ColumnGroup] = []
    for positions in groups.values():
        columns = {position: names[position] for position in positions}
        parts += _pandas_group(frame, columns, dtypes[positions[0]], alone=len(groups) == 1)
    return parts


def _pandas_group(frame: Any, columns: dict[int, str], dtype: Any, alone: bool) -> list[ColumnGroup]:
    every = list(columns)

    def cut(start: int, stop: int) -> CellValues:
        rows = frame.iloc[start:stop]
        return CellValues((rows if alone else rows.iloc[:, every]).to_numpy(), None)

    def cut_each(positions: list[int], start: int, stop: int) -> CellValues:
        rows = frame.iloc[start:stop]
        return _stacked([_pandas_cells(rows.iloc[:, position], dtype) for position in positions])

    if isinstance(dtype, np.dtype):
        return [ColumnGroup(columns, spelled(dtype), len(frame), cut, _row_unit(dtype, columns))]
    return _one_by_one(len(frame), columns, str(dtype), _pandas_plain(dtype), cut_each)


def _pandas_plain(dtype: Any) -> np.dtype[Any]:
    """What one of pandas' own dtypes, known by what it offers, is in numpy."""
    if hasattr(dtype, "tz"):
        return np.dtype(f"datetime64[{dtype.unit}]")
    if hasattr(dtype, "subtype") and hasattr(dtype, "fill_value"):  # sparse
        subtype: np.dtype[Any] = np.dtype(dtype.subtype)
        return subtype
    plain: np.dtype[Any] = np.dtype(getattr(dtype, "numpy_dtype", object))  # nullable and arrow numbers
    return plain if plain.kind in "iufb" else np.dtype(object)  # texts, categories, intervals, ...


def _pandas_cells(series: Any, dtype: Any) -> CellValues:
    plain = _pandas_plain(dtype)
    if hasattr(dtype, "numpy_dtype") and plain.kind != "O":
        return CellValues(series.to_numpy(dtype=plain, na_value=plain.type(0)), series.isna().to_numpy())
    return CellValues(series.to_numpy(dtype=plain), None)


def polars_frame(frame: Any, name: str) -> Table:
    length, width = frame.shape
    rows = spread(length, min(width, COLUMNS))
    head = frame[:, :COLUMNS]
    sample = _polars_parts(head if isinstance(rows, slice) else head[rows])
    return Table(
        "polars.DataFrame", (length, width), length, width, _polars_parts(frame), sample, row_count(rows, length)
    )


def polars_series(series: Any, name: str) -> Table:
    table = polars_frame(series.rename(series.name or name).to_frame(), name)
    return Table("polars.Series", (len(series),), len(series), 1, table.parts, table.sample, table.looked_at)


def polars_lazy(frame: Any, name: str) -> Table:
    schema = {name: str(dtype) for name, dtype in frame.collect_schema().items()}
    return Table("polars.LazyFrame", (), None, len(schema), None, unread(schema))


def _polars_parts(frame: Any) -> list[ColumnGroup]:
    def cut(positions: list[int], start: int, stop: int) -> CellValues:
        rows = frame.slice(start, stop - start)
        return _stacked([_polars_cells(rows.to_series(position)) for position in positions])

    parts: list[ColumnGroup] = []
    for dtype, positions in _grouped(frame.dtypes).items():
        columns = {position: frame.columns[position] for position in positions}
        parts += _one_by_one(len(frame), columns, dtype, _polars_plain(frame.dtypes[positions[0]]), cut)
    return parts


_POLARS_PLAIN = {"Boolean": "?", "Float32": "f4", "Float64": "f8", "Date": "M8", "Datetime": "M8", "Duration": "m8"} | {
    f"{sign}Int{8 * size}": f"{code}{size}" for sign, code in (("", "i"), ("U", "u")) for size in (1, 2, 4, 8)
}


def _polars_plain(dtype: Any) -> np.dtype[Any]:
    return np.dtype(_POLARS_PLAIN.get(str(dtype).partition("(")[0], object))


def _polars_cells(series: Any) -> CellValues:
    plain = _polars_plain(series.dtype)
    if plain.kind in "iufb" and series.null_count():  # to_numpy would make floats of integers with nulls
        return CellValues(series.fill_null(plain.type(0).item()).to_numpy(), series.is_null().to_numpy())
    return CellValues(object_array(series.to_list()) if plain.kind == "O" else series.to_numpy(), None)


def arrow_table(data: Any, name: str) -> Table:
    schema = {entry.name: str(entry.type) for entry in data.schema}
    rows, width = data.shape
    return Table(f"pyarrow.{type(data).__name__}", (rows, width), rows, width, None, unread(schema))
