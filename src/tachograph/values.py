"""Turns what users hand over into what an event holds. Odd input raises nothing here: complaints say what was odd."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from enum import Enum
from os import PathLike, fspath
from typing import Any

from tachograph import events, guard
from tachograph.printable import MOST_RECORDED, clipped
from tachograph.redaction import REDACTED, is_secret_name, redact_text, redact_value

MAX_NAME = 1000
MAX_FILE_NAME = 200
MAX_ITEMS = 1000
MAX_DEPTH = 20

_ADDRESS = re.compile(r" at 0x[0-9a-fA-F]{6,}")
_NOT_IN_FILE_NAMES = re.compile(r"[/\\\0-\x1f]")


def metrics(values: object) -> tuple[dict[str, events.Number], list[str]]:
    """Points that can be written, and a complaint for each that can't."""
    if not isinstance(values, Mapping):
        return {}, [f"log takes a mapping of names to numbers, got {like(values)}"]
    good: dict[str, events.Number] = {}
    complaints = []
    for key, value in values.items():
        name, number = _clean(guard.shown(key)), _number(value)
        if not name:
            complaints.append("a metric's name must not be empty: it was not recorded")
        elif number is None:
            complaints.append(f"metric {name[:80]!r} is not a number but {like(value)}: it was not recorded")
        else:
            good[name] = events.written_number(number)
    return good, complaints


def _number(value: Any) -> float | None:
    """A real number, from Python, NumPy, a one-element array or tensor; None for anything else."""
    if getattr(getattr(value, "dtype", None), "kind", "f") in ("M", "m"):
        return None  # dates and durations, which become numbers of some unit
    try:
        plain = value.item() if hasattr(value, "item") else value
        return None if isinstance(plain, str | bytes | bytearray) else float(plain)
    except guard.FAULTS:  # it may be an object of the user's with errors of its own
        return None


def step(value: Any) -> int | None:
    """A step as an int; None where it is none."""
    try:
        whole = int(value)
        return whole if whole == value and -(2**63) <= whole < 2**63 else None
    except guard.FAULTS:
        return None


def params(values: object) -> tuple[dict[str, Any], list[str]]:
    """Parameters, nested mappings flattened with dots, and complaints. Values under secret names are left out."""
    if not isinstance(values, Mapping):
        return {}, [f"log_params takes a mapping of names to values, got {like(values)}"]
    good: dict[str, Any] = {}
    complaints: list[str] = []
    _flatten("", values, good, complaints, 0)
    return good, complaints


def _flatten(prefix: str, values: Mapping[Any, Any], good: dict[str, Any], complaints: list[str], depth: int) -> None:
    for key, value in values.items():
        name = text_name(key)
        if not name:
            complaints.append("a parameter's name must not be empty: it was not recorded")
            continue
        try:
            if isinstance(value, Mapping) and value and depth < MAX_DEPTH:
                _flatten(f"{prefix}{name}.", value, good, complaints, depth + 1)
            else:
                good[prefix + name] = secret(prefix + name, value) or redact_value(prefix + name, param(value))
        except guard.FAULTS as error:  # an object of the user's with errors of its own
            kind = type(error).__name__
            complaints.append(f"parameter {prefix + name!r} was not recorded: {like(value)} can't be read ({kind})")


def secret(name: str, value: object) -> str | None:
    """What is recorded in place of a value under a secret's name; None for any other."""
    return REDACTED if is_secret_name(name) and value is not None and not isinstance(value, bool) else None


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
    return _from_array(value, depth)


def _items(value: Any, depth: int) -> Any:
    if depth >= MAX_DEPTH:
        return "..."
    items = sorted(value, key=guard.shown) if isinstance(value, set | frozenset) else value
    if len(items) > MAX_ITEMS:
        return clip(f"{like(value)} of {len(items)} items, starting {[param(item, depth + 1) for item in items[:10]]}")
    return [param(item, depth + 1) for item in items]


def _from_array(value: Any, depth: int) -> Any:
    if type(value).__module__ == "numpy" and hasattr(value, "tolist"):
        if value.size > MAX_ITEMS:
            return f"array of shape {value.shape} and type {value.dtype}"
        plain = value.tolist()
        return text(plain) if type(plain).__module__ == "numpy" else param(plain, depth + 1)
    number = _scalar(value)
    return text(value) if number is None else param(number)


def _scalar(value: Any) -> bool | int | float | None:
    """The number in a tensor or array of one element, of any framework; None for anything else.

    One on a device is waited for: a parameter is recorded once, and its text would be waited for as well.
    """
    try:
        plain = value.item() if hasattr(value, "dtype") and set(value.shape) <= {1} else None
    except guard.FAULTS:  # an object of another kind, or a stand-in for a tensor: it is traced, or on no device
        return None
    return plain if isinstance(plain, bool | int | float) else None


def text(value: object) -> str:
    """Short text for any object, without secrets. It has no memory addresses in it, so that equal objects have the same
    text: functions and classes are named, and addresses in the text of what contains them are left out."""
    name = getattr(value, "__qualname__", None)
    if isinstance(name, str) and callable(value):
        return f"{getattr(value, '__module__', '')}.{name}"
    shown = clip(_distribution(value) or guard.shown(value))
    return redact_text(shown if isinstance(value, str) else _ADDRESS.sub("", shown))


def _distribution(value: Any) -> str | None:
    """A distribution of SciPy with its arguments, ``loguniform(0.001, 1)``; None for anything else."""
    if not type(value).__module__.startswith("scipy.stats") or not hasattr(value, "dist"):
        return None
    arguments = [*map(repr, value.args), *(f"{name}={argument!r}" for name, argument in value.kwds.items())]
    return f"{value.dist.name}({', '.join(arguments)})"


def class_name(kind: type) -> str:
    """A class with its module: ``sklearn.svm._classes.SVC``."""
    return f"{kind.__module__}.{kind.__qualname__}"


def dtype(value: object) -> str:
    """A dtype by its name, without the categories that an enumeration lists: these are values of the data."""
    return _LISTED.sub("Enum", text(value))


_LISTED = re.compile(r"Enum\(.*", re.DOTALL)


def text_name(value: object) -> str:
    """A name as stripped text, without characters that can't be written as UTF-8; at most 1,000 characters."""
    return _clean(guard.shown(value).strip()[:MAX_NAME])


def file_name(value: object) -> str:
    """A name that a file can have anywhere: without folders, and not longer than file systems allow."""
    name = _NOT_IN_FILE_NAMES.sub("_", text_name(value)).encode()
    if len(name) > MAX_FILE_NAME:
        half = MAX_FILE_NAME // 2
        name = name[:half] + name[-half:]  # what it ends with says what it is
    plain = name.decode("utf-8", "ignore")
    return plain if plain.strip(". ") else "file"


def clip(value: str) -> str:
    """At most 10,000 characters, and only such as can be written as UTF-8."""
    return _clean(clipped(value, MOST_RECORDED))


def _clean(value: str) -> str:
    return value.encode("utf-8", "replace").decode()


def like(value: object) -> str:
    """What a complaint says of a value: its type alone, since it may be large, or a secret."""
    return f"a value of type {type(value).__name__}"
