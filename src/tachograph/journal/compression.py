"""Compressing segments that nobody writes any more. At every moment there is a whole copy."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path

from tachograph.journal.reading import PACKED_LIMIT, _packed, segments
from tachograph.runtime.locks import sync_folder
from tachograph.runtime.whole_files import DRAFT


def sealed(writer_folder: Path, gone: bool, before: float) -> Iterator[Path]:
    """A writer's segments that are sealed, not yet compressed, and were last changed ``before`` that time.

    ``gone`` says that the writer's process is provably gone; else its last segment may still be written.
    """
    paths = segments(writer_folder)
    for path in paths if gone else paths[:-1]:
        with contextlib.suppress(FileNotFoundError):  # compressed already
            status = path.stat()
            if status.st_mtime < before and status.st_size < PACKED_LIMIT:
                yield path


def compress(path: Path) -> int:
    """Compress a sealed segment; how many bytes that frees. Where it is interrupted, the next time begins anew.

    The plain file goes only once the other one is known to hold the same and is on disk under its name.
    """
    draft = path.with_name(f"{DRAFT}{os.getpid()}-{os.urandom(6).hex()}")
    try:
        _pack(path, draft)
        if not _holds(draft, path):
            return 0  # it was written meanwhile
        status = path.stat()
        freed = status.st_size - draft.stat().st_size
        os.replace(draft, _packed(path))
        os.utime(_packed(path), ns=(status.st_atime_ns, status.st_mtime_ns))  # when the events were written
    finally:
        draft.unlink(missing_ok=True)
    sync_folder(path.parent)
    path.unlink(missing_ok=True)  # somebody else may be at it, too
    return freed


def abandoned(writer_folder: Path, before: float) -> Iterator[Path]:
    """Drafts of processes that died, from ``before`` that time."""
    for path in writer_folder.glob(f"{DRAFT}*"):
        if path.stat().st_mtime < before:
            yield path


def _pack(path: Path, draft: Path) -> None:
    import gzip
    from shutil import copyfileobj

    status = path.stat()
    with open(path, "rb") as source, open(draft, "xb") as file:
        with gzip.GzipFile("", "wb", fileobj=file, mtime=status.st_mtime) as packed:
            copyfileobj(source, packed, 1 << 20)
        file.flush()
        os.fsync(file.fileno())
    os.chmod(draft, status.st_mode)


def _holds(draft: Path, path: Path) -> bool:
    """Whether ``draft`` decompresses to the content of ``path``."""
    import gzip

    with open(path, "rb") as plain, gzip.open(draft) as packed:
        while block := plain.read(1 << 20):
            if packed.read(len(block)) != block:
                return False
        return not packed.read(1)
