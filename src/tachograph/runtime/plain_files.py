"""The files of a store, opened without waiting. In the place of one there may be a pipe, a socket or a device, which
whoever opens or reads it may wait for, for ever: none of these is opened.
"""

from __future__ import annotations

import errno
import os
import stat
from io import BufferedReader
from pathlib import Path

_ALWAYS = getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_CLOEXEC", 0) | getattr(os, "O_BINARY", 0)


class NotPlain(OSError):
    """In the place of a file there is something else."""


def descriptor(path: str | Path, flags: int, mode: int = 0o666) -> int:
    """``os.open`` for a plain file. Raises ``NotPlain`` for what is none, else OSError."""
    try:
        fd = os.open(path, flags | _ALWAYS, mode)
    except OSError as error:
        if error.errno == errno.ENXIO:  # a socket, or a pipe that nobody reads
            raise _not_plain(path) from None
        raise
    if not stat.S_ISREG(os.fstat(fd).st_mode):
        os.close(fd)
        raise _not_plain(path)
    return fd


def opened(path: str | Path) -> BufferedReader:
    """A plain file, opened for reading. Raises ``NotPlain`` for what is none, else OSError."""
    return open(path, "rb", opener=lambda name, flags: descriptor(name, flags))


def content(path: str | Path) -> bytes:
    """The bytes of a plain file. Raises ``NotPlain`` for what is none, else OSError."""
    with opened(path) as file:
        return file.read()


def is_odd(path: Path) -> bool:
    """Whether there is something that is neither a plain file nor a folder."""
    try:
        mode = path.stat().st_mode
    except OSError:
        return False
    return not stat.S_ISREG(mode) and not stat.S_ISDIR(mode)


def _not_plain(path: str | Path) -> NotPlain:
    return NotPlain(errno.EINVAL, "it is no plain file", str(path))
