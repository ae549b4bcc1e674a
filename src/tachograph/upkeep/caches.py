"""What is kept of stores in the user's cache folder: mirrors of buckets, files of servers, indexes of folders that
can't be written. All of it can be had again.
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
    """A folder: its size in bytes, and when it was last used, in seconds since 1970."""

    folder: Path
    size: int
    used: float


def folder() -> Path:
    """Where they lie."""
    return cache_folder("").parent


def known() -> list[Cache]:
    """All there are, the longest unused first."""
    place = folder()
    folders = [one for one in place.iterdir() if _is_ours(one.name) and one.is_dir()] if place.is_dir() else []
    return sorted(map(_cache, folders), key=lambda one: one.used)


def unused() -> list[Cache]:
    """Those that have not been used for 30 days."""
    return [one for one in known() if one.used < time.time() - UNUSED_SECONDS]


def delete(cache: Cache) -> None:
    """Delete a cache, unless it has been used since it was looked at."""
    with contextlib.suppress(OSError):  # another process does, or uses it
        if cache.folder.stat().st_mtime <= cache.used:
            shutil.rmtree(cache.folder)


def _cache(place: Path) -> Cache:
    """A cache was used when a file came into its folder or went, as SQLite's do, or was written to."""
    size, used = 0, place.stat().st_mtime
    for parent, _, names in os.walk(place):
        for name in names:
            with contextlib.suppress(OSError):
                status = os.lstat(os.path.join(parent, name))
                size, used = size + status.st_size, max(used, status.st_mtime)
    return Cache(place, size, used)
