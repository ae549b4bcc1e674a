"""The questions of a store in a bucket, answered by its mirror on this machine; and its files."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

from tachograph.bucket import layout
from tachograph.bucket.blobs import BucketFiles
from tachograph.bucket.mirror import Mirror
from tachograph.store.local import FolderFiles, FolderQuestions


class MirrorFiles(FolderFiles):
    """Implements :class:`tachograph.store.questions.Files`."""

    def __init__(self, mirror: Mirror) -> None:
        super().__init__(mirror.root)
        self._mirror = mirror

    def blob(self, digest: str) -> Path:
        path = super().blob(digest)
        if not path.is_file():
            self._mirror.fetch(digest)
        return path

    def lacking(self, digests: Sequence[str]) -> list[str]:
        return BucketFiles(self._mirror.objects).lacking(super().lacking(digests))


class MirrorQuestions(FolderQuestions):
    """Implements :class:`tachograph.store.questions.Questions`."""

    def __init__(self, mirror: Mirror, on_read: Callable[[int], None] | None = None) -> None:
        super().__init__(mirror.root, on_read)
        self._mirror = mirror
        self.name, self.files = mirror.name, MirrorFiles(mirror)
        self.root = None  # nobody else may write to the mirror's folder
        self.journals = mirror.root / layout.RUNS

    def refresh(self) -> None:
        self._mirror.refresh()
        super().refresh()

    def close(self) -> None:
        self._mirror.close()
        super().close()
