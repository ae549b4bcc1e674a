"""Tombstones: each run that is removed is noted in a file, and nothing takes that back.

    <root>/removed.jsonl    a line for each removed run; only ever appended to

The line goes to disk first, then the run's folder. From the line on, the run is not there for readers; a removal that
was interrupted is finished by :func:`sweep`. What is recorded under the same id by a process that began later (a job
that was queued again) is a recording of its own and stays.
"""

from __future__ import annotations

import contextlib
import errno
import os
import shutil
import time
from collections.abc import Iterable
from datetime import UTC, datetime
from functools import lru_cache
from pathlib import Path

import msgspec

from tachograph import journal
from tachograph.events import encode
from tachograph.runtime import plain_files, process

FILENAME = "removed.jsonl"
ATTEMPTS = 5


class Removed(msgspec.Struct, frozen=True, omit_defaults=True):
    """A tombstone: a line of the file. ``at`` is in seconds since 1970; ``by`` is user@host, if the user has a name."""

    id: str
    name: str
    at: float
    by: str = ""

    def __str__(self) -> str:
        when = datetime.fromtimestamp(self.at, UTC).strftime("%Y-%m-%d %H:%M:%S UTC")
        return f"run {self.id} was removed on {when}" + (f" by {self.by}" if self.by else "")


def remove(root: Path, runs: Iterable[tuple[str, str]], by: str | None = None) -> None:
    """Remove runs, each given by its id and its name; ``by`` whom, where that is not this process's user."""
    _append(root / FILENAME, b"".join(encode(tombstone) + b"\n" for tombstone in make(root, runs, by)))
    sweep(root)


def make(root: Path, runs: Iterable[tuple[str, str]], by: str | None = None) -> list[Removed]:
    """Tombstones of runs that are removed now; dated later for a run that began in the future, by a wrong clock."""
    by, now = _me() if by is None else by, time.time()
    return [Removed(id, name, max(now, _began(root / "runs" / id)), by) for id, name in runs]


def sweep(root: Path) -> list[str]:
    """Delete the folders that are left of removed runs; returns their ids."""
    ids = hidden(root)
    for id in ids:
        _delete(root / "runs" / id)
    return ids


def _delete(folder: Path) -> None:
    for attempt in range(ATTEMPTS):
        try:
            folder.unlink() if folder.is_symlink() else shutil.rmtree(folder)
            return
        except FileNotFoundError:  # somebody else is at it, too
            if not os.path.lexists(folder):
                return
        except OSError as error:
            if error.errno != errno.ENOTEMPTY or attempt == ATTEMPTS - 1:  # else something came in meanwhile
                raise


def hidden(root: Path) -> list[str]:
    """The ids of removed runs that still have folders, or have some again: of late events, or of a backup."""
    tombstones = removed(root)
    if not tombstones:
        return []
    with contextlib.suppress(FileNotFoundError):
        present = tombstones.keys() & os.listdir(root / "runs")
        return sorted(id for id in present if _began(root / "runs" / id) <= tombstones[id].at)
    return []


def removed(root: Path) -> dict[str, Removed]:
    """The removed runs by id; of one that was removed twice, the last time."""
    path = root / FILENAME
    try:
        status = path.stat()
        return _read(path, status.st_mtime_ns, status.st_size)
    except (FileNotFoundError, plain_files.NotPlain):
        return {}


@lru_cache(maxsize=8)
def _read(path: Path, changed: int, size: int) -> dict[str, Removed]:
    tombstones = {}
    for line in plain_files.content(path)[:size].splitlines():
        try:
            tombstone = read(line)
        except ValueError:  # cut off by a full disk: that removal never began
            continue
        tombstones[tombstone.id] = tombstone
    return tombstones


def read(line: bytes) -> Removed:
    """The tombstone on a line. Raises ValueError."""
    return msgspec.json.decode(line, type=Removed)


def _append(path: Path, lines: bytes) -> None:
    with open(plain_files.descriptor(path, os.O_RDWR | os.O_APPEND | os.O_CREAT), "ab+", buffering=0) as file:
        if file.seek(0, os.SEEK_END):
            file.seek(-1, os.SEEK_END)
            if file.read(1) != b"\n":
                lines = b"\n" + lines
        if file.write(lines) != len(lines):
            raise OSError(f"{path} takes no more: nothing was removed")
        os.fsync(file.fileno())


def _began(run_folder: Path) -> float:
    """When the newest of a run's writers began, as far as that can be read."""
    latest = 0.0
    for folder in journal.writers(run_folder):
        with contextlib.suppress(OSError):  # being deleted, or not ours to read
            header = journal.header(folder)
            latest = max(latest, header.at if header else 0.0)
    return latest


def _me() -> str:
    user = process.user()
    return f"{user}@{process.this().host}" if user else ""
