"""Drafts: files that are being received.

    <root>/blobs/.draft-<pid>-<random>               received in one request, and gone with it
    <root>/blobs/.draft-of-<owner>-<name>-<digest>   received in several requests: it stays until all is there

The second kind is called an upload. A transfer that was cut off continues with it, also after this server or the client
was restarted. The sender gives it a name, so that two senders of the same file don't write to one draft. Its owner is a
token, so that nobody continues what somebody else began. A lock lets one request at a time write to it.

What was received becomes a blob only when all of it has been read again and has the digest. An upload that nobody has
written to for some days is deleted when the next one is begun, and by ``tachograph gc``.
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
    """A file that is being received. ``publish`` makes a blob of a file, given its path and digest; False where there
    is that blob already. A draft that ``lasts`` stays when it is closed."""

    def __init__(self, path: Path, descriptor: int, publish: Callable[[Path, str], bool], lasts: bool) -> None:
        self._path, self._publish, self._lasts = path, publish, lasts
        self._file = open(descriptor, "r+b", buffering=0)  # noqa: SIM115 - closed by ``close``
        self.size = self._file.seek(0, os.SEEK_END)

    def write(self, content: bytes | bytearray) -> None:
        """Write ``content`` to its end."""
        remaining = memoryview(content)
        while remaining:
            written = self._file.write(remaining)
            remaining = remaining[written:]
            self.size += written

    def digest(self) -> str:
        """The digest of all of it, as it is read from the disk."""
        return digest_of(self._path)

    def keep(self, digest: str) -> bool:
        """Make it the blob of that digest, which must be its own. False where that blob was there already."""
        os.fsync(self._file.fileno())
        is_new = self._publish(self._path, digest)
        self.discard()
        return is_new

    def discard(self) -> None:
        """Delete it."""
        if os.name == "nt":  # an open file can't be deleted there; elsewhere it stays locked until it is deleted
            self._file.close()
        self._path.unlink(missing_ok=True)

    def close(self) -> None:
        """End this request's use of it: an upload stays, another draft is deleted."""
        if not self._lasts:
            self.discard()
        self._file.close()  # and with it goes the lock


class Drafts:
    """The drafts in a folder, which is made where it isn't there."""

    def __init__(self, folder: Path, publish: Callable[[Path, str], bool]) -> None:
        self._folder, self._publish = folder, publish

    def new(self) -> Draft:
        """A new draft, for a single request."""
        self._folder.mkdir(parents=True, exist_ok=True)
        path = self._folder / f".draft-{os.getpid()}-{os.urandom(6).hex()}"
        return Draft(path, os.open(path, _FLAGS | os.O_EXCL, 0o600), self._publish, lasts=False)

    def size(self, owner: str, name: str, digest: str) -> int:
        """How many bytes of an upload were received; 0 where there is none. Raises :class:`Busy`."""
        try:
            descriptor = _locked(self._path(owner, name, digest), os.O_RDWR)
        except FileNotFoundError:
            return 0
        try:
            return os.fstat(descriptor).st_size
        finally:
            os.close(descriptor)

    def upload(self, owner: str, name: str, digest: str, limit: int, idle: float) -> Draft:
        """An upload, which is begun where there is none. An owner may have ``limit`` of them; those that nobody wrote
        to for ``idle`` seconds are deleted. Raises :class:`Busy` and :class:`TooMany`."""
        self._folder.mkdir(parents=True, exist_ok=True)
        path = self._path(owner, name, digest)
        if not path.exists():
            self._sweep(time.time() - idle)
            if sum(1 for _ in self._folder.glob(f"{UPLOAD}{owner}-*")) >= limit:
                raise TooMany(f"{limit} uploads with this token are unfinished: finish or delete some first")
        return Draft(path, _locked(path), self._publish, lasts=True)

    def forget(self, owner: str, name: str, digest: str) -> None:
        """Delete an upload. Raises :class:`Busy`."""
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
    """The descriptor of a file that only we have open. Between opening and locking it the file may become a blob, or be
    deleted: then it is opened again."""
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
