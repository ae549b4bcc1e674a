"""Where a server keeps files: in a folder, or in a bucket."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Protocol

from tachograph.bucket.blobs import Shelves
from tachograph.bucket.credentials import Unusable
from tachograph.bucket.objects import Objects
from tachograph.errors import Error, Retry
from tachograph.journal.blobs import CHUNK, Blobs
from tachograph.runtime import whole_files
from tachograph.runtime.cache_folder import cache_folder
from tachograph.runtime.locks import sync_folder
from tachograph.server.drafts import Drafts
from tachograph.server.storage import Unavailable
from tachograph.upkeep import Collected
from tachograph.upkeep.folder import collect_blobs


class BlobStore(Protocol):
    """Files by their digests, which are in them; see :class:`tachograph.store.questions.Files`, too."""

    drafts: Drafts

    def size(self, digest: str) -> int | None:
        """How many bytes it has; None where there is none."""

    def read(self, digest: str, start: int, length: int) -> Iterator[bytes]:
        """``length`` bytes from ``start`` on, piece by piece."""

    @property
    def copies(self) -> Path:
        """A folder for copies under their own names."""

    def blob(self, digest: str) -> Path:
        """A local file with these bytes."""

    def lacking(self, digests: Sequence[str]) -> Sequence[str]:
        """Those of ``digests`` whose bytes are not held."""

    def missing(self, digests: Sequence[str]) -> Sequence[str]:
        """The same, for those who send: the others will be held for an hour, and then as long as they are needed."""

    def collect(self, needed: set[str], dry: bool) -> Collected:
        """Delete what nobody needs any more; ``needed`` are digests, without what stands before their digits."""


class FolderBlobs:
    """Files in a store's folder."""

    def __init__(self, root: Path) -> None:
        self._root, self._blobs = root, Blobs(root)
        self.drafts = Drafts(self._blobs.folder, self._publish)

    def size(self, digest: str) -> int | None:
        try:
            return self._blobs.find(digest).stat().st_size
        except FileNotFoundError:
            return None

    def read(self, digest: str, start: int, length: int) -> Iterator[bytes]:
        with open(self._blobs.find(digest), "rb") as file:
            file.seek(start)
            while length and (block := file.read(min(CHUNK, length))):
                length -= len(block)
                yield block

    def _publish(self, path: Path, digest: str) -> bool:
        made = self._blobs.publish(path, digest) is not None
        folder = self._blobs.path(digest).parent
        sync_folder(folder)
        sync_folder(folder.parent)
        return made

    @property
    def copies(self) -> Path:
        return cache_folder(self._root) / "cache"

    def blob(self, digest: str) -> Path:
        return self._blobs.find(digest)

    def lacking(self, digests: Sequence[str]) -> list[str]:
        return [digest for digest in digests if self.size(digest) is None]

    def missing(self, digests: Sequence[str]) -> list[str]:
        return [digest for digest in digests if not self._blobs.touch(digest)]

    def collect(self, needed: set[str], dry: bool) -> Collected:
        return collect_blobs(self._root, needed, dry)


class BucketBlobs:
    """Files in a bucket; those on their way in lie in a folder of this server's own."""

    def __init__(self, url: str, root: Path) -> None:
        self._objects, self._root = Objects(url), root
        self._shelves = Shelves(self._objects)
        self.drafts = Drafts(root / "server" / "drafts", self._publish)

    def size(self, digest: str) -> int | None:
        with _available():
            return self._objects.size(_path(digest))

    def read(self, digest: str, start: int, length: int) -> Iterator[bytes]:
        return self._objects.pieces(_path(digest), start, length)

    def _publish(self, path: Path, digest: str) -> bool:
        with _available():
            return bool(self._shelves.missing([digest])) and self._objects.create_file(_path(digest), path)

    @property
    def copies(self) -> Path:
        return cache_folder(self._root) / "cache"

    def blob(self, digest: str) -> Path:
        """A copy, which stays."""
        target = self.copies / "blobs" / _path(digest)
        if not target.exists() and self.size(digest) is not None:
            target.parent.mkdir(parents=True, exist_ok=True)
            with whole_files.draft(target) as made, open(made, "wb") as file, _available():
                file.writelines(self._objects.pieces(_path(digest)))
        return target

    def lacking(self, digests: Sequence[str]) -> list[str]:
        with _available():
            return self._shelves.lacking(digests)

    def missing(self, digests: Sequence[str]) -> list[str]:
        with _available():
            return self._shelves.missing(digests)

    def collect(self, needed: set[str], dry: bool) -> Collected:
        with _available():
            return self._shelves.collect(needed, dry)


def opened(url: str | None, root: Path) -> BlobStore:
    """Where ``url`` says: a folder, or a bucket; without it in ``root``. Raises ``Error``."""
    if url is None or "://" not in url:
        return FolderBlobs(Path(url).expanduser().absolute() if url else root)
    try:
        blobs = BucketBlobs(url, root)
        blobs.size("sha256:" + "0" * 64)  # whether it can be asked at all
    except (Unusable, Unavailable) as error:
        raise Error(str(error)) from None
    return blobs


def _path(digest: str) -> str:
    plain = digest.removeprefix("sha256:")
    return f"blobs/{plain[:2]}/{plain}"


@contextmanager
def _available() -> Iterator[None]:
    try:
        yield
    except Retry as error:
        raise Unavailable(str(error)) from None
