"""What is remembered of a DMatrix. What it doesn't store is missing, not zero."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray
from xgboost.core import XGBoostError

from tachograph.capture import kinds
from tachograph.capture.tables import COLUMNS, Cells, Part, Table, array_part, row_count, spread, unread
from tachograph.run import Run

_ENTRY = 8  # bytes of a stored value: its column and itself


def register() -> None:
    """Let ``log_dataset`` know matrices."""
    kinds._READERS["xgboost", "DMatrix"] = read


def record(run: Run, matrix: Any, name: str, role: str) -> None:
    """Record a matrix with what is to be learned from it."""
    run.log_dataset(matrix, name=name, role=role, target=_target(matrix))


def read(matrix: Any, name: str) -> Table:
    """The matrix row by row; one that is quantized or lies outside of memory only by what it says of itself."""
    rows, width, stored = matrix.num_row(), matrix.num_col(), matrix.num_nonmissing()
    names, types = _columns(matrix, min(width, COLUMNS))
    table = Table(f"xgboost.{type(matrix).__name__}", (rows, width), rows, width, density=stored / max(1, rows * width))
    if not _has_rows(matrix):
        return replace(table, sample=unread(dict(zip(names, types, strict=True))))
    chosen = spread(rows, max(len(names), stored // rows))
    sample = _written_out(matrix.get_data() if isinstance(chosen, slice) else _rows(matrix, chosen), len(names))
    unit = max(1, stored * _ENTRY // rows)
    whole = Part(dict(enumerate(names)), "float32", rows, partial(_content, matrix), unit)
    return replace(table, parts=[whole], sample=_by_type(sample, names, types), looked_at=row_count(chosen, rows))


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


def _has_rows(matrix: Any) -> bool:
    if not matrix.num_row():
        return False
    try:
        _rows(matrix, np.zeros(1, np.int64))
    except XGBoostError:
        return False
    return True


def _rows(matrix: Any, chosen: NDArray[np.int64]) -> Any:
    """Some rows, as a CSR matrix."""
    return matrix.slice(chosen.astype(np.int32), allow_groups=True).get_data()


def _content(matrix: Any, start: int, stop: int) -> Cells:
    """The bytes of some rows: how many values each stores, in which columns, and the values."""
    rows = _rows(matrix, np.arange(start, stop))
    arrays = (np.diff(rows.indptr).astype("<i8"), rows.indices.astype("<i8"), rows.data.astype("<f4"))
    return Cells(np.concatenate([array.view(np.uint8) for array in arrays]), None)


def _written_out(rows: Any, width: int) -> NDArray[np.float32]:
    """A bounded number of rows as an array."""
    dense = np.full((rows.shape[0], width), np.nan, np.float32)
    places = np.repeat(np.arange(rows.shape[0]), np.diff(rows.indptr))
    shown = rows.indices < width
    dense[places[shown], rows.indices[shown]] = rows.data[shown]
    return dense


def _by_type(sample: NDArray[np.float32], names: list[str], types: list[str]) -> list[Part]:
    parts = []
    for kind in dict.fromkeys(types):
        places = [i for i, other in enumerate(types) if other == kind]
        part = array_part(np.ascontiguousarray(sample[:, places]), "", 0)
        parts.append(replace(part, columns={i: names[i] for i in places}, dtype=kind))
    return parts
