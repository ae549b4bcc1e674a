"""Files on their way in.

    <root>/blobs/.draft-<pid>-<random>               sent in one request, and gone with it
    <root>/blobs/.draft-of-<owner>-<name>-<digest>   sent in as many as it takes: it stays until all is there

The second kind, an upload, is what a transfer that was cut off goes on with, also after this server or the client was
begun anew. Who sends it gives it a name, so that two that send the same file don't write to one draft; owners are
tokens, so that nobody goes on with what another one sent. A lock lets one request at a time write to it.

What has come is not trusted before all of it has been read and has the digest. An upload that nobody went on with for
some days is thrown away when the next one is begun; ``tachograph gc`` does that too.
"""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Callable
from pathlib import Path

from tachograph.errors import Error
from tachograph.journal.blobs import digest_of
from tachograph.runtime.locks import try_lock

UPLOAD = ".draft-of-"
_FLAGS = os.O_RDWR | os.O_CREAT | getattr(os, "O_CLOEXEC", 0) | getattr(os, "O_BINARY", 0)


class Busy(Error):
    """Another request writes to the upload."""


class TooMany(Error):
    """The owner has as many unfinished uploads as one may have."""


class Draft:
    """See :class:`tachograph.server.storage.Draft`. ``publish`` makes a blob of a file, given its path and digest."""

    def __init__(self, path: Path, descriptor: int, publish: Callable[[Path, str], bool], lasts: bool) -> None:
        self._path, self._publish, self._lasts = path, publish, lasts
        self._file = open(descriptor, "r+b", buffering=0)  # noqa: SIM115 - closed by ``close``
        self.size = self._file.seek(0, os.SEEK_END)

    def write(self, content: bytes | bytearray) -> None:
        """Add to its end."""
        left = memoryview(content)
        while left:
            written = self._file.write(left)
            left = left[written:]
            self.size += written

    def digest(self) -> str:
        """The digest of all of it, read anew."""
        return digest_of(self._path)

    def keep(self, digest: str) -> bool:
        """Let it be the blob of that digest, which is known to be its own. False where there was one already."""
        os.fsync(self._file.fileno())
        made = self._publish(self._path, digest)
        self.discard()
        return made

    def discard(self) -> None:
        """Throw it away."""
        if os.name == "nt":  # what is open can't be deleted there; elsewhere the lock stays until it is
            self._file.close()
        self._path.unlink(missing_ok=True)

    def close(self) -> None:
        """Done for now: only an upload stays."""
        if not self._lasts:
            self.discard()
        self._file.close()  # and with it goes the lock


class Drafts:
    """Those in a folder, which is made where it isn't there."""

    def __init__(self, folder: Path, publish: Callable[[Path, str], bool]) -> None:
        self._folder, self._publish = folder, publish

    def new(self) -> Draft:
        """One for a single request."""
        self._folder.mkdir(parents=True, exist_ok=True)
        path = self._folder / f".draft-{os.getpid()}-{os.urandom(6).hex()}"
        return Draft(path, os.open(path, _FLAGS | os.O_EXCL, 0o600), self._publish, lasts=False)

    def size(self, owner: str, name: str, digest: str) -> int:
        """How many bytes of an upload have come: 0 where it was not begun. Raises :class:`Busy`."""
        try:
            descriptor = _locked(self._path(owner, name, digest), os.O_RDWR)
        except FileNotFoundError:
            return 0
        try:
            return os.fstat(descriptor).st_size
        finally:
            os.close(descriptor)

    def upload(self, owner: str, name: str, digest: str, most: int, rest: float) -> Draft:
        """An upload to begin or to go on with. An owner may have ``most`` of them; those that nobody wrote to for
        ``rest`` seconds are thrown away. Raises :class:`Busy` and :class:`TooMany`."""
        self._folder.mkdir(parents=True, exist_ok=True)
        path = self._path(owner, name, digest)
        if not path.exists():
            self._sweep(time.time() - rest)
            if sum(1 for _ in self._folder.glob(f"{UPLOAD}{owner}-*")) >= most:
                raise TooMany(f"{most} uploads with this token are unfinished: finish or delete some first")
        return Draft(path, _locked(path), self._publish, lasts=True)

    def forget(self, owner: str, name: str, digest: str) -> None:
        """Throw an upload away. Raises :class:`Busy`."""
        with contextlib.suppress(FileNotFoundError):
            _discard(self._path(owner, name, digest))

    def _path(self, owner: str, name: str, digest: str) -> Path:
        return self._folder / f"{UPLOAD}{owner}-{name}-{digest.removeprefix('sha256:')}"

    def _sweep(self, before: float) -> None:
        for path in self._folder.glob(f"{UPLOAD}*"):
            with contextlib.suppress(Busy, FileNotFoundError):
                if path.stat().st_mtime < before:
                    _discard(path)


def _discard(path: Path) -> None:
    descriptor = _locked(path, os.O_RDWR)
    try:
        if os.name != "nt":
            path.unlink()
    finally:
        os.close(descriptor)
    if os.name == "nt":
        path.unlink(missing_ok=True)


def _locked(path: Path, flags: int = _FLAGS) -> int:
    """The file, for us alone. It may become a blob, or be thrown away, between being opened and being ours."""
    while True:
        descriptor = os.open(path, flags, 0o600)
        try:
            if not try_lock(descriptor):
                raise Busy("another request sends this upload: come again when that one has ended")
            if os.path.samestat(os.fstat(descriptor), os.stat(path)):
                return descriptor
        except FileNotFoundError:
            pass
        except BaseException:
            os.close(descriptor)
            raise
        os.close(descriptor)
