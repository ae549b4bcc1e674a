"""Reading data sets of every kind: each is brought into a table, here or (frames) by
:mod:`tachograph.data.dataframes`."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence, Sized
from dataclasses import replace
from itertools import islice
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tachograph.data import dataframes
from tachograph.data.table import (
    COLUMNS,
    LIMIT,
    CellValues,
    ColumnGroup,
    Rows,
    Table,
    array_part,
    array_parts,
    array_table,
    label,
    numbered,
    object_array,
    row_count,
    spread,
    unread,
)
from tachograph.values import class_name

Reader = Callable[[Any, str], Table]

ARRAYS = 100  # a list of so few arrays is hashed array by array, and so in bounded time however large they are


def read(data: object, name: str = "values") -> Table:
    """The table behind a data set of any kind; `name` is for a single column which has none."""
    if type(data) is dict:  # what is made of one (a sparse format, a set of data sets) is something else
        return _dict(data, name)
    for kind in type(data).__mro__:
        reader = _READERS.get((kind.__module__.partition(".")[0], kind.__name__))
        if reader is not None:
            return reader(data, name)
    return _other(data, name)


def register(package: str, name: str, reader: Reader) -> None:
    """Read objects of the class ``name`` of a package by ``reader(data, name)``, unless that class has a reader
    already."""
    _READERS.setdefault((package, name), reader)


def _sparse(data: Any, name: str) -> Table:
    """Sparse matrices stay sparse: only a sample of bounded size is written out, implied zeros included.

    Up to `LIMIT` bytes the digest is of the canonical CSR form, the same for every sparse format. Above that it is of
    the stored arrays as they are, and only CSR has statistics: no other format has cheap rows.
    """
    shape: tuple[int, ...] = tuple(map(int, data.shape))
    kind = f"scipy.sparse.{type(data).__name__}"
    density = data.nnz / max(1, math.prod(shape))
    if len(shape) != 2:
        return Table(kind, shape, shape[0], math.prod(shape[1:]), density=density)
    small = data.nnz * (data.dtype.itemsize + 8) <= LIMIT
    matrix = _canonical(data) if small else data
    rows = spread(shape[0], max(min(shape[1], COLUMNS), data.nnz // max(1, shape[0])))
    rowwise = matrix.format == "csr"
    sample = array_parts(_written_out(matrix, rows), name) if rowwise else []
    looked_at = row_count(rows, shape[0]) if rowwise else 0
    return Table(kind, shape, shape[0], shape[1], _stored(matrix), sample, looked_at, density, matrix.format)


def _canonical(data: Any) -> Any:
    matrix = data.tocsr(copy=True)  # a copy: the data's own order of indices is not ours to change
    matrix.sum_duplicates()
    index = np.int64 if max(matrix.nnz, *matrix.shape) > np.iinfo(np.int32).max else np.int32
    matrix.indices = matrix.indices.astype(index, copy=False)
    matrix.indptr = matrix.indptr.astype(index, copy=False)
    return matrix


def _written_out(matrix: Any, rows: Rows) -> NDArray[Any]:
    some = matrix if isinstance(rows, slice) else matrix[rows]
    dense: NDArray[Any] = (some[:, :COLUMNS] if some.shape[1] > COLUMNS else some).toarray()
    return dense


def _stored(matrix: Any) -> list[ColumnGroup] | None:
    """The arrays that a format keeps; None for one which keeps Python objects."""
    arrays = [getattr(matrix, name, None) for name in ("indptr", "indices", "row", "col", "offsets", "data")]
    if matrix.format not in ("csr", "csc", "bsr", "coo", "dia"):
        return None
    return [array_part(array.reshape(-1), "values", 0) for array in arrays if array is not None]


def _list(data: Sequence[Any], name: str) -> Table:
    first = data[0] if data else None
    width = len(first) if isinstance(first, (list, tuple, dict)) else 1
    rows = spread(len(data), min(width, COLUMNS))
    sample = _item_columns(list(data) if isinstance(rows, slice) else [data[i] for i in rows.tolist()], name)

    def cut(start: int, stop: int) -> CellValues:
        return CellValues(object_array(data[start:stop]), None)

    parts = [ColumnGroup({0: name}, "list", len(data), cut, None)]
    if len(data) <= ARRAYS and all(isinstance(item, np.ndarray) for item in data):
        parts = [part for i, item in enumerate(data) for part in array_parts(item, str(i))]
    shape = (len(data),) if len(sample) <= 1 else (len(data), max(width, len(sample)))
    looked_at = row_count(rows, len(data))
    return Table(type(data).__name__, shape, len(data), math.prod(shape[1:]), parts, sample, looked_at)


def _dict(data: Mapping[Any, Any], name: str) -> Table:
    """Columns by name, or arrays of several columns; without anything in common it is no table."""
    plain = [(label(key), value) for key, value in islice(data.items(), COLUMNS + 1) if not isinstance(value, Mapping)]
    whole = {key: read(value, key) for key, value in plain}
    tables = [(key, table) for key, table in whole.items() if table.rows is not None and table.width]
    lengths = {table.rows for _, table in tables}
    if not len(tables) == len(data) == len(whole) or len(lengths) != 1:
        return Table("dict", (), None, None)
    parts: list[ColumnGroup] = []
    sample: list[ColumnGroup] = []
    width = 0
    for key, table in tables:
        parts += [_named_for(key, part, table, width) for part in table.parts or ()]
        sample += [_named_for(key, part, table, width) for part in table.sample]
        width += table.width or 0
    is_readable = all(table.parts is not None for _, table in tables)
    looked_at = min(table.looked_at for _, table in tables)
    (rows,) = lengths
    return Table("dict", (rows or 0, width), rows, width, parts if is_readable else None, sample, looked_at)


def _named_for(key: str, part: ColumnGroup, table: Table, first: int) -> ColumnGroup:
    """A part of the table under ``key``, whose first column is number ``first``."""
    columns = {first + at: key if table.width == 1 else f"{key}.{name}" for at, name in part.columns.items()}
    return replace(part, columns=columns)


def _item_columns(items: list[Any], name: str) -> list[ColumnGroup]:
    """One column for each key, for each position of rows of equal length, or for all the items."""
    kinds = set(map(type, items))
    if kinds == {dict}:
        keys = dict.fromkeys(key for item in items for key in item)
        return [_item_column(i, label(key), [item.get(key) for item in items]) for i, key in numbered(keys)]
    if kinds and kinds <= {list, tuple} and len(set(map(len, items))) == 1:
        return [_item_column(i, str(i), [item[i] for item in items]) for i, _ in numbered(items[0])]
    return [_item_column(0, name, items)]


def _item_column(position: int, name: str, values: list[Any]) -> ColumnGroup:
    kinds = set(map(type, values)) - {type(None)}
    dtype = kinds.pop().__name__ if len(kinds) == 1 else "object"
    array = object_array(values)
    return ColumnGroup(
        {position: name}, dtype, len(values), lambda start, stop: CellValues(array[start:stop], None), None
    )


def _tensor(tensor: Any, name: str) -> Table:
    kind = f"torch.{type(tensor).__name__}"
    if tensor.device.type == "cpu" and str(tensor.layout) == "torch.strided":
        try:
            return array_table(tensor.detach().resolve_conj().resolve_neg().numpy(), name, kind)
        except (TypeError, RuntimeError):  # a dtype which numpy lacks, quantized, functional
            pass
    return _by_shape(kind, tuple(tensor.shape), name, str(tensor.dtype).removeprefix("torch."))


def _other(data: object, name: str) -> Table:
    kind = _qualified(type(data))
    shape = getattr(data, "shape", None)
    if not isinstance(shape, tuple) or not all(isinstance(length, int) for length in shape):
        shape = None
    if hasattr(type(data), "__array__") and (shape is None or _is_here(data, shape)):
        return array_table(np.asarray(data), name, kind)
    if shape is not None:
        return _by_shape(kind, shape, name, str(getattr(data, "dtype", "")))
    return Table(kind, (), _length(data), None)


def _is_here(data: object, shape: tuple[int, ...]) -> bool:
    """Whether reading the data neither moves it from a device, nor computes it, nor copies much."""
    device = getattr(data, "device", None)
    on_host = device is None or "cpu" in str(device).lower()
    return on_host and not hasattr(data, "__dask_graph__") and math.prod(shape) * 8 <= LIMIT


def _by_shape(kind: str, shape: tuple[int, ...], name: str, dtype: str) -> Table:
    rows, width = (shape[0], math.prod(shape[1:])) if shape else (1, 1)
    return Table(kind, shape, rows, width, None, unread({name: dtype}) if dtype else [])


def _length(data: object) -> int | None:
    if isinstance(data, (str, bytes, Mapping)) or not isinstance(data, Sized):
        return None
    try:
        return len(data)
    except TypeError:  # a loader over a stream has `__len__`, and no length
        return None


def _qualified(kind: type) -> str:
    return kind.__qualname__ if kind.__module__ == "builtins" else class_name(kind)


_READERS: dict[tuple[str, str], Reader] = {
    ("numpy", "ndarray"): array_table,
    ("pandas", "DataFrame"): dataframes.pandas_frame,
    ("pandas", "Series"): dataframes.pandas_series,
    ("polars", "DataFrame"): dataframes.polars_frame,
    ("polars", "Series"): dataframes.polars_series,
    ("polars", "LazyFrame"): dataframes.polars_lazy,
    ("scipy", "spmatrix"): _sparse,
    ("scipy", "sparray"): _sparse,
    ("scipy", "_sparray"): _sparse,  # before scipy 1.11
    ("torch", "Tensor"): _tensor,
    ("pyarrow", "Table"): dataframes.arrow_table,
    ("pyarrow", "RecordBatch"): dataframes.arrow_table,
    ("builtins", "list"): _list,
    ("builtins", "tuple"): _list,
}
