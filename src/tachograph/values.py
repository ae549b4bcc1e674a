"""What users hand over, made into what an event holds. Nothing here raises for odd input: it says what was odd."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from enum import Enum
from os import PathLike, fspath
from typing import Any

from tachograph import events
from tachograph.capture.secrets import is_secret_name, redact_text

MAX_NAME = 1000
MAX_TEXT = 10_000
MAX_ITEMS = 1000
MAX_DEPTH = 20


def metrics(values: object) -> tuple[dict[str, events.Number], list[str]]:
    """Points that can be written, and a complaint for each that can't."""
    if not isinstance(values, Mapping):
        return {}, [f"log takes a mapping of names to numbers, got {_kind(values)}"]
    good: dict[str, events.Number] = {}
    complaints = []
    for name, value in values.items():
        found = _number(value)
        if found is None:
            complaints.append(f"metric {_shown(name)} is not a number but {_kind(value)}: it was not recorded")
        elif not (clean := text_name(name)):
            complaints.append(f"a metric's name must not be empty: {_shown(value)} was not recorded")
        else:
            good[clean] = events.written_number(found)
    return good, complaints


def _number(value: Any) -> float | None:
    """A real number, from Python, NumPy, a one-element array or tensor; None for anything else."""
    if isinstance(value, str | bytes | bytearray):
        return None
    if getattr(value, "size", 1) != 1 and not callable(getattr(value, "size", None)):
        return None
    try:
        return float(value)
    except (TypeError, ValueError, OverflowError, RuntimeError):
        return None


def step(value: Any) -> int | None:
    """A step as an int; None where it is none."""
    try:
        whole = int(value)
    except (TypeError, ValueError, OverflowError):
        return None
    return whole if whole == value and abs(whole) < 2**63 else None


def params(values: object) -> tuple[dict[str, Any], list[str]]:
    """Parameters, nested mappings flattened with dots, and complaints. Values under secret names are left out."""
    if not isinstance(values, Mapping):
        return {}, [f"log_params takes a mapping of names to values, got {_kind(values)}"]
    good: dict[str, Any] = {}
    complaints: list[str] = []
    _flatten("", values, good, complaints, 0)
    return good, complaints


def _flatten(prefix: str, values: Mapping[Any, Any], good: dict[str, Any], complaints: list[str], depth: int) -> None:
    for key, value in values.items():
        name = prefix + text_name(key)
        if not text_name(key):
            complaints.append(f"a parameter's name must not be empty: {_shown(value)} was not recorded")
        elif isinstance(value, Mapping) and value and depth < MAX_DEPTH:
            _flatten(name + ".", value, good, complaints, depth + 1)
        else:
            good[name] = "[redacted]" if is_secret_name(text_name(key)) and value else param(value)


def param(value: Any, depth: int = 0) -> Any:
    """A parameter's value: None, bool, int, float, str and lists keep their type, anything else becomes its text."""
    if value is None or isinstance(value, bool):
        return value
    if isinstance(value, Enum):
        return text(value)
    if isinstance(value, str):
        return redact_text(clip(str(value)))
    if isinstance(value, int):
        return int(value) if abs(value) < 2**63 else str(value)
    if isinstance(value, float):
        return events.written_param(float(value))
    if isinstance(value, PathLike):
        return redact_text(str(fspath(value)))
    if isinstance(value, Sequence | set | frozenset) and not isinstance(value, bytes | bytearray | memoryview):
        return _items(value, depth)
    return _from_numpy(value, depth)


def _items(value: Any, depth: int) -> Any:
    if depth >= MAX_DEPTH:
        return "..."
    items = sorted(value, key=repr) if isinstance(value, set | frozenset) else value
    if len(items) > MAX_ITEMS:
        return clip(f"{_kind(value)} of {len(items)} items, starting {[param(item, depth + 1) for item in items[:10]]}")
    return [param(item, depth + 1) for item in items]


def _from_numpy(value: Any, depth: int) -> Any:
    if type(value).__module__ == "numpy" and hasattr(value, "tolist"):
        if value.size > MAX_ITEMS:
            return f"array of shape {value.shape} and type {value.dtype}"
        plain = value.tolist()
        return param(plain, depth + 1) if not type(plain).__module__ == "numpy" else text(plain)
    return text(value)


def text(value: object) -> str:
    """Short text for any object. Functions and classes by name, so that it holds no memory address."""
    if isinstance(value, str):
        return clip(value)
    name = getattr(value, "__qualname__", None)
    if isinstance(name, str) and callable(value):
        return f"{getattr(value, '__module__', '')}.{name}"
    return redact_text(clip(str(value)))


def text_name(value: object) -> str:
    """A name as stripped text, without characters that can't be written as UTF-8; at most 1,000 characters."""
    return str(value).strip()[:MAX_NAME].encode("utf-8", "replace").decode()


def clip(value: str) -> str:
    """At most 10,000 characters, and only such as can be written as UTF-8."""
    short = value if len(value) <= MAX_TEXT else value[:MAX_TEXT] + f"... ({len(value)} characters)"
    return short.encode("utf-8", "replace").decode()


def _kind(value: object) -> str:
    return f"a value of type {type(value).__name__}"


def _shown(value: object) -> str:
    return clip(repr(value))[:80]
