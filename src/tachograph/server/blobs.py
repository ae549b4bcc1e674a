"""Where a server keeps files: in its folder, or in a bucket."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Protocol

from tachograph.bucket.blobs import BucketFiles
from tachograph.bucket.credentials import Unusable
from tachograph.bucket.objects import Objects
from tachograph.errors import Error, Retry
from tachograph.journal.blobs import CHUNK, Blobs
from tachograph.runtime import plain_files, whole_files
from tachograph.runtime.cache_folder import cache_folder
from tachograph.runtime.locks import sync_folder
from tachograph.server.drafts import Drafts
from tachograph.server.storage import Unavailable
from tachograph.upkeep import Collected
from tachograph.upkeep.folder import collect_blobs


class BlobStore(Protocol):
    """Keeps files by their digests. It is also what a store reads files from: a
    :class:`tachograph.store.questions.Files`."""

    drafts: Drafts

    def size(self, digest: str) -> int | None:
        """How many bytes the file has; None where it is not kept."""

    def read(self, digest: str, start: int, length: int) -> Iterator[bytes]:
        """``length`` bytes of the file from ``start`` on, piece by piece."""

    @property
    def copies(self) -> Path:
        """The folder for copies of files under their own names."""

    def blob(self, digest: str) -> Path:
        """A local file with the content of that digest."""

    def lacking(self, digests: Sequence[str]) -> Sequence[str]:
        """Those of ``digests`` that are not kept, for readers."""

    def missing(self, digests: Sequence[str]) -> Sequence[str]:
        """The same for senders: the others stay for an hour at least, so that events may refer to them until then."""

    def collect(self, needed: set[str], dry: bool) -> Collected:
        """Delete the files that are not ``needed``, which are digests without ``sha256:``."""


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
        with plain_files.opened(self._blobs.find(digest)) as file:
            file.seek(start)
            while length and (block := file.read(min(CHUNK, length))):
                length -= len(block)
                yield block

    def _publish(self, path: Path, digest: str) -> bool:
        is_new = self._blobs.publish(path, digest) is not None
        folder = self._blobs.path(digest).parent
        sync_folder(folder)
        sync_folder(folder.parent)
        return is_new

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
    """Files in a bucket. Drafts, which are not whole yet, lie in a folder of this server."""

    def __init__(self, url: str, root: Path) -> None:
        self._objects, self._root = Objects(url), root
        self._shelves = BucketFiles(self._objects)
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
        """A local copy, which is made when it is first asked for and stays."""
        target = self.copies / "blobs" / _path(digest)
        if not target.exists() and self.size(digest) is not None:
            target.parent.mkdir(parents=True, exist_ok=True)
            with whole_files.draft(target) as draft, open(draft, "wb") as file, _available():
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


def open_blobs(url: str | None, root: Path) -> BlobStore:
    """The blob store at ``url``, a folder or a bucket; without it the one in ``root``. Raises ``Error`` where a bucket
    can't be used."""
    if url is None or "://" not in url:
        return FolderBlobs(Path(url).expanduser().absolute() if url else root)
    try:
        blobs = BucketBlobs(url, root)
        blobs.size("sha256:" + "0" * 64)  # fails where the bucket can't be reached
    except (Unusable, Unavailable) as error:
        raise Error(str(error)) from None
    return blobs


def _path(digest: str) -> str:
    plain = digest.removeprefix("sha256:")
    return f"blobs/{plain[:2]}/{plain}"


@contextmanager
def _available() -> Iterator[None]:
    """Say of a bucket that can't be reached now that it is unavailable."""
    try:
        yield
    except Retry as error:
        raise Unavailable(str(error)) from None
