"""Locks between processes. The lock of a process that ends, however it ends, is released."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from time import monotonic, sleep

from tachograph.errors import Error
from tachograph.runtime import plain_files

_PAUSE = 0.002  # seconds between two tries of somebody who does not wait for ever


@contextmanager
def locked(path: Path, seconds: float | None = None) -> Iterator[int]:
    """Hold the lock of a file, which is created if missing; gives its descriptor. Waits until others release it.

    Waits ``seconds`` at most, where that is given, and raises ``Error`` then: a process that was stopped holds its
    locks for ever.
    """
    fd = plain_files.descriptor(path, os.O_RDWR | os.O_CREAT, 0o600)
    try:
        if seconds is None:
            _lock(fd)
        else:
            _lock_within(seconds, fd, path)
        yield fd
    finally:
        os.close(fd)  # and the lock with it


def _lock_within(seconds: float, fd: int, path: Path) -> None:
    end = monotonic() + seconds
    while not try_lock(fd):
        if monotonic() > end:
            raise Error(f"another process has held {path} for {seconds:.0f} seconds: has it been stopped?")
        sleep(_PAUSE)


if sys.platform == "win32":
    import msvcrt

    _FAR = 1 << 30  # a byte that nobody reads: there a locked one can't be

    def try_lock(fd: int) -> bool:
        """Lock a file for as long as this descriptor is open; False where somebody else has."""
        os.lseek(fd, _FAR, os.SEEK_SET)
        try:
            msvcrt.locking(fd, msvcrt.LK_NBLCK, 1)
        except OSError:
            return False
        os.lseek(fd, 0, os.SEEK_SET)
        return True

    def _lock(fd: int) -> None:
        os.lseek(fd, _FAR, os.SEEK_SET)
        while True:
            try:
                msvcrt.locking(fd, msvcrt.LK_LOCK, 1)
                break
            except OSError:  # it gives up after ten seconds
                continue
        os.lseek(fd, 0, os.SEEK_SET)

else:
    import fcntl

    def try_lock(fd: int) -> bool:
        """Lock a file for as long as this descriptor is open; False where somebody else has."""
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        return True

    def _lock(fd: int) -> None:
        fcntl.flock(fd, fcntl.LOCK_EX)


def sync_folder(folder: Path) -> None:
    """Force the names in a folder to disk."""
    if sys.platform == "win32":
        return  # a folder can't be opened there
    fd = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)
