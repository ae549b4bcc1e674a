"""The index: what the journals say, as tables that can be asked. It can be deleted at any time.

A refresh reads what was appended since the last one, and only that. It looks at the files of those writers from which
something may still come, and of those that somebody said to have changed (see :mod:`tachograph.index.discovery`). A
writer is *sealed* once nothing more is expected of it: its process is provably gone; or it has written its end and was
quiet for a while; or neither can be read, and it was quiet for an hour.

New runs show at once, and so does what tachograph itself adds to a run. What somebody copies into a run that is there
shows later: when a store is opened, and once a minute, everything is looked at. With more than a thousand writers that
is done the less often the more there are, so that it takes a thousandth of the time at most.

Several processes may index at once. Each block is read without a lock, and added in a short transaction unless somebody
else has added it meanwhile.
"""

from __future__ import annotations

import sqlite3
import threading
import time
from collections.abc import Callable, Iterable
from functools import lru_cache
from math import inf
from pathlib import Path
from typing import Any, TypeVar

from msgspec import Struct

from tachograph import journal
from tachograph.index.discovery import Discovery, empty
from tachograph.index.projection import WRITER_COLUMNS, IndexedWriter, TableBatch, decode_start
from tachograph.index.sqlite_file import Database, explained
from tachograph.journal import Damage
from tachograph.runtime import deferred, process
from tachograph.runtime.sqlite_errors import is_damaged, is_missing

QUIET_SECONDS = 3600.0
ENDED_SECONDS = 10.0  # that a writer has to be quiet once it has written its end
LOOK_SECONDS = 60.0  # between two looks at everything
FEW = 1000  # writers, of more of which everything is looked at less often

T = TypeVar("T")


class Index:
    """The tables of the store in ``root``. Safe to use from several threads and processes.

    ``on_read`` is called after each piece of the journals that was read, with its number of bytes.
    """

    def __init__(self, root: Path, on_read: Callable[[int], None] | None = None) -> None:
        self.root = root
        self._runs = root / "runs"
        self._database = Database(root)
        self._discovery = Discovery(root, self._database)
        self._lock = threading.RLock()
        self._due = 0.0  # when everything is to be looked at, by the monotonic clock
        self._refused: dict[Path, str] = {}  # files that could not be read, and why
        self._on_read = on_read

    # -- asking --

    def rows(self, sql: str, *values: Any) -> list[Any]:
        """The rows that a query gives. Where nothing was recorded yet there are none, whatever the query."""
        return self._guarded(lambda: self._rows(sql, values))

    def _rows(self, sql: str, values: tuple[Any, ...]) -> list[Any]:
        if not self._database.is_current:
            self._refresh()
        return self._all(sql, *values) if self._database.is_connected else []

    def refresh(self) -> None:
        """Bring the tables up to date with the journals."""
        deferred.do_now()
        self._guarded(self._refresh)

    def rebuild(self) -> None:
        """Throw the tables away and read all journals anew."""
        with self._lock:
            self.refresh()  # connects, to know which file it is
            self._discard()
            self.refresh()

    def _discard(self) -> None:
        self._database.discard()
        self._due = 0.0

    def _guarded(self, work: Callable[[], T]) -> T:
        """The result of ``work``, which is tried again where the index is damaged or was deleted meanwhile."""
        with self._lock:
            try:
                return work()
            except sqlite3.DatabaseError as error:
                if is_damaged(error):
                    self._discard()
                elif is_missing(error):
                    self._database.close()
                else:
                    raise explained(error, self.root) from error
            try:
                return work()
            except sqlite3.DatabaseError as error:
                raise explained(error, self.root) from error

    @property
    def unreadable(self) -> list[Damage]:
        """Files and folders that the last refresh could not read."""
        refused = self._refused | self._discovery.refused
        return [Damage(path, 0, 0, f"can't be read: {reason}") for path, reason in sorted(refused.items())]

    def close(self) -> None:
        """Close the file."""
        with self._lock:
            self._database.close()

    # -- refreshing --

    def _refresh(self) -> None:
        if not self._runs.is_dir():
            self._database.close()  # nothing was recorded, or it is gone, and the index with it
            return
        self._database.connect()
        everything = self._is_due()
        if everything:
            self._unseal()
        if not self._read_all(everything):
            self._read_all(everything)
        if everything:
            self._note_look()

    def _is_due(self) -> bool:
        """Whether it is time to look at everything."""
        if time.monotonic() < self._due:
            return False
        self._due = time.monotonic() + LOOK_SECONDS
        ((looked, writers),) = self._all("SELECT looked, (SELECT max(no) FROM writer) FROM look")
        return (writers or 0) <= FEW or not 0 <= time.time() - looked < LOOK_SECONDS * writers / FEW

    def _note_look(self) -> None:
        """Note when everything was looked at, where other processes should wait with that."""
        ((writers,),) = self._all("SELECT max(no) FROM writer")
        if (writers or 0) > FEW:
            with self._database.transaction() as db:
                db.execute("UPDATE look SET looked = ?", (time.time(),))

    def _read_all(self, everything: bool) -> bool:
        """Read all that is new. False where that has to be done again: a file was cut or is gone."""
        self._refused.clear()
        changed = self._discovery.find(everything)
        # A writer's header says whose process to look for. So new writers are read once before all are looked at.
        is_whole = self._read_new(self._writers("NOT sealed AND header IS NULL"))
        return self._read_new(self._writers("NOT sealed") + self._sealed_among(changed)) and is_whole

    def _all(self, sql: str, *values: Any) -> list[Any]:
        return self._database.connection.execute(sql, values).fetchall()

    def _writers(self, condition: str) -> list[_Writer]:
        """The writers for which an SQL condition holds."""
        offsets: dict[int, dict[int, int]] = {}
        for no, first, offset in self._all(
            f"SELECT writer, first, offset FROM segment JOIN writer ON no = writer WHERE {condition}"
        ):
            offsets.setdefault(no, {})[first] = offset
        rows = self._all(
            f"""SELECT writer.no, run.id, writer.id, header, "end" IS NOT NULL, sealed
                FROM writer JOIN run ON run.no = writer.run WHERE {condition}"""
        )
        return [
            _Writer(no, run, self._runs / run / id, _process(header), bool(ended), bool(sealed), offsets.get(no, {}))
            for no, run, id, header, ended, sealed in rows
        ]

    def _sealed_among(self, changed: Iterable[tuple[str, str]]) -> list[_Writer]:
        """The sealed writers among those that have changed, each given by its run's id and its own."""
        sql = (
            "SELECT writer.no FROM writer JOIN run ON run.no = writer.run WHERE sealed AND run.id = ? AND writer.id = ?"
        )
        numbers = [str(no) for ids in changed for (no,) in self._all(sql, *ids)]
        return self._writers(f"writer.no IN ({', '.join(numbers)})") if numbers else []

    def _unseal(self) -> None:
        """Unseal writers whose files are no longer as they were read: somebody copied more of theirs here."""
        read = self._all(
            """SELECT writer.no, run.id, writer.id, first, offset
               FROM writer JOIN run ON run.no = writer.run JOIN segment ON segment.writer = writer.no WHERE sealed"""
        )
        changed = {no for no, run, id, first, offset in read if _differs(f"{self._runs}/{run}/{id}", first, offset)}
        if changed:
            with self._database.transaction() as db:
                db.executemany("UPDATE writer SET sealed = FALSE WHERE no = ?", [(no,) for no in changed])

    def _read_new(self, writers: Iterable[_Writer]) -> bool:
        """Read what was appended, and seal where that was the last of it. False where a file was cut or is gone."""
        is_gone = lru_cache(maxsize=None)(process.is_gone)
        added, sealed, is_whole = _Additions(self._database), [], True
        for writer in writers:
            # Asked first: what a process wrote before it went is then there to be read.
            writer.gone = writer.process is not None and is_gone(writer.process)
            try:
                writer.sizes, changed = journal.sizes(writer.folder)
                is_whole &= self._catch_up(writer, added)
            except (FileNotFoundError, NotADirectoryError):
                continue  # deleted meanwhile: the next look at the run's folder finds out
            except OSError as error:
                self._refused[Path(error.filename or writer.folder)] = error.strerror or "no reason given"
                continue
            if not writer.sealed and (writer.gone or changed < time.time() - writer.patience):
                sealed.append((writer.no,))
        added.write()
        while overtaken := added.take_overtaken():
            for writer in overtaken:
                self._read(writer, added)
            added.write()
        if sealed:
            with self._database.transaction() as db:
                db.executemany("UPDATE writer SET sealed = TRUE WHERE no = ?", sealed)
        return is_whole

    def _catch_up(self, writer: _Writer, added: _Additions) -> bool:
        """Read what a writer has appended. False where a file was cut or is gone: then its run is forgotten."""
        if writer.sizes == writer.offsets:
            return True
        torn = {first for (first,) in self._all("SELECT segment FROM damage WHERE writer = ? AND torn", writer.no)}
        for first, offset in writer.offsets.items():
            size = writer.sizes.get(first, -1)
            if size < offset or (size > offset and first in torn):  # cut; or the line we took for torn is there now
                with self._database.transaction() as db:
                    empty(db, writer.run)
                return False
        self._read(writer, added)
        return True

    def _read(self, writer: _Writer, added: _Additions) -> None:
        """Read a writer's segments up to their sizes; one that is being written is not followed any further."""
        for first in writer.sizes:
            while self._read_block(writer, first, added):
                pass

    def _read_block(self, writer: _Writer, first: int, added: _Additions) -> bool:
        """Read the next lines of a segment; whether there are more of them."""
        added.write_of(writer)
        position = self._all("SELECT offset, line FROM segment WHERE writer = ? AND first = ?", writer.no, first)
        offset, line = position[0] if position else (0, 1)
        state = self._all(f"SELECT {', '.join(WRITER_COLUMNS)} FROM writer WHERE no = ?", writer.no)
        if not state or offset >= writer.sizes[first]:
            return False
        final = writer.gone or first != max(writer.sizes)
        block = journal.read_block(Path(journal.segment(writer.folder, first)), offset, line, final)
        if not block.data:
            return False
        added.take(writer, TableBatch(IndexedWriter.loaded(state[0]), block))
        if self._on_read:
            self._on_read(len(block.data))
        return block.end < writer.sizes[first]


class _Additions:
    """Batches of different writers that are added together: a transaction costs more than a short batch does.

    A batch is not added if another process read the same lines and was faster. Its writer is *overtaken* then: whatever
    that process did not read is still to be read.
    """

    def __init__(self, database: Database) -> None:
        self._database = database
        self._batches: list[tuple[_Writer, TableBatch]] = []
        self._overtaken: list[_Writer] = []
        self._bytes = 0

    def take(self, writer: _Writer, batch: TableBatch) -> None:
        self._batches.append((writer, batch))
        self._bytes += len(batch.block.data)
        if self._bytes >= journal.BLOCK_BYTES:
            self.write()

    def write_of(self, writer: _Writer) -> None:
        """Add what there is of a writer, so that its next batch can begin where this one ends."""
        if self._batches and self._batches[-1][0] is writer:
            self.write()

    def take_overtaken(self) -> list[_Writer]:
        overtaken, self._overtaken = self._overtaken, []
        return overtaken

    def write(self) -> None:
        batches, self._batches, self._bytes = self._batches, [], 0
        if batches:
            with self._database.transaction() as db:
                self._overtaken += [writer for writer, batch in batches if not batch.write(db)]


class _Writer(Struct):
    """A writer whose files are looked at. ``process`` is None where its header was not read yet, or is damaged."""

    no: int
    run: str
    folder: Path
    process: process.Process | None
    ended: bool
    sealed: bool
    offsets: dict[int, int]  # by the first sequence number of each segment, the bytes that were read
    sizes: dict[int, int] = {}  # and the bytes that are there
    gone: bool = False

    @property
    def patience(self) -> float:
        """After how many quiet seconds nothing more is to be expected."""
        if self.ended:
            return ENDED_SECONDS
        return QUIET_SECONDS if self.process is None and self.offsets else inf


def _process(header: bytes | None) -> process.Process | None:
    if header is None:
        return None
    return process.of(decode_start(header))


def _differs(folder: str, first: int, offset: int) -> bool:
    try:
        return journal.size(journal.segment(folder, first)) != offset
    except OSError:
        return True
