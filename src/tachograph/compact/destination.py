"""Destinations of tables: there a file appears whole under its name, and is replaced in one step."""

from __future__ import annotations

import contextlib
import os
import shutil
from collections.abc import Iterator
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any, Protocol

from tachograph.errors import Error
from tachograph.runtime import plain_files
from tachograph.runtime.locks import sync_folder, try_lock

DRAFTS = ".drafts"
LOCK = ".compacting"


class Destination(Protocol):
    """Where tables are kept. Names are relative, with forward slashes."""

    name: str

    def alone(self) -> AbstractContextManager[None]:
        """Keep other compactions away while this lasts. Raises ``Error`` where another one is at work."""

    def files(self) -> dict[str, int]:
        """The files that are there, with their sizes in bytes."""

    def reading(self, name: str) -> AbstractContextManager[Any]:
        """A file, as pyarrow reads it. Raises OSError."""

    def draft(self) -> AbstractContextManager[Path]:
        """A path on this machine to write a file to before it is published; deleted afterwards."""

    def publish(self, draft: Path, name: str) -> None:
        """Make ``draft`` the file of that name, in place of one that is there."""

    def remove(self, name: str) -> None:
        """Remove a file, if it is there."""


class FolderDestination:
    """See :class:`Destination`. Drafts lie beside the tables, in a folder that readers of tables leave out."""

    def __init__(self, root: Path) -> None:
        self.root, self.name = root, str(root)

    @contextlib.contextmanager
    def alone(self) -> Iterator[None]:
        self.root.mkdir(parents=True, exist_ok=True)
        with open(plain_files.descriptor(self.root / LOCK, os.O_WRONLY | os.O_CREAT), "wb") as file:
            if not try_lock(file.fileno()):
                raise Error(f"another compaction is at work in {self.name}: run this again when it is done")
            shutil.rmtree(self.root / DRAFTS, ignore_errors=True)  # of compactions that were killed
            yield

    def files(self) -> dict[str, int]:
        return {
            path.relative_to(self.root).as_posix(): path.stat().st_size for path in self.root.glob("*/date=*/*.parquet")
        }

    @contextlib.contextmanager
    def reading(self, name: str) -> Iterator[Any]:
        with plain_files.opened(self.root / name) as file:
            yield file

    @contextlib.contextmanager
    def draft(self) -> Iterator[Path]:
        folder = self.root / DRAFTS
        folder.mkdir(exist_ok=True)
        path = folder / os.urandom(8).hex()
        try:
            yield path
        finally:
            path.unlink(missing_ok=True)

    def publish(self, draft: Path, name: str) -> None:
        target = self.root / name
        target.parent.mkdir(parents=True, exist_ok=True)
        with open(draft, "rb+") as file:
            os.fsync(file.fileno())
        os.replace(draft, target)
        sync_folder(target.parent)

    def remove(self, name: str) -> None:
        path = self.root / name
        path.unlink(missing_ok=True)
        with contextlib.suppress(OSError):  # it holds other files, or is gone
            path.parent.rmdir()


def destination_at(address: str | Path) -> Destination:
    """The destination in a folder, or in a bucket given by its URL. Raises ``Error`` for a URL that is of neither."""
    if isinstance(address, Path) or "://" not in address:
        return FolderDestination(Path(address).expanduser().absolute())
    from tachograph.compact.bucket_destination import Bucket

    return Bucket(address)
