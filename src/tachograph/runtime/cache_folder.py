"""The user's own folder for what belongs to a store but can't lie in it."""

from __future__ import annotations

import hashlib
import os
import sys
from pathlib import Path


def cache_folder(place: Path | str) -> Path:
    """A folder of the user's own for what belongs to a store, a folder or a URL, but can't lie in it."""
    name = place if isinstance(place, str) else place.resolve()
    return _user_cache() / "tachograph" / hashlib.sha256(os.fsencode(name)).hexdigest()[:16]


def _user_cache() -> Path:
    named = os.environ.get("LOCALAPPDATA" if sys.platform == "win32" else "XDG_CACHE_HOME")
    if named:
        return Path(named)
    home = os.path.expanduser("~")
    if not os.path.isabs(home):
        from tempfile import gettempdir

        return Path(gettempdir())
    return Path(home, "Library/Caches" if sys.platform == "darwin" else ".cache")
