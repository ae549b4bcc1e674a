"""Tables of any usual shape as JSON Lines: one object for each row."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import msgspec

from tachograph import events, guard

_encode = msgspec.json.Encoder().encode


def render(table: Any) -> tuple[bytes, dict[str, Any]]:
    """The rows of ``table`` as JSON Lines, and a description: format, number of rows, names of columns.

    Takes a list of mappings, a mapping of columns to lists, and the frames of pandas, polars and pyarrow. Numbers that
    are not finite become "NaN", "Infinity" or "-Infinity", dates ISO 8601 texts, missing values null. Raises TypeError
    for anything else.
    """
    columns = _columns(table)
    records = _records(table) if columns is None else _across(columns)
    rows = [{str(name): _plain(value) for name, value in record.items()} for record in records]
    names = dict.fromkeys([*map(str, columns or ()), *(name for row in rows for name in row)])
    content = b"".join(_encode(row) + b"\n" for row in rows)
    return content, {"format": "jsonl-table", "rows": len(rows), "columns": list(names)}


def _columns(table: Any) -> dict[Any, Sequence[Any]] | None:
    """The columns of a table that is made of columns; None for one made of rows."""
    if hasattr(table, "iloc") and hasattr(table, "columns"):
        return _pandas(table)
    if hasattr(table, "get_columns") and hasattr(table, "to_dicts"):
        return {column.name: column.to_list() for column in table.get_columns()}
    if hasattr(table, "column_names") and hasattr(table, "to_pylist"):
        return {name: table.column(position).to_pylist() for position, name in enumerate(table.column_names)}
    if isinstance(table, Mapping):
        return {name: _listed(values) for name, values in table.items()}
    return None


def _pandas(frame: Any) -> dict[Any, Sequence[Any]]:
    """An index that says something, such as the classes of a confusion matrix, comes first."""
    index = frame.index
    columns: dict[Any, Sequence[Any]] = {}
    if type(index).__name__ != "RangeIndex" or index.name is not None:
        for level, name in enumerate(index.names):
            columns["index" if name is None else _label(name)] = index.get_level_values(level).tolist()
    for position, name in enumerate(frame.columns):
        columns[_free(_label(name), columns)] = frame.iloc[:, position].tolist()
    return columns


def _label(name: Any) -> str:
    return ".".join(map(str, name)) if isinstance(name, tuple) else str(name)


def _free(name: str, taken: Mapping[Any, Any]) -> str:
    """``name``, or ``name.1`` and so on where a frame has it twice."""
    count, free = 0, name
    while free in taken:
        count += 1
        free = f"{name}.{count}"
    return free


def _listed(values: Any) -> Sequence[Any]:
    if isinstance(values, str | bytes) or not isinstance(values, Iterable):
        raise TypeError(f"a table's columns are lists, got {type(values).__name__}")
    return list(values)


def _across(columns: Mapping[Any, Sequence[Any]]) -> list[dict[Any, Any]]:
    lengths = {len(values) for values in columns.values()}
    if len(lengths) > 1:
        raise TypeError(f"a table's columns are of one length, got {', '.join(map(str, sorted(lengths)))}")
    return [dict(zip(columns, row, strict=True)) for row in zip(*columns.values(), strict=True)]


def _records(table: Any) -> list[Mapping[Any, Any]]:
    rows = list(table) if isinstance(table, Iterable) else None
    if rows is None or not all(isinstance(row, Mapping) for row in rows):
        raise TypeError(f"a table is a list of dicts, a dict of lists or a frame, got {type(table).__name__}")
    return rows


def _plain(value: Any) -> Any:
    if isinstance(value, bool) or value is None:
        return value
    if isinstance(value, int):
        return int(value) if abs(value) < 2**63 else str(value)
    if isinstance(value, float):
        return events.written_number(float(value))
    if isinstance(value, str):
        return _text(value)
    if isinstance(value, Mapping):
        return {_text(key): _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    return _foreign(value)


def _foreign(value: Any) -> Any:
    if type(value).__name__ in ("NAType", "NaTType"):
        return None
    if type(value).__name__ == "datetime64":
        text = str(value)
        return None if text == "NaT" else text
    if type(value).__module__ == "numpy" and hasattr(value, "tolist"):
        plain = value.tolist()
        return _text(value) if type(plain).__module__ == "numpy" else _plain(plain)
    return _text(value.isoformat() if hasattr(value, "isoformat") else value)


def _text(value: object) -> str:
    return guard.shown(value).encode("utf-8", "replace").decode()
