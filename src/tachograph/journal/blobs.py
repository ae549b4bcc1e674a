"""Files, kept once each under the digest of their content.

    <root>/blobs/<aa>/<digest>            the bytes; <aa> are the digest's first two digits
    <root>/blobs/.draft-*                 being added; left behind only by a process that was killed
    <root>/blobs/<aa>/<digest>.*.aside    being deleted, likewise

A file is copied while it is logged, so that what is kept is what it was at that moment, whatever happens to the
original. A blob appears under its name only when it is whole.

Runs and processes share blobs without a lock, and still a process may delete a blob that it made. Whoever relies on a
digest has either made its blob, or touched the one that was there, which changes its stamp (inode and time). So whoever
deletes a blob renames it first, compares its stamp, and renames it back where somebody has touched it meanwhile.
"""

from __future__ import annotations

import errno
import os
import stat
import time
from collections.abc import Callable, Generator, Iterator
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple, TypeVar

from msgspec import Struct

from tachograph.events import Member, encode
from tachograph.journal import folders
from tachograph.runtime import plain_files

T = TypeVar("T")

CHUNK = 1 << 20
ASIDE = ".aside"
# A blob is made that much older than it is: then any touch shows, however coarse the file system's clock.
_OLDER_NS = 10 * 10**9
# Who sends a run keeps a file first, and then says so in an event: so long, nothing that is not referred to is deleted.
GRACE_SECONDS = 3600.0


class Collected(Struct):
    """What a collection did, or would do: ``files`` deleted, of ``bytes`` together; ``runs`` of which something was
    left though they were removed; journals ``compressed``, which ``freed`` so many bytes; and files that are to be
    deleted ``later``, by a collection that begins an hour after this one, if still nothing refers to them."""

    files: list[str] = []
    bytes: int = 0
    runs: list[str] = []
    compressed: list[str] = []
    freed: int = 0
    later: int = 0
    deleted: bool = True


class Stamp(NamedTuple):
    """What changes when a blob is touched or replaced."""

    inode: int
    modified: int

    @classmethod
    def of(cls, path: Path) -> Stamp:
        status = os.stat(path)
        return cls(status.st_ino, status.st_mtime_ns)


class Blobs:
    """The blob store of one root folder."""

    def __init__(self, root: Path) -> None:
        self.folder = root / "blobs"

    def path(self, digest: str) -> Path:
        """Where the blob ``sha256:...`` lies, or would lie."""
        plain = digest.removeprefix("sha256:")
        return self.folder / plain[:2] / plain

    def find(self, digest: str) -> Path:
        """Where the blob can be read: at its path, or where a process that was killed has put it aside."""
        path = self.path(digest)
        return path if path.is_file() else next(path.parent.glob(f"{path.name}.*{ASIDE}"), path)

    def put_bytes(self, content: bytes) -> tuple[str, int]:
        """Keep ``content``; its digest and size in bytes."""
        draft = self.draft()
        try:
            draft.write_bytes(content)
            digest = "sha256:" + _sha256(content).hexdigest()
            self.publish(draft, digest)
        finally:
            draft.unlink(missing_ok=True)
        return digest, len(content)

    def put_file(self, path: Path) -> tuple[str, int]:
        """Keep a copy of the file at ``path``; its digest and size in bytes. Raises OSError where it can't be read."""
        _check_regular(path)
        draft = self.draft()
        try:
            with open(path, "rb") as source, open(draft, "wb") as copy:
                digest, size = _copy(source, copy)
            self.publish(draft, digest)
        finally:
            draft.unlink(missing_ok=True)
        return digest, size

    def put_folder(self, folder: Path) -> tuple[str, int, list[Member], dict[str, str]]:
        """Keep every file below ``folder``; the digest of the list of them, their size together, the list, and what
        could not be read, with the reason."""
        left_out: dict[str, str] = {}
        members = [Member(name, *kept) for name, kept in self.each_file(folder, self.put_file, left_out)]
        return digest_of_list(members), sum(member.size for member in members), members, left_out

    def each_file(self, folder: Path, take: Callable[[Path], T], left_out: dict[str, str]) -> Iterator[tuple[str, T]]:
        """What ``take`` makes of each file below ``folder``, by the file's name in it. A file that can't be read comes
        into ``left_out`` with the reason. Raises OSError where something else is wrong: a disk is full."""
        for name, path in folders.files(folder, self.folder.parent, left_out):
            try:
                taken = take(path)
            except OSError as error:
                if error.filename is None or os.fspath(error.filename) != str(path):
                    raise
                left_out[name] = folders.reason(error)
            else:
                yield name, taken

    def copy(self, path: Path) -> Path:
        """A draft with the content of the file at ``path``, for :meth:`publish`, by the fastest way there is.

        Raises OSError; then there is no draft.
        """
        _check_regular(path)
        draft = self.draft()
        try:
            _copy_fast(path, draft)
        except BaseException:
            draft.unlink(missing_ok=True)
            raise
        return draft

    def publish(self, draft: Path, digest: str) -> Stamp | None:
        """Make ``draft`` the blob of that digest. Returns its stamp if this made the blob, None if it was there."""
        target = self.path(digest)
        target.parent.mkdir(parents=True, exist_ok=True)
        older = time.time_ns() - _OLDER_NS
        os.utime(draft, ns=(older, older))
        os.chmod(draft, 0o444)
        stamp = Stamp.of(draft)
        while True:
            try:
                if _touch(target):
                    return None
                os.link(draft, target)  # unlike a renaming it never replaces what another has just made
            except FileExistsError:
                continue
            except OSError:  # somebody else's blob, which isn't ours to touch; or a file system without links
                _replace(draft, target)
                return None
            return None if target.parent.stat().st_mode & stat.S_ISVTX else stamp

    def touch(self, digest: str) -> bool:
        """Whether the blob is there, and not about to be deleted. From now on it counts as new, so nobody deletes
        it."""
        path = self.path(digest)
        try:
            return _touch(path)
        except OSError:  # somebody else's, which isn't ours to touch
            return path.is_file()

    def drop(self, path: Path, stamp: Stamp) -> bool:
        """Delete the blob at ``path`` if nobody has touched it since it had ``stamp``; returns whether it was
        deleted."""
        aside = path.with_name(f"{path.name}.{os.urandom(4).hex()}{ASIDE}")
        try:
            os.rename(path, aside)
            if Stamp.of(aside) == stamp:
                aside.unlink()
                return True
        except FileNotFoundError:
            return False
        put_back(aside)
        return False

    def asides(self) -> list[Path]:
        """Blobs that were put aside and neither deleted nor put back: a process is doing that now, or was killed."""
        return sorted(self.folder.glob(f"*/*{ASIDE}"))

    def draft(self) -> Path:
        """A path to write a new file to, which is then given to :meth:`publish`, or deleted by the caller."""
        self.folder.mkdir(parents=True, exist_ok=True)
        return self.folder / f".draft-{os.getpid()}-{os.urandom(6).hex()}"


def put_back(aside: Path) -> None:
    """Rename a blob back that was put aside. Where another was made meanwhile, that one is touched, so that its maker
    doesn't delete it: somebody relied on the one that was put aside."""
    target = aside.with_name(aside.name.partition(".")[0])
    try:
        while True:
            try:
                os.link(aside, target)
            except FileExistsError:
                if not _touch(target):
                    continue
            break
    except OSError:
        os.replace(aside, target)
    aside.unlink(missing_ok=True)


def digest_of(path: Path) -> str:
    """The digest of the file at ``path``."""
    import hashlib

    with plain_files.opened(path) as file:
        return "sha256:" + hashlib.file_digest(file, "sha256").hexdigest()


def digesting(path: Path) -> Generator[bool, None, str]:
    """The digest of the file at ``path``, bit by bit: yields True after every 64 MiB, returns the digest."""
    digest = _sha256()
    with plain_files.opened(path) as file:
        for count, chunk in enumerate(iter(lambda: file.read(CHUNK), b""), start=1):
            digest.update(chunk)
            if count % 64 == 0:
                yield True
    return "sha256:" + str(digest.hexdigest())


def digest_of_list(members: list[Member]) -> str:
    """The digest of a folder: that of the list of its files."""
    return "sha256:" + str(_sha256(encode(members)).hexdigest())


def _sha256(content: bytes = b"") -> Any:
    import hashlib  # loads OpenSSL: not before a file is logged

    return hashlib.sha256(content)


def _check_regular(path: Path) -> None:
    if not stat.S_ISREG(os.stat(path).st_mode):
        raise OSError(errno.EINVAL, "it is no regular file", str(path))  # a pipe would be waited for, for ever


def _copy(source: BinaryIO, copy: BinaryIO) -> tuple[str, int]:
    digest, size = _sha256(), 0
    for chunk in _chunks(source):
        digest.update(chunk)
        copy.write(chunk)
        size += len(chunk)
    return "sha256:" + str(digest.hexdigest()), size


def _chunks(source: BinaryIO) -> Iterator[bytes]:
    """The rest of the file, in chunks. An error names the file, so that it is not taken for one of the copy."""
    try:
        while chunk := source.read(CHUNK):
            yield chunk
    except OSError as error:
        error.filename = source.name
        raise


def _copy_fast(path: Path, draft: Path) -> None:
    """Copy copy_in_kernel the kernel, which shares the blocks where the file system can."""
    copy_in_kernel = getattr(os, "copy_file_range", None)
    with open(path, "rb", buffering=0) as source, open(draft, "wb") as copy:
        try:
            while copy_in_kernel and copy_in_kernel(source.fileno(), copy.fileno(), 1 << 30):
                pass
        except OSError:  # not here, or not between these two
            pass
        for chunk in _chunks(source):  # what is left
            copy.write(chunk)


def _touch(target: Path) -> bool:
    """Whether the blob is there; it counts as new again, so that nobody clears it away. Raises PermissionError."""
    try:
        if os.utime not in os.supports_fd:
            os.utime(target)
            return True
        descriptor = os.open(target, os.O_RDONLY)
    except FileNotFoundError:
        return False
    try:
        os.utime(descriptor)
        return os.fstat(descriptor).st_ino == os.stat(target).st_ino  # else it was put aside before it was touched
    except FileNotFoundError:
        return False
    finally:
        os.close(descriptor)


def _replace(draft: Path, target: Path) -> None:
    try:
        os.replace(draft, target)
    except PermissionError:
        if not target.is_file():  # a shared folder in which nobody replaces, nor drops, what others made
            raise
