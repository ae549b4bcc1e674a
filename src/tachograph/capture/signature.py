"""What goes into a model and comes out of it: names, shapes and dtypes; and, if wanted, what a few rows look like."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from itertools import islice
from typing import Any

import msgspec

from tachograph import values

_MOST_FIELDS = 1000
_EXAMPLE_FIELDS = 50
_EXAMPLE_BYTES = 4096
EXAMPLE_ROWS = 5


def signature(data: object) -> dict[str, dict[str, Any]]:
    """Shape and dtype of each field, by name: the columns of a frame; arrays and tensors, alone ("data") or in dicts,
    lists and tuples (by key or place). The first dimension of a shape, the rows, is None: it is free. Nothing is read
    of the values. Empty for what has neither shape nor dtype."""
    return dict(islice(_fields(data), _MOST_FIELDS))


def _fields(data: Any, name: str = "data") -> Iterator[tuple[str, dict[str, Any]]]:
    columns, dtypes = getattr(data, "columns", None), getattr(data, "dtypes", None)
    if columns is not None and dtypes is not None:  # a frame of pandas or polars
        for column, dtype in zip(list(columns), list(dtypes), strict=False):
            yield values.text_name(column), {"shape": [None], "dtype": values.text(dtype)}
    elif hasattr(data, "shape") and hasattr(data, "dtype"):
        dtype = values.text(data.dtype).removeprefix("torch.")
        yield name, {"shape": [None, *map(int, data.shape[1:])] if len(data.shape) else [], "dtype": dtype}
    elif isinstance(data, Mapping):
        for key, item in data.items():
            yield from _fields(item, values.text_name(key))
    elif isinstance(data, list | tuple) and len(data) <= _MOST_FIELDS:
        for place, item in enumerate(data):
            yield from _fields(item, str(place))


def example(data: Any) -> list[Any] | None:
    """The first few rows as plain values, a dict by column for frames; None for what has no rows, or too long ones.

    This is real data: at most 5 rows, 50 columns and 4 KiB of it, what looks like a secret left out. With
    ``autolog(datasets=False)`` nobody asks for it.
    """
    head = _head(data)
    if head is None:
        return None
    rows = [_row(row) for row in head]
    return rows if rows and len(msgspec.json.encode(rows)) <= _EXAMPLE_BYTES else None


def _head(data: Any) -> Any:
    shape: tuple[int, ...] = getattr(data, "shape", ())
    if len(shape) != 2 or shape[1] > _EXAMPLE_FIELDS:
        return None
    if hasattr(data, "to_dicts"):  # polars
        return data.head(EXAMPLE_ROWS).to_dicts()
    if hasattr(data, "columns") and hasattr(data, "to_dict"):  # pandas
        return data.head(EXAMPLE_ROWS).to_dict("records")
    return data[:EXAMPLE_ROWS].tolist() if type(data).__module__ == "numpy" else None


def _row(row: Any) -> Any:
    if isinstance(row, dict):
        names = {values.text_name(name): value for name, value in row.items()}
        return {name: values.secret(name, value) or values.param(value) for name, value in names.items()}
    return [values.param(value) for value in row]
