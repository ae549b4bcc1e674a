"""Folders in the user's cache for what belongs to a store but can't be kept in it."""

from __future__ import annotations

import hashlib
import os
import sys
from pathlib import Path


def cache_folder(store: Path | str) -> Path:
    """The cache folder of a store, which is given as a folder or a URL. It need not exist yet."""
    name = store if isinstance(store, str) else store.resolve()
    return _user_cache() / "tachograph" / hashlib.sha256(os.fsencode(name)).hexdigest()[:16]


def _user_cache() -> Path:
    configured = os.environ.get("LOCALAPPDATA" if sys.platform == "win32" else "XDG_CACHE_HOME")
    if configured:
        return Path(configured)
    home = os.path.expanduser("~")
    if not os.path.isabs(home):
        from tempfile import gettempdir

        return Path(gettempdir())
    return Path(home, "Library/Caches" if sys.platform == "darwin" else ".cache")
