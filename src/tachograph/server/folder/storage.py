"""The storage of a server that keeps its runs in a store's folder, where all commands read them, too."""

from __future__ import annotations

import contextlib
import logging
import os
import sqlite3
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TypeVar

from tachograph import journal
from tachograph.errors import Error
from tachograph.index.sqlite_file import Database
from tachograph.journal import Block, Damage, changes, tombstones
from tachograph.server.blobs import FolderBlobs
from tachograph.server.folder import appending
from tachograph.server.storage import NAME, Batch, Gone, IncomingEvent, StillReading
from tachograph.store.follow import JournalReader
from tachograph.store.local import FolderQuestions
from tachograph.store.questions import ALL
from tachograph.store.store import Store
from tachograph.upkeep import Collected
from tachograph.upkeep.folder import FolderUpkeep

T = TypeVar("T")
_log = logging.getLogger(__name__)
PATIENCE = 15.0  # seconds that a question waits for others; clients wait twice as long for a sign of life
FIRST_PATIENCE = 1.0  # the same, while all that is new is read for the first time
ALMOST = 0.99
LOOK_BYTES = 128 << 10  # of each segment, that a live stream takes at a time


class _Questions(FolderQuestions):
    """The questions to a folder. The answers don't say where it lies, which readers need not know."""

    def __init__(self, root: Path, on_read: Callable[[int], None]) -> None:
        super().__init__(root, on_read)
        self.name, self.root = NAME, None

    def unreadable(self, after: tuple[str] | None = None, limit: int = ALL) -> list[tuple[str, str]]:
        paths = [(os.path.relpath(path, self.index.root), reason) for path, reason in super().unreadable()]
        return [(path, reason) for path, reason in paths if after is None or path > after[0]][:limit]


class FolderStorage:
    """The :class:`tachograph.server.storage.Storage` in a folder. Questions are answered one at a time."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self._blobs = FolderBlobs(root)
        self.drafts = self._blobs.drafts
        self._questions = _Questions(root, self._count)
        self._store = Store(self._questions)
        self._questions_lock = threading.Lock()
        self._is_reading, self._read_bytes, self._all_bytes, self._run_count = False, 0, 0, 0

    # -- getting ready --

    def begin(self) -> None:
        self._is_reading = True
        threading.Thread(target=self._read, name="tachograph reading", daemon=True).start()

    def _read(self) -> None:
        """Finish removals that were interrupted, and read all that is new before the first question waits for it."""
        try:
            with self._questions_lock:
                tombstones.sweep(self.root)
                self._measure()
                self._store.refresh()
        except (Error, OSError) as error:
            _log.warning("%s can't be read yet: %s", self.root, error)  # whoever asks next gets the error
        finally:
            self._is_reading = False

    def _measure(self) -> None:
        """Find out how much there is to read, and how much of it the index has already."""
        if not (self.root / "runs").is_dir():
            return
        folders = list((self.root / "runs").iterdir())
        self._run_count = len(folders)
        self._all_bytes = sum(path.stat().st_size for folder in folders for path in folder.glob("*/*.jsonl*"))
        database = Database(self.root)
        with contextlib.suppress(sqlite3.Error), contextlib.closing(database):
            database.connect()
            ((indexed,),) = database.connection.execute('SELECT sum("offset") FROM segment')
            self._read_bytes = indexed or 0

    def _count(self, size: int) -> None:
        self._read_bytes += size

    def readiness(self) -> float:
        return min(self._read_bytes / max(self._all_bytes, 1), ALMOST) if self._is_reading else 1.0

    # -- events --

    def positions(self, run: str) -> dict[str, int]:
        last = {folder.name: appending.position(folder) for folder in journal.writers(self._run(run))}
        return {writer: seq for writer, seq in last.items() if seq}

    def append(self, run: str, writer: str, after: int, batch: Batch) -> tuple[int, int]:
        folder = self._run(run) / writer
        tombstone = tombstones.removed(self.root).get(run)
        if tombstone is not None:
            header = journal.header(folder)
            if batch.writer_began(None if header is None else header.at) <= tombstone.at:
                raise Gone(str(tombstone))
        position, count = appending.append(folder, after, batch)
        changes.announce(folder)  # of what is there already, too: a server that was killed may have told nobody
        return position, count

    def _run(self, run: str) -> Path:
        return self.root / "runs" / run

    def tail(self, run: str, after: Mapping[str, int]) -> Tail:
        return Tail(self._run(run), after)

    # -- questions --

    def ask(self, question: Callable[[Store], T]) -> T:
        if not self._questions_lock.acquire(timeout=FIRST_PATIENCE if self._is_reading else PATIENCE):
            share = min(self.readiness(), ALMOST)
            raise StillReading(f"the server is reading {self._run_count:,} runs, {share:.0%} done", share)
        try:
            return question(self._store)
        finally:
            self._questions_lock.release()

    # -- upkeep --

    def remove(self, runs: Sequence[tuple[str, str]], by: str) -> None:
        tombstones.remove(self.root, runs, by)

    def sweep(self) -> None:
        tombstones.sweep(self.root)

    def collect(self, dry: bool, days: int) -> Collected:
        return FolderUpkeep(self.root).collect(dry, days)

    # -- blobs --

    def missing(self, digests: Sequence[str]) -> Sequence[str]:
        return self._blobs.missing(digests)

    def lacking(self, digests: Sequence[str]) -> Sequence[str]:
        return self._blobs.lacking(digests)

    def blob_size(self, digest: str) -> int | None:
        return self._blobs.size(digest)

    def read_blob(self, digest: str, start: int, length: int) -> Iterator[bytes]:
        return self._blobs.read(digest, start, length)


class Tail:
    """See :class:`tachograph.server.storage.Tail`."""

    def __init__(self, folder: Path, after: Mapping[str, int]) -> None:
        self._reader, self._after = JournalReader(folder, LOOK_BYTES), dict(after)

    def new(self) -> list[IncomingEvent]:
        while blocks := list(self._reader.blocks()):  # the client may have all that is in them
            found = [heard for writer, block in blocks for heard in self._of_block(writer, block)]
            if found:
                return [heard for _, heard in sorted(found, key=lambda timed: timed[0])]
        return []

    def _of_block(self, writer: str, block: Block) -> Iterator[tuple[float, IncomingEvent]]:
        for item, text in zip(block.items(), block.data.split(b"\n"), strict=False):
            if item is None or isinstance(item, Damage) or item.seq <= self._after.get(writer, 0):
                continue
            self._after[writer] = item.seq
            yield item.at, IncomingEvent.of(writer, item, text)
