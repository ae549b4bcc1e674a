"""The user's cache folder: mirrors of buckets, files of servers, and indexes of folders that can't be written.

All of it can be deleted at any time, and is made again when it is needed.
"""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import time
from pathlib import Path
from typing import NamedTuple

from tachograph.runtime.cache_folder import cache_folder

UNUSED_SECONDS = 30 * 86_400.0

_is_ours = re.compile(r"[0-9a-f]{16}").fullmatch


class Cache(NamedTuple):
    """What is cached of one store: its folder, its size in bytes, and when it was last used (seconds since 1970)."""

    folder: Path
    size: int
    used: float


def folder() -> Path:
    """The folder that all caches are in."""
    return cache_folder("").parent


def existing() -> list[Cache]:
    """All caches, the longest unused first."""
    parent = folder()
    folders = [path for path in parent.iterdir() if _is_ours(path.name) and path.is_dir()] if parent.is_dir() else []
    return sorted(map(_measured, folders), key=lambda cache: cache.used)


def unused() -> list[Cache]:
    """The caches that have not been used for 30 days."""
    return [cache for cache in existing() if cache.used < time.time() - UNUSED_SECONDS]


def delete(cache: Cache) -> None:
    """Delete a cache, unless it has been used since it was looked at."""
    with contextlib.suppress(OSError):  # another process does, or uses it
        if cache.folder.stat().st_mtime <= cache.used:
            shutil.rmtree(cache.folder)


def _measured(folder: Path) -> Cache:
    """A cache counts as used when a file came into its folder or went, as SQLite's do, or was written to."""
    size, used = 0, folder.stat().st_mtime
    for parent, _, names in os.walk(folder):
        for name in names:
            with contextlib.suppress(OSError):
                status = os.lstat(os.path.join(parent, name))
                size, used = size + status.st_size, max(used, status.st_mtime)
    return Cache(folder, size, used)
