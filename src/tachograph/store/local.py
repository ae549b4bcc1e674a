"""The questions of a store in a folder, answered by its index; and its files."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from pathlib import Path

from tachograph.index.index import Index
from tachograph.journal import tombstones
from tachograph.journal.blobs import Blobs
from tachograph.runtime.cache_folder import cache_folder
from tachograph.store.questions import ALL
from tachograph.store.sql import SqlQuestions


class FolderQuestions(SqlQuestions):
    """Implements :class:`tachograph.store.questions.Questions`."""

    def __init__(self, root: Path, on_read: Callable[[int], None] | None = None) -> None:
        self.index = Index(root, on_read)
        super().__init__(self.index, FolderFiles(root), str(root), root)

    def removed(self, key: str) -> str | None:
        for tombstone in reversed(tombstones.removed(self.index.root).values()):
            if key in (tombstone.id, tombstone.name) or (key and tombstone.id.startswith(key)):
                return str(tombstone)
        return None

    def unreadable(self, after: tuple[str] | None = None, limit: int = ALL) -> list[tuple[str, str]]:
        files = [(str(damage.path), damage.reason) for damage in self.index.unreadable]
        return [(path, reason) for path, reason in files if after is None or path > after[0]][:limit]


class FolderFiles:
    """Implements :class:`tachograph.store.questions.Files`."""

    def __init__(self, root: Path) -> None:
        self._root, self._blobs = root, Blobs(root)

    @property
    def copies(self) -> Path:
        inside = self._root / "cache"
        writable = os.access(inside if inside.exists() else self._root, os.W_OK)
        return inside if writable else cache_folder(self._root) / "cache"

    def blob(self, digest: str) -> Path:
        return self._blobs.find(digest)

    def lacking(self, digests: Sequence[str]) -> list[str]:
        return [digest for digest in digests if not self._blobs.find(digest).is_file()]
