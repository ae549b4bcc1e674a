"""Upkeep of a store: runs are removed, and files that nothing refers to any more are deleted.

There is one class for each kind of store: in a folder, in a bucket, behind a server. A removal is put on record first,
by a tombstone for each run; only then is anything deleted. Whatever was interrupted is finished by the next removal or
collection.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Protocol

from tachograph import addresses
from tachograph.bucket.objects import SCHEMES
from tachograph.errors import NotFound
from tachograph.journal.blobs import GRACE_SECONDS as GRACE_SECONDS
from tachograph.journal.blobs import Collected as Collected


class Upkeep(Protocol):
    """What can be done to a store; ``name`` is what people call it."""

    name: str

    def remove(self, runs: Sequence[tuple[str, str]], force: bool = False) -> None:
        """Remove runs in this order, each given by its id and its name, for good. A server refuses to remove those that
        are running, unless ``force`` is given."""

    def sweep(self) -> None:
        """Finish removals that were interrupted."""

    def collect(self, dry: bool, days: int) -> Collected:
        """Delete files that nothing refers to any more, and compress journals that were last written ``days`` ago.
        With ``dry`` nothing is done, and the result says what would be."""


def upkeep_of(place: str | os.PathLike[str] | None) -> Upkeep:
    """The upkeep of the store that :func:`tachograph.store.store.open_store` opens under this URL, or in this folder.
    Raises ``NotFound`` where there is no such folder."""
    scheme = addresses.split(place, addresses.STORE).scheme if isinstance(place, str) and "://" in place else ""
    if isinstance(place, str) and scheme in ("http", "https"):
        from tachograph.upkeep.server import ServerUpkeep

        return ServerUpkeep(place)
    if isinstance(place, str) and scheme in SCHEMES:
        from tachograph.upkeep.bucket import BucketUpkeep

        return BucketUpkeep(place)
    from tachograph.store.store import open_store
    from tachograph.upkeep.folder import FolderUpkeep

    root = open_store(place).root
    if not root.is_dir():
        raise NotFound(f"there is no store at {root}: --root names another")
    return FolderUpkeep(root)
