"""Upkeep of a store in a folder."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

from tachograph import journal
from tachograph.journal import tombstones
from tachograph.journal.blobs import ASIDE, Blobs, Stamp, put_back
from tachograph.runtime import plain_files
from tachograph.upkeep import GRACE_SECONDS, Collected
from tachograph.upkeep.references import journal_lines, needed

DAY_SECONDS = 86_400.0


class FolderUpkeep:
    """The :class:`tachograph.upkeep.Upkeep` of a store in a folder."""

    def __init__(self, root: Path) -> None:
        self._root, self.name = root, str(root)

    def remove(self, runs: Sequence[tuple[str, str]], force: bool = False) -> None:
        tombstones.remove(self._root, runs)

    def sweep(self) -> None:
        tombstones.sweep(self._root)

    def collect(self, dry: bool, days: int) -> Collected:
        root = self._root
        removed = tombstones.hidden(root) if dry else tombstones.sweep(root)
        writers = [folder for folder in root.glob("runs/*/*") if folder.is_dir() and folder.parent.name not in removed]
        registry = (plain_files.content(path) for path in root.glob("registry/**/*.json"))
        collected = collect_blobs(root, needed(map(journal_lines, writers), registry), dry)
        abandoned = [path for writer in writers for path in journal.abandoned(writer, time.time() - GRACE_SECONDS)]
        collected.bytes += sum(path.stat().st_size for path in abandoned)
        collected.files += map(str, abandoned)
        sealed = [path for writer in writers for path in _sealed(writer, days)]
        if not dry:
            for path in abandoned:
                path.unlink(missing_ok=True)
            collected.freed = sum(map(_compress, sealed))
        collected.runs, collected.compressed = removed, list(map(str, sealed))
        return collected


def collect_blobs(root: Path, needed: set[str], dry: bool) -> Collected:
    """Delete the blobs of a folder that are not ``needed`` (digests without ``sha256:``), but for those that were kept
    or asked for within the last hour."""
    blobs = Blobs(root)
    if not dry:
        _put_back(blobs)
    stamps = {path: stamp for path, stamp in _old_files(blobs.folder) if path.name not in needed}
    size = sum(path.stat().st_size for path in stamps)
    if not dry:
        for path, stamp in stamps.items():
            _delete(path, stamp, blobs)
    return Collected(files=list(map(str, stamps)), bytes=size, deleted=not dry)


def _sealed(writer: Path, days: int) -> Iterator[Path]:
    """What is to be compressed. Of a process that may still live, only what it left behind at least an hour ago."""
    gone = journal.is_gone(journal.header(writer))
    age = days * DAY_SECONDS
    yield from journal.sealed(writer, gone, time.time() - (age if gone else max(age, GRACE_SECONDS)))


def _compress(path: Path) -> int:
    """Compress a segment; how many bytes that freed."""
    try:
        return journal.compress(path)
    except FileNotFoundError:
        return 0  # another process did, or removed the run


def _old_files(folder: Path) -> Iterator[tuple[Path, Stamp]]:
    """The kept files that are older than an hour, and the drafts that a killed process left, with their stamps."""
    before = (time.time() - GRACE_SECONDS) * 1e9
    for path in sorted((*folder.glob("*/*"), *folder.glob(".draft-*"))):
        with contextlib.suppress(FileNotFoundError):  # a run is deleting it just now
            stamp = Stamp.of(path)
            if path.is_file() and stamp.modified < before and path.suffix != ASIDE:
                yield path, stamp


def _put_back(blobs: Blobs) -> None:
    """Put back the blobs that were put aside to be deleted by processes that were killed meanwhile."""
    before = time.time() - GRACE_SECONDS
    for aside in blobs.asides():
        with contextlib.suppress(FileNotFoundError):
            if aside.stat().st_ctime < before:
                put_back(aside)


def _delete(path: Path, stamp: Stamp, blobs: Blobs) -> None:
    """Delete a draft; or a blob, if nobody has touched it since it had this stamp."""
    if path.name.startswith("."):
        path.unlink(missing_ok=True)
    else:
        blobs.drop(path, stamp)
