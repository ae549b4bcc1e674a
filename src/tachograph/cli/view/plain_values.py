"""Reading plain values that any version or program has recorded: one of an unexpected type counts as missing."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from tachograph import wording


def mapping(value: Any) -> Mapping[str, Any]:
    """A mapping, or an empty one."""
    return value if isinstance(value, Mapping) else {}


def items(value: Any) -> list[Any]:
    """A list, or an empty one."""
    return value if isinstance(value, list) else []


def mappings(value: Any) -> Iterator[Mapping[str, Any]]:
    """The items of a list that are mappings."""
    return (item for item in items(value) if isinstance(item, Mapping))


def text(value: Any) -> str:
    """A value as text; that of None is empty."""
    return "" if value is None else wording.param(value)


def number(value: Any) -> float:
    """A number, if it is not less than 0; else 0."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return 0.0
    try:
        return max(0.0, float(value))
    except OverflowError:  # of an integer
        return 0.0
