"""What loads an artifact, by its format.

A pickle runs whatever code it names when it is loaded. So formats that can run code are loaded only where the reader
says ``trusted=True``, and some formats can do more then.

A framework's own formats are loaded by functions found through the entry-point group ``tachograph.loaders``. The name
is the format, or for files that don't say theirs a suffix such as ".pt"; the value is a function of ``(path, meta)``.
One that can run code from the file has an attribute ``unsafe = True``. One that can do more where code may run has an
attribute ``trusted``: the function that is called with ``load(trusted=True)``.
"""

from __future__ import annotations

import contextlib
import csv
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import msgspec

from tachograph import events
from tachograph.errors import Error

GROUP = "tachograph.loaders"
_LONGEST_FIELD = (1 << 31) - 1  # of a CSV file
_csv_limit = threading.Lock()  # csv has one limit for the whole process
_ARRAYS, _PICKLE = (b"\x93NUMPY", b"PK\x03\x04"), b"\x80"  # what files begin with

Load = Callable[[Path, dict[str, Any]], Any]


class Loader(NamedTuple):
    """How files of a format are loaded: in a way in which no code of theirs can run, None where there is no such way,
    and in the way for files whose origin is trusted."""

    safe: Load | None
    trusted: Load


def find(format: str) -> Loader | None:
    """The loader of a format: one of ours, else a plug-in's; None where there is none."""
    return BUILT_IN.get(format) or _from_plugin(format)


def _from_plugin(format: str) -> Loader | None:
    from importlib.metadata import entry_points

    for point in entry_points(group=GROUP, name=format):
        load = point.load()
        return Loader(None if getattr(load, "unsafe", False) else load, getattr(load, "trusted", load))
    return None


def _text(path: Path, meta: dict[str, Any]) -> str:
    return path.read_text(encoding="utf-8")


def _json(path: Path, meta: dict[str, Any]) -> Any:
    return msgspec.json.decode(path.read_bytes())


def _json_lines(path: Path, meta: dict[str, Any]) -> list[Any]:
    return [msgspec.json.decode(line) for line in path.read_bytes().splitlines() if line.strip()]


def _table(path: Path, meta: dict[str, Any]) -> list[dict[str, Any]]:
    return [_finite_or_not(row) for row in _json_lines(path, meta)]


def _finite_or_not(value: Any) -> Any:
    """The value, with NaN and infinities as numbers: a table holds them by their names."""
    if isinstance(value, dict):
        return {name: _finite_or_not(item) for name, item in value.items()}
    if isinstance(value, list):
        return [_finite_or_not(item) for item in value]
    return events.number(value) if value in ("NaN", "Infinity", "-Infinity") else value


def _csv(path: Path, meta: dict[str, Any]) -> list[dict[str, str]]:
    with open(path, encoding="utf-8", newline="") as file, _fields_of_any_length():
        return list(csv.DictReader(file))


@contextlib.contextmanager
def _fields_of_any_length() -> Iterator[None]:
    with _csv_limit:
        before = csv.field_size_limit(_LONGEST_FIELD)
        try:
            yield
        finally:
            csv.field_size_limit(before)


def _numpy(path: Path, meta: dict[str, Any]) -> Any:
    try:
        return _arrays(path, pickles=False)
    except ValueError as error:
        if "allow_pickle" not in str(error) or not _begins_as(path, *_ARRAYS, _PICKLE):
            raise  # what is no array is taken for a pickle
        raise Error("it can run code when loaded: if you trust its origin, load(trusted=True)") from error


def _numpy_with_pickles(path: Path, meta: dict[str, Any]) -> Any:
    with _known_classes():
        return _arrays(path, pickles=True)


def _arrays(path: Path, pickles: bool) -> Any:
    import numpy as np

    content = np.load(path, allow_pickle=pickles)
    if not isinstance(content, np.lib.npyio.NpzFile):
        return content
    with content:
        return {name: content[name] for name in content.files}


def _begins_as(path: Path, *signs: bytes) -> bool:
    with open(path, "rb") as file:
        return file.read(6).startswith(signs)


def _joblib(path: Path, meta: dict[str, Any]) -> Any:
    import joblib

    with _known_classes():
        return joblib.load(path)


def _pickle(path: Path, meta: dict[str, Any]) -> Any:
    import pickle

    with open(path, "rb") as file, _known_classes():
        return pickle.load(file)


@contextlib.contextmanager
def _known_classes() -> Iterator[None]:
    """Says which class is missing, where one is: a pickle names its classes and does not hold them."""
    try:
        yield
    except (AttributeError, ImportError) as error:
        raise Error(f"it needs a class that can't be imported here ({error}): import or define that first") from error


BUILT_IN = {
    "text": Loader(_text, _text),
    "json": Loader(_json, _json),
    "jsonl": Loader(_json_lines, _json_lines),
    "jsonl-table": Loader(_table, _table),
    "csv": Loader(_csv, _csv),
    "numpy": Loader(_numpy, _numpy_with_pickles),
    "joblib": Loader(None, _joblib),
    "pickle": Loader(None, _pickle),
}
SUFFIXES = {
    ".txt": "text", ".md": "text", ".log": "text", ".svg": "text", ".yaml": "text", ".yml": "text", ".toml": "text",
    ".py": "text", ".json": "json", ".jsonl": "jsonl", ".csv": "csv", ".joblib": "joblib", ".pkl": "pickle",
    ".pickle": "pickle", ".npy": "numpy", ".npz": "numpy",
}  # fmt: skip
