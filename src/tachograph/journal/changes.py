"""Changes of old runs: whoever adds to a run that was there already says so, since readers may have taken it for done.

    <root>/news        a line for each change: its time in ns since 1970, a blank, <run id>/<writer>

Whoever makes a new run says nothing: the folder of all runs changes with it. Lines only say where to look, so it does
no harm if some are there twice. Some may be lost: by a full disk, by a network file system where two machines append at
once, or because the file is not ours to write. Readers look at everything now and then, and find those, too.
"""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

from tachograph.runtime import plain_files

FILENAME = "news"
RECENT_NS = 5 * 10**9  # for so long a line is read again and again: what it announces may come after it
MOST_BYTES = 1 << 20

_FLAGS = os.O_WRONLY | os.O_APPEND | getattr(os, "O_CLOEXEC", 0) | getattr(os, "O_BINARY", 0)


def make_folder(writer_folder: Path) -> bool:
    """Make a writer's folder if it is missing; returns whether its run was there already."""
    try:
        is_new = _make(writer_folder.parent)
    except FileNotFoundError:
        writer_folder.parents[1].mkdir(parents=True, exist_ok=True)
        is_new = _make(writer_folder.parent)
    writer_folder.mkdir(parents=True, exist_ok=True)
    return not is_new


def _make(folder: Path) -> bool:
    try:
        folder.mkdir()
    except FileExistsError:
        return False
    return True


def announce(writer_folder: Path) -> None:
    """Add a line: something comes, or came, to a writer of a run that was there already."""
    root = writer_folder.parents[2]
    if writer_folder.parents[1].name == "runs":
        line = f"{time.time_ns()} {writer_folder.parent.name}/{writer_folder.name}\n".encode()
        with contextlib.suppress(OSError):
            _append(root, line)


def _append(root: Path, line: bytes) -> None:
    path = root / FILENAME
    try:
        fd = plain_files.descriptor(path, _FLAGS)
    except FileNotFoundError:
        fd = plain_files.descriptor(path, _FLAGS | os.O_CREAT)
        if hasattr(os, "fchmod"):
            os.fchmod(fd, os.stat(root).st_mode & 0o666)  # whoever can add to the store can add to this
    try:
        os.write(fd, line)
    finally:
        os.close(fd)


class ReaderPosition(NamedTuple):
    """Up to where the file was read: its first line, which tells it from a later file of that name, and the bytes."""

    first: bytes = b""
    end: int = 0


class Changes(NamedTuple):
    """By run, the writers to which something came, and where to read on. ``writers`` is None where lines are missing:
    then anything may have changed."""

    writers: dict[str, set[str]] | None
    position: ReaderPosition


def read(root: Path, position: ReaderPosition) -> Changes:
    """The changes since ``position``. Those of the last seconds are given again the next time."""
    try:
        with plain_files.opened(root / FILENAME) as file:
            first = file.readline()
            if position.first not in (b"", first) or os.fstat(file.fileno()).st_size < position.end:
                file.seek(0)
                return Changes(None, _read(file)[1])
            file.seek(position.end)
            return Changes(*_read(file, first, position.end))
    except FileNotFoundError:
        return Changes(None if position.first else {}, ReaderPosition())
    except plain_files.NotPlain:
        return Changes(None, ReaderPosition())


def _read(lines: Iterable[bytes], first: bytes = b"", end: int = 0) -> tuple[dict[str, set[str]], ReaderPosition]:
    writers: dict[str, set[str]] = {}
    now, all_old = time.time_ns(), True
    for line in lines:
        if not line.endswith(b"\n"):
            break  # it is being written
        first = first or line
        when, _, where = line.decode("utf-8", "replace").rstrip("\n").partition(" ")
        run, _, writer = where.partition("/")
        writers.setdefault(run, set()).add(writer)
        all_old &= not when.isdecimal() or abs(now - int(when)) > RECENT_NS
        if all_old:
            end += len(line)
    return writers, ReaderPosition(first, end)


def trim(root: Path) -> None:
    """Delete the file where it is long. The caller is about to look at everything."""
    path = root / FILENAME
    with contextlib.suppress(OSError):
        if path.stat().st_size > MOST_BYTES:
            path.unlink()
