"""Tables of any usual shape as JSON Lines: one object for each row."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import msgspec

from tachograph import events

_encode = msgspec.json.Encoder().encode


def render(table: Any) -> tuple[bytes, dict[str, Any]]:
    """The rows of ``table`` as JSON Lines, and what is to be known of them.

    Takes a list of mappings, a mapping of columns to lists, and the frames of pandas, polars and pyarrow. Numbers that are not
    finite become "NaN", "Infinity" or "-Infinity". Raises TypeError for anything else.
    """
    rows = [{str(name): _plain(value) for name, value in row.items()} for row in _rows(table)]
    columns = list(dict.fromkeys(name for row in rows for name in row))
    content = b"".join(_encode(row) + b"\n" for row in rows)
    return content, {"format": "jsonl-table", "rows": len(rows), "columns": columns}


def _rows(table: Any) -> Iterable[Mapping[Any, Any]]:
    module = type(table).__module__.partition(".")[0]
    if module == "pandas":
        rows: list[Mapping[Any, Any]] = table.to_dict(orient="records")
        return rows
    if hasattr(table, "to_dicts"):  # polars
        return list(table.to_dicts())
    if hasattr(table, "to_pylist"):  # pyarrow
        return list(table.to_pylist())
    if isinstance(table, Mapping):
        columns = {name: list(values) for name, values in table.items()}
        return [dict(zip(columns, row, strict=True)) for row in zip(*columns.values(), strict=True)]
    rows = list(table)
    if not all(isinstance(row, Mapping) for row in rows):
        raise TypeError(f"a table is a list of dicts or a frame, got {type(table).__name__}")
    return rows


def _plain(value: Any) -> Any:
    if isinstance(value, bool) or value is None:
        return value
    if isinstance(value, int):
        return int(value) if abs(value) < 2**63 else str(value)
    if isinstance(value, float):
        return events.written_number(float(value))
    if isinstance(value, str):
        return str(value).encode("utf-8", "replace").decode()
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    if type(value).__module__ == "numpy" and hasattr(value, "tolist"):
        plain = value.tolist()
        return str(value) if type(plain).__module__ == "numpy" or plain is value else _plain(plain)
    if hasattr(value, "isoformat"):
        return str(value.isoformat())
    return str(value)
