"""News of old runs: who adds to a run that was there already says so, since its readers may have taken it for done.

    <root>/news        a line for each time: when that was, in ns since 1970, a blank, <run id>/<writer>

Whoever makes a new run says nothing: the folder of all runs changes with it. Lines only say where to look. So it does
no harm if some are there twice, and readers who look at everything now and then miss nothing for good if some are lost:
by a full disk, by a network file system where two machines append at once, or because the file is not ours to write.
"""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

FILENAME = "news"
RECENT_NS = 5 * 10**9  # for so long a line is read again and again: what it announces may come after it
MOST_BYTES = 1 << 20

_FLAGS = os.O_WRONLY | os.O_APPEND | getattr(os, "O_CLOEXEC", 0) | getattr(os, "O_BINARY", 0)


def make(writer_folder: Path) -> bool:
    """Make a writer's folder, where it isn't there; whether its run was there already."""
    try:
        known = not _make(writer_folder.parent)
    except FileNotFoundError:
        writer_folder.parents[1].mkdir(parents=True, exist_ok=True)
        known = not _make(writer_folder.parent)
    writer_folder.mkdir(parents=True, exist_ok=True)
    return known


def _make(folder: Path) -> bool:
    try:
        folder.mkdir()
    except FileExistsError:
        return False
    return True


def tell(writer_folder: Path) -> None:
    """Say that something comes, or came, to a writer of a run that was there already."""
    root = writer_folder.parents[2]
    if writer_folder.parents[1].name == "runs":
        line = f"{time.time_ns()} {writer_folder.parent.name}/{writer_folder.name}\n".encode()
        with contextlib.suppress(OSError):
            _append(root, line)


def _append(root: Path, line: bytes) -> None:
    path = root / FILENAME
    try:
        fd = os.open(path, _FLAGS)
    except FileNotFoundError:
        fd = os.open(path, _FLAGS | os.O_CREAT, 0o666)
        if hasattr(os, "fchmod"):
            os.fchmod(fd, os.stat(root).st_mode & 0o666)  # whoever can add to the store can add to this
    try:
        os.write(fd, line)
    finally:
        os.close(fd)


class ReaderPosition(NamedTuple):
    """Up to where the news were read: the first line, by which a file is told from a later one, and the bytes."""

    first: bytes = b""
    end: int = 0


class News(NamedTuple):
    """By run the writers to which something came, and where to go on. ``told`` is None where that can't be known."""

    told: dict[str, set[str]] | None
    place: ReaderPosition


def read(root: Path, place: ReaderPosition) -> News:
    """What came since ``place``. Of the last seconds it is told again the next time."""
    try:
        with open(root / FILENAME, "rb") as file:
            first = file.readline()
            if place.first not in (b"", first) or os.fstat(file.fileno()).st_size < place.end:
                file.seek(0)
                return News(None, _read(file)[1])
            file.seek(place.end)
            return News(*_read(file, first, place.end))
    except FileNotFoundError:
        return News(None if place.first else {}, ReaderPosition())


def _read(lines: Iterable[bytes], first: bytes = b"", end: int = 0) -> tuple[dict[str, set[str]], ReaderPosition]:
    told: dict[str, set[str]] = {}
    now, settled = time.time_ns(), True
    for line in lines:
        if not line.endswith(b"\n"):
            break  # it is being written
        first = first or line
        when, _, where = line.decode("utf-8", "replace").rstrip("\n").partition(" ")
        run, _, writer = where.partition("/")
        told.setdefault(run, set()).add(writer)
        settled &= not when.isdecimal() or abs(now - int(when)) > RECENT_NS
        if settled:
            end += len(line)
    return told, ReaderPosition(first, end)


def trim(root: Path) -> None:
    """Begin anew where the news are long, for somebody who is about to look at everything."""
    path = root / FILENAME
    with contextlib.suppress(OSError):
        if path.stat().st_size > MOST_BYTES:
            path.unlink()
