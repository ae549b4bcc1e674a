"""How a DMatrix is described. Values that it doesn't store are missing, not zero."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray
from xgboost.core import XGBoostError

from tachograph.data import readers
from tachograph.data.table import (
    COLUMNS,
    LIMIT,
    CellValues,
    ColumnGroup,
    Rows,
    Table,
    array_part,
    row_count,
    spread,
    unread,
)
from tachograph.record.run import Run

_ENTRY = 8  # bytes of a stored value: its column and itself


def register() -> None:
    """Let ``log_dataset`` describe matrices."""
    readers.register("xgboost", "DMatrix", read)


def record(run: Run, matrix: Any, name: str, role: str) -> None:
    """Record a matrix with what is to be learned from it."""
    run.recorder.log_training_data(matrix, name=name, role=role, target=_target(matrix))


def read(matrix: Any, name: str) -> Table:
    """A matrix as a table; without its values if it is quantized or lies outside of memory."""
    rows, width, stored = matrix.num_row(), matrix.num_col(), matrix.num_nonmissing()
    names, types = _columns(matrix, min(width, COLUMNS))
    kind = f"xgboost.{type(matrix).__name__}"
    table = Table(kind, (rows, width), rows, width, density=stored / max(1, rows * width))
    described = replace(table, sample=unread(dict(zip(names, types, strict=True))))
    if not rows or "QuantileDMatrix" in kind:
        return described
    chosen = spread(rows, max(len(names), stored // rows))
    try:
        parts, some_rows = _content_and_sample(matrix, chosen, stored)
    except XGBoostError:  # it lies outside of memory
        return described
    parts[0] = replace(parts[0], columns=dict(enumerate(names)))
    sample = _by_type(_written_out(some_rows, len(names)), names, types)
    return replace(table, parts=parts, sample=sample, looked_at=row_count(chosen, rows))


def _content_and_sample(matrix: Any, chosen: Rows, stored: int) -> tuple[list[ColumnGroup], Any]:
    rows = matrix.num_row()
    if stored * _ENTRY <= LIMIT:
        whole = _unpacked(matrix.get_data())
        return _arrays(whole), whole if isinstance(chosen, slice) else whole[chosen]
    part = ColumnGroup({}, "rows", rows, partial(_content, matrix), stored * _ENTRY // rows)
    return [part], _rows(matrix, np.arange(rows)[chosen])


def _target(matrix: Any) -> NDArray[Any] | None:
    labels: NDArray[Any] = matrix.get_label()
    if not labels.size:  # survival times lie between two bounds
        bounds = [matrix.get_float_info(f"label_{end}_bound") for end in ("lower", "upper")]
        return np.column_stack(bounds) if bounds[0].size else None
    return labels.reshape(matrix.num_row(), -1) if labels.size > matrix.num_row() else labels


def _columns(matrix: Any, count: int) -> tuple[list[str], list[str]]:
    names = matrix.feature_names or [f"f{i}" for i in range(count)]
    types = matrix.feature_types or ["float32"] * count
    return list(map(str, names[:count])), list(map(str, types[:count]))


def _rows(matrix: Any, chosen: NDArray[np.int64]) -> Any:
    """The rows ``chosen``, in their order."""
    return _unpacked(matrix.slice(chosen.astype(np.int32), allow_groups=True).get_data())


def _unpacked(rows: Any) -> Any:
    """A CSR matrix as it is, or as the array that it is where nothing is missing."""
    complete = rows.nnz == rows.shape[0] * rows.shape[1] and rows.has_sorted_indices
    return rows.data.reshape(rows.shape) if complete else rows


def _arrays(rows: Any) -> list[ColumnGroup]:
    """The content of rows: of CSR how many values each stores, in which columns, and the values."""
    if isinstance(rows, np.ndarray):
        return [array_part(rows, "", 0)]
    arrays = (np.diff(rows.indptr).astype(np.int64), rows.indices.astype(np.int32, copy=False), rows.data)
    return [array_part(array, "", 0) for array in arrays]


def _content(matrix: Any, start: int, stop: int) -> CellValues:
    """The rows from ``start`` to ``stop`` as bytes."""
    parts = _arrays(_rows(matrix, np.arange(start, stop)))
    arrays = [part.read(0, part.length).values for part in parts]
    little = [array.astype(array.dtype.newbyteorder("<"), copy=False).view(np.uint8) for array in arrays]
    return CellValues(np.concatenate(little), None)


def _written_out(rows: Any, width: int) -> NDArray[np.float32]:
    """Rows as a dense array, NaN where nothing is stored."""
    if isinstance(rows, np.ndarray):
        return rows[:, :width]
    dense = np.full((rows.shape[0], width), np.nan, np.float32)
    row_numbers = np.repeat(np.arange(rows.shape[0]), np.diff(rows.indptr))
    shown = rows.indices < width
    dense[row_numbers[shown], rows.indices[shown]] = rows.data[shown]
    return dense


def _by_type(sample: NDArray[np.float32], names: list[str], types: list[str]) -> list[ColumnGroup]:
    parts = []
    for kind in dict.fromkeys(types):
        indexes = [i for i, other in enumerate(types) if other == kind]
        part = array_part(sample if len(indexes) == len(names) else sample[:, indexes], "", 0)
        parts.append(replace(part, columns={i: names[i] for i in indexes}, dtype=kind))
    return parts
