"""The signature of a model: names, shapes and dtypes of what goes in and comes out; if wanted, a few rows of it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from itertools import islice
from typing import Any

import msgspec

from tachograph import values
from tachograph.data.fingerprint import Column
from tachograph.redaction import REDACTED, is_private_name

_MOST_FIELDS = 1000
_EXAMPLE_FIELDS = 50
_EXAMPLE_BYTES = 4096
EXAMPLE_ROWS = 5
_LOOKED_AT = 1000  # rows in which repeating values are looked for


def signature(data: object) -> dict[str, dict[str, Any]]:
    """Shape and dtype of each field, by name: the columns of a frame; arrays and tensors, alone ("data") or in dicts,
    lists and tuples (by key or position). The first dimension of a shape, the rows, is None: it is free. Nothing is
    read of the values. Empty for what has neither shape nor dtype."""
    return dict(islice(_fields(data), _MOST_FIELDS))


def _fields(data: Any, name: str = "data") -> Iterator[tuple[str, dict[str, Any]]]:
    columns, dtypes = getattr(data, "columns", None), getattr(data, "dtypes", None)
    if columns is not None and dtypes is not None:  # a frame of pandas or polars
        for column, dtype in zip(list(columns), list(dtypes), strict=False):
            yield values.text_name(column), {"shape": [None], "dtype": values.dtype(dtype)}
    elif hasattr(data, "shape") and hasattr(data, "dtype"):
        dtype = values.text(data.dtype).removeprefix("torch.")
        yield name, {"shape": [None, *map(int, data.shape[1:])] if len(data.shape) else [], "dtype": dtype}
    elif isinstance(data, Mapping):
        for key, item in data.items():
            yield from _fields(item, values.text_name(key))
    elif isinstance(data, list | tuple) and len(data) <= _MOST_FIELDS:
        for position, item in enumerate(data):
            yield from _fields(item, str(position))


def example(data: Any) -> list[Any] | None:
    """The first few rows as plain values, a dict by column for frames; None for what has no rows, or too long ones.

    This is real data: at most 5 rows, 50 columns and 4 KiB of it. Of texts only categories are shown, as in the
    profile, of others the length; of columns with private names nothing. With ``autolog(datasets=False)`` nobody asks
    for it.
    """
    head = _head(data)
    if head is None:
        return None
    columns = {} if all(map(_is_plain, _cells(head))) else _columns(data)
    rows = [_row(row, columns) for row in head]
    return rows if rows and len(msgspec.json.encode(rows)) <= _EXAMPLE_BYTES else None


def classes(class_labels: Any, target: Any) -> list[Any] | None:
    """The labels that a classifier found in its target; None where they are more than 100, or are no categories."""
    from tachograph.data import profile

    names, labels = getattr(target, "columns", [getattr(target, "name", None)]), class_labels.tolist()
    if len(labels) > profile.CLASSES or any(is_private_name(str(name)) for name in names):
        return None
    texts = [value for value in labels if isinstance(value, str | bytes)]
    shape = getattr(target, "shape", None)  # a sparse one has no length
    total = shape[0] if shape else len(target) if hasattr(target, "__len__") else 0
    return None if texts and not profile.are_classes(labels, total) else [values.param(value) for value in labels]


def _columns(data: Any) -> dict[str, Column]:
    """The columns of a sample, by name: of an array by position."""
    from tachograph.data import profile, readers

    columns = profile.columns(readers.read(data[:_LOOKED_AT]).sample)
    named = hasattr(data, "columns")
    return {
        values.text_name(column.name) if named else str(position): column for position, column in enumerate(columns)
    }


def _cells(rows: Any) -> Iterator[Any]:
    return (value for row in rows for value in (row.values() if isinstance(row, dict) else row))


def _is_plain(value: Any) -> bool:
    return value is None or isinstance(value, bool | int | float)


def _head(data: Any) -> Any:
    shape: tuple[int, ...] = getattr(data, "shape", ())
    if len(shape) != 2 or shape[1] > _EXAMPLE_FIELDS:
        return None
    if hasattr(data, "to_dicts"):  # polars
        return data.head(EXAMPLE_ROWS).to_dicts()
    if hasattr(data, "columns") and hasattr(data, "to_dict"):  # pandas
        return data.head(EXAMPLE_ROWS).to_dict("records")
    return data[:EXAMPLE_ROWS].tolist() if type(data).__module__ == "numpy" else None


def _row(row: Any, columns: Mapping[str, Column]) -> Any:
    if isinstance(row, dict):
        names = {values.text_name(name): value for name, value in row.items()}
        return {name: _cell(name, value, columns) for name, value in names.items()}
    return [_cell(str(position), value, columns) for position, value in enumerate(row)]


def _cell(name: str, value: Any, columns: Mapping[str, Column]) -> Any:
    from tachograph.data import profile

    if value is not None and is_private_name(name):
        return REDACTED
    if _is_plain(value) or (name in columns and profile.is_category(columns[name], value)):
        return values.param(value)
    length = f" of {len(value)} characters" if isinstance(value, str | bytes) else ""
    return f"[{type(value).__name__}{length}]"
