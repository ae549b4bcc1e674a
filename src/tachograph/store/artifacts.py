"""Artifacts read back: a verified copy under its own file name, and the object that was kept, where it is safe to load.

What is not safe to load is named so: unpickling runs whatever code the file says, so it takes ``trusted=True``. A
framework's own formats are loaded by functions found through the entry-point group ``tachograph.loaders``: the name is
the format, or for files that don't say theirs a suffix such as ".pt", the value a function of ``(path, meta)``. One
that can run code from the file has an attribute ``unsafe = True``. One that can do more where code may run has an
attribute ``trusted``: the function that is called with ``load(trusted=True)``.
"""

from __future__ import annotations

import contextlib
import csv
import hashlib
import os
import shutil
import threading
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path, PurePosixPath
from typing import Any

import msgspec

from tachograph import events, guard
from tachograph.errors import Damaged, Error, NotFound
from tachograph.events import Member
from tachograph.journal.blobs import digest_of
from tachograph.printable import printable
from tachograph.runtime import whole_files
from tachograph.store.questions import Files

LOADERS = "tachograph.loaders"
_LONGEST_FIELD = (1 << 31) - 1  # of a CSV file
_limit = threading.Lock()  # which all of a process has in common
_ARRAYS, _PICKLE = (b"\x93NUMPY", b"PK\x03\x04"), b"\x80"  # what files begin with

Loader = Callable[[Path, dict[str, Any]], Any]


class Artifact:
    """A file or folder that was kept with a run.

    ``kind`` is what it was logged as ("file", "model", "table" ...), ``size`` is in bytes, ``step`` the step it belongs
    to or None, ``filename`` its own name, ``members`` the files of a folder (``.path .digest .size``) or None, ``meta``
    what its recorder knew of it.
    """

    def __init__(self, files: Files, event: events.Artifact, let_go: Mapping[str, str] | None = None) -> None:
        self._files, self._let_go = files, let_go or {}
        self.name, self.kind, self.digest, self.size = event.name, event.type, event.digest, event.size
        self.step, self.filename, self.members, self.meta = event.step, event.filename, event.members, event.meta

    def __repr__(self) -> str:
        return printable(f"<tachograph artifact {self.name} ({self.kind}, {self.size:,} bytes)>")

    @property
    def released(self) -> bool:
        """Whether its bytes were let go of, as those of most checkpoints are."""
        gone = [digest for digest in self._digests() if digest in self._let_go]
        return bool(gone and self._files.lacking(gone))

    def _gone(self) -> NotFound:
        step = "" if self.step is None else f" of step {self.step}"
        why = next(self._let_go[digest] for digest in self._digests() if digest in self._let_go)
        return NotFound(f"artifact {self.name}{step}: its bytes were let go of, because of {why}")

    def _digests(self) -> list[str]:
        return [self.digest] if self.members is None else [member.digest for member in self.members]

    def path(self) -> Path:
        """A local copy under its own file name, checked against its digest; not to be written to.

        Raises ``Damaged`` where what is kept doesn't match, ``NotFound`` where it was let go of.
        """
        target = self._files.copies / self.digest.removeprefix("sha256:") / _inside(self.filename, self)
        if self.members is None:
            self._provide(self.digest, target)
        else:
            self._provide_folder(self.members, target)
        return target

    def _provide_folder(self, members: list[Member], target: Path) -> None:
        if self.digest != "sha256:" + hashlib.sha256(events.encode(members)).hexdigest():
            raise Damaged(f"artifact {self.name}: its list of files does not match its digest; log it again")
        expected = {target / _inside(member.path, self): member.digest for member in members}
        target.mkdir(parents=True, exist_ok=True)
        for path in target.rglob("*"):
            if path not in expected and not path.is_dir():
                path.unlink()  # something else came in here: what is handed out is what was kept
        for path, digest in expected.items():
            self._provide(digest, path)

    def _provide(self, digest: str, target: Path) -> None:
        """Put the blob ``digest`` at ``target``, unless it is there already, unchanged."""
        if target.is_file() and digest_of(target) == digest:
            return
        blob = self._files.blob(digest)
        if digest in self._let_go and not blob.is_file():
            raise self._gone()
        if not blob.is_file() or digest_of(blob) != digest:
            fault = "does not match its digest" if blob.is_file() else "is missing"
            raise Damaged(f"artifact {self.name}: {blob} {fault}; restore it from a copy of the store")
        target.parent.mkdir(parents=True, exist_ok=True)
        with whole_files.draft(target) as made:
            _link_or_copy(blob, made)

    def load(self, trusted: bool = False) -> Any:
        """What was kept, as an object: text as str, JSON as it is, tables and CSV as a list of dicts, a framework's
        model as that framework loads it.

        Formats that can run code when they are loaded (pickle, joblib) need ``trusted=True``: say so only of a file
        whose origin you know. Raises ``Error`` for those, for a format that nobody here can load, and for a file that
        is not what its format says: whatever its loader raises becomes one.
        """
        if self.released:
            raise self._gone()
        suffix = PurePosixPath(self.filename).suffix.lower()
        format = str(self.meta.get("format") or _SUFFIXES.get(suffix, suffix))
        with self._told(f"can't be loaded as {format or 'what it is'}"):
            loader = _SAFE.get(format) or _UNSAFE.get(format) or _from_plugin(format)
        if loader is None:
            what = self.meta.get("format") or self.filename
            raise Error(f"artifact {self.name}: there is no loader for {what!r}; read the file at .path() yourself")
        if not trusted and (format in _UNSAFE or getattr(loader, "unsafe", False)):
            raise Error(f"artifact {self.name} can run code when loaded: if you trust its origin, load(trusted=True)")
        if trusted:
            loader = getattr(loader, "trusted", loader)
        path = self.path()
        with self._told(f"can't be loaded as {format}"):
            return loader(path, self.meta)

    @contextlib.contextmanager
    def _told(self, what: str) -> Iterator[None]:
        """What a loader raises, by intent or by accident, as an error that names the artifact."""
        try:
            yield
        except Error as error:
            raise Error(f"artifact {self.name}: {error}") from error
        except guard.FAULTS as error:
            why = " ".join(guard.shown(error).split())
            raise Error(
                f"artifact {self.name} {what} ({type(error).__name__}: {why}): the file at .path() has what was kept"
            ) from error


def _inside(path: str, artifact: Artifact) -> Path:
    """A relative path that stays where it is put. Raises ``Damaged`` for any other: nobody honest wrote it."""
    parts = PurePosixPath(path).parts
    odd = not parts or path.startswith("/") or ".." in parts or "\0" in path
    if odd or (os.name == "nt" and any(character in path for character in "\\:")):
        raise Damaged(f"artifact {artifact.name}: {path!r} is no file name that can be trusted; log it again")
    return Path(*parts)


def _link_or_copy(blob: Path, target: Path) -> None:
    # Root can write to read-only files: through a link it would write to what is kept.
    if getattr(os, "geteuid", lambda: 1)() != 0:
        try:
            os.link(blob, target)
        except OSError:
            pass  # another device, or a file system without links
        else:
            return
    shutil.copyfile(blob, target)
    os.chmod(target, 0o444)


# -- loaders --


def _from_plugin(format: str) -> Loader | None:
    from importlib.metadata import entry_points

    for point in entry_points(group=LOADERS, name=format):
        loader: Loader = point.load()
        return loader
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
    """Numbers that are not finite from their names: a table has no other way to write them."""
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
    with _limit:
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

    found = np.load(path, allow_pickle=pickles)
    if not isinstance(found, np.lib.npyio.NpzFile):
        return found
    with found:
        return {name: found[name] for name in found.files}


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
    """A pickle names its classes, and does not hold them: say so where one is missing here."""
    try:
        yield
    except (AttributeError, ImportError) as error:
        raise Error(f"it needs a class that can't be imported here ({error}): import or define that first") from error


_numpy.trusted = _numpy_with_pickles  # type: ignore[attr-defined]
_SAFE: dict[str, Loader] = {
    "text": _text, "json": _json, "jsonl": _json_lines, "jsonl-table": _table, "csv": _csv, "numpy": _numpy,
}  # fmt: skip
_UNSAFE: dict[str, Loader] = {"joblib": _joblib, "pickle": _pickle}
_SUFFIXES = {
    ".txt": "text", ".md": "text", ".log": "text", ".svg": "text", ".yaml": "text", ".yml": "text", ".toml": "text",
    ".py": "text", ".json": "json", ".jsonl": "jsonl", ".csv": "csv", ".joblib": "joblib", ".pkl": "pickle",
    ".pickle": "pickle", ".npy": "numpy", ".npz": "numpy",
}  # fmt: skip
