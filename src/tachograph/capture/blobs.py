"""Files, kept once each under the digest of their content.

    <root>/blobs/<aa>/<digest>    the bytes; <aa> are the digest's first two digits

A file is copied and hashed in one pass while it is logged, so that what is kept is what it was at that moment,
whatever happens to the original. A blob appears under its name only when it is whole.
"""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO

from tachograph.events import Member, encode

CHUNK = 1 << 20


class Blobs:
    """The blob store of one root folder."""

    def __init__(self, root: Path) -> None:
        self.folder = root / "blobs"

    def path(self, digest: str) -> Path:
        """Where the blob ``sha256:...`` lies, or would lie."""
        plain = digest.removeprefix("sha256:")
        return self.folder / plain[:2] / plain

    def put_bytes(self, content: bytes) -> tuple[str, int]:
        """Keep ``content``; its digest and size in bytes."""
        digest = _sha256(content).hexdigest()
        target = self.path(digest)
        if not _is_kept(target):
            draft = self._draft()
            try:
                draft.write_bytes(content)
                _publish(draft, target)
            finally:
                draft.unlink(missing_ok=True)
        return "sha256:" + digest, len(content)

    def put_file(self, path: Path) -> tuple[str, int]:
        """Keep a copy of the file at ``path``; its digest and size in bytes. Raises OSError where it can't be read."""
        if not stat.S_ISREG(os.stat(path).st_mode):
            raise OSError(errno.EINVAL, "it is no regular file", str(path))  # a pipe would be waited for, for ever
        draft = self._draft()
        try:
            with open(path, "rb") as source, open(draft, "wb") as copy:
                digest, size = _copy(source, copy)
            target = self.path(digest)
            if not _is_kept(target):
                _publish(draft, target)
        finally:
            draft.unlink(missing_ok=True)
        return "sha256:" + digest, size

    def put_folder(self, folder: Path) -> tuple[str, int, list[Member]]:
        """Keep every file below ``folder``; the digest of the list of them, their size together, and the list."""
        members = []
        for path in _files(folder, self.folder.parent):
            digest, size = self.put_file(path)
            name = path.relative_to(folder).as_posix().encode("utf-8", "backslashreplace").decode()
            members.append(Member(name, digest, size))
        total = sum(member.size for member in members)
        return "sha256:" + _sha256(encode(members)).hexdigest(), total, members

    def _draft(self) -> Path:
        self.folder.mkdir(parents=True, exist_ok=True)
        return self.folder / f".draft-{os.getpid()}-{os.urandom(6).hex()}"


def digest_of(path: Path) -> str:
    """The digest of the file at ``path``."""
    import hashlib

    with open(path, "rb") as file:
        return "sha256:" + hashlib.file_digest(file, "sha256").hexdigest()


def _sha256(content: bytes = b"") -> Any:
    import hashlib  # loads OpenSSL: not before a file is logged

    return hashlib.sha256(content)


def _copy(source: BinaryIO, copy: BinaryIO) -> tuple[str, int]:
    digest, size = _sha256(), 0
    while chunk := source.read(CHUNK):
        digest.update(chunk)
        copy.write(chunk)
        size += len(chunk)
    return str(digest.hexdigest()), size


def _is_kept(target: Path) -> bool:
    """Whether the blob is there; it counts as new again, so that nobody clears it away while it is being logged."""
    try:
        os.utime(target)
    except FileNotFoundError:
        return False
    except PermissionError:  # somebody else's blob in a shared store
        return True
    return True


def _publish(draft: Path, target: Path) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    os.chmod(draft, 0o444)
    os.replace(draft, target)


def _files(folder: Path, store: Path) -> Iterator[Path]:
    """Regular files below ``folder`` in a fixed order. Links to folders are not followed: they may go in circles. What
    is in the store is not kept again."""
    for parent, folders, names in os.walk(folder):
        folders[:] = sorted(name for name in folders if not _is_same(Path(parent, name), store))
        for path in (Path(parent, name) for name in sorted(names)):
            if path.is_file():
                yield path


def _is_same(path: Path, other: Path) -> bool:
    return path.name == other.name and other.exists() and path.samefile(other)
