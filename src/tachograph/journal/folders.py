"""The files below a folder, links followed; and by name what could not be read."""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import NamedTuple

SHOWN = 10  # parts that are named where many are left out


class Folder(NamedTuple):
    """A folder on the way down: its name below the top one, "" for that, and the identities of those around it."""

    path: Path
    name: str
    around: tuple[tuple[int, int], ...]


def files(top: Path, store: Path, left_out: dict[str, str]) -> Iterator[tuple[str, Path]]:
    """The files below ``top``, by their names in it, in a fixed order.

    Links are followed, but for those that lead back to a folder around them. What can't be read is added to
    ``left_out`` with the reason. The folder ``store`` itself is passed over: what is in it is kept already. Raises
    OSError where ``top`` itself can't be read.
    """
    waiting = [Folder(top, "", (_identity(os.stat(top)),))]
    while waiting:
        folder, inner = waiting.pop(), []
        for name, path in _entries(folder, left_out):
            try:
                subfolder = _subfolder(folder, name, path)
            except OSError as error:
                left_out[name] = reason(error)
                continue
            if subfolder is None:
                yield name, path
            elif not _is_same(path, store):
                inner.append(subfolder)
        waiting += reversed(inner)


def reason(error: OSError) -> str:
    """Why something can't be read, in the words of the operating system."""
    return error.strerror or str(error)


def named(left_out: Mapping[str, str]) -> str:
    """The parts that were left out, each with the reason; of many the first ones."""
    shown = [f"{name} ({why})" for name, why in list(left_out.items())[:SHOWN]]
    return ", ".join(shown) + f" and {len(left_out) - SHOWN} more" * (len(left_out) > SHOWN)


def _entries(folder: Folder, left_out: dict[str, str]) -> list[tuple[str, Path]]:
    try:
        names = sorted(os.listdir(folder.path))
    except OSError as error:
        if not folder.name:
            raise
        left_out[folder.name] = reason(error)
        return []
    return [(_text(f"{folder.name}/{name}" if folder.name else name), folder.path / name) for name in names]


def _subfolder(folder: Folder, name: str, path: Path) -> Folder | None:
    """The folder at ``path``; None for a file. Raises OSError for a link back to a folder around it."""
    status = os.stat(path)
    if not stat.S_ISDIR(status.st_mode):
        return None
    if _identity(status) in folder.around:
        raise OSError(errno.ELOOP, "it leads back to a folder around it")
    return Folder(path, name, (*folder.around, _identity(status)))


def _identity(status: os.stat_result) -> tuple[int, int]:
    return status.st_dev, status.st_ino


def _is_same(path: Path, other: Path) -> bool:
    return path.name == other.name and other.exists() and path.samefile(other)


def _text(name: str) -> str:
    """A file's name in characters that can be written as UTF-8."""
    return name.encode("utf-8", "backslashreplace").decode()
