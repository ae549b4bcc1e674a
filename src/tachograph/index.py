"""The index: what the journals say, as tables that can be asked. It can be deleted at any time.

A refresh reads what was appended since the last one, and only that. It looks at every run's folder (for new writers),
but at the files of those writers alone from which something may still come. A writer is *sealed* once its process is
provably gone, or, where nothing can be proven, once it has written its end and was quiet for an hour. Sealed ones are
looked at when a store is opened and once a minute, in case files were copied here. Of one that ended but is not sealed,
only the lengths of its files are looked at in between.

Several processes may index at once. Each piece is read without a lock and added in a short transaction, where nobody
else has added it meanwhile.
"""

from __future__ import annotations

import contextlib
import os
import sqlite3
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from functools import lru_cache
from pathlib import Path
from typing import Any, TypeVar

from msgspec import Struct

from tachograph import journal, process, removal
from tachograph.database import Database, explained, is_damaged, is_missing
from tachograph.journal import Damage
from tachograph.projection import WRITER_COLUMNS, Batch, Writer, decode_start

RECENT_NS = 2 * 10**9  # a folder changed this recently may change again without a new time
QUIET_SECONDS = 3600.0
LOOK_SECONDS = 60.0

T = TypeVar("T")


class Index:
    """The tables of the store in ``root``. Safe to use from several threads and processes.

    ``reading`` is called with the number of bytes after each piece of journals that was read, for whoever shows that.
    """

    def __init__(self, root: Path) -> None:
        self.root = root
        self._runs = root / "runs"
        self._database = Database(root)
        self._lock = threading.RLock()
        self._due = 0.0
        self._refused: dict[Path, str] = {}
        self.reading: Callable[[int], None] = lambda size: None

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
        self._guarded(self._refresh)

    def look_again(self) -> None:
        """Have the next refresh look at every writer, those that were done too."""
        self._due = 0.0

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
        """``work``; done again where the index turned out to be damaged or was deleted meanwhile."""
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
        return [Damage(path, 0, 0, f"can't be read: {reason}") for path, reason in sorted(self._refused.items())]

    def close(self) -> None:
        """Give the file back."""
        with self._lock:
            self._database.close()

    # -- refreshing --

    def _refresh(self) -> None:
        if not self._runs.is_dir():
            self._database.close()  # nothing was recorded, or it is gone, and the index with it
            return
        self._database.connect()
        due = time.monotonic() >= self._due
        if due:
            self._unseal()
            self._due = time.monotonic() + LOOK_SECONDS
        if not self._read_all(due):
            self._read_all(True)

    def _read_all(self, due: bool) -> bool:
        self._refused.clear()
        self._find_runs()
        # A writer's header tells whose process to look for: those that are new are read once before the real look.
        whole = self._look(self._writers("header IS NULL"))
        return self._look(self._writers("1") if due else self._writers('"end" IS NULL') + self._late()) and whole

    def _all(self, sql: str, *values: Any) -> list[Any]:
        return self._database.connection.execute(sql, values).fetchall()

    def _find_runs(self) -> None:
        known = {id: (no, changed) for no, id, changed in self._all("SELECT no, id, folder_time FROM run")}
        removed = set(removal.hidden(self.root))
        present = {id: changed for id, changed in _folders(self._runs) if id not in removed}
        for id in known.keys() - present.keys():
            self._forget(known[id][0])
        found = []
        for id, changed in present.items():
            no, known_time = known.get(id, (None, 0))
            if changed and changed == known_time:
                continue
            before = {name for (name,) in self._all("SELECT id FROM writer WHERE run = ?", no)}
            try:
                names = {name for name, _ in _folders(self._runs / id)}
            except PermissionError as error:
                self._refused[self._runs / id] = error.strerror or "no reason given"
                continue
            if before - names and no is not None:
                self._forget(no)  # it lost a writer: what is left is read anew
            elif no is not None and names == before and changed == known_time:
                continue
            found.append((id, changed, names))
        if found:
            with self._database.transaction() as db:
                for run in found:
                    _write_run(db, *run)

    def _forget(self, run: int) -> None:
        with self._database.transaction() as db:
            for table in ("segment", "chunk", "damage"):
                db.execute(f"DELETE FROM {table} WHERE writer IN (SELECT no FROM writer WHERE run = ?)", (run,))
            for table in ("event", "metric", "param", "tag", "writer"):
                db.execute(f"DELETE FROM {table} WHERE run = ?", (run,))
            db.execute("DELETE FROM run WHERE no = ?", (run,))

    def _writers(self, condition: str) -> list[_Writer]:
        """Those of the unsealed writers for which an SQL condition holds."""
        offsets: dict[int, dict[int, int]] = {}
        for no, first, offset in self._all(
            f"SELECT writer, first, offset FROM segment JOIN writer ON no = writer WHERE NOT sealed AND {condition}"
        ):
            offsets.setdefault(no, {})[first] = offset
        found = self._all(
            f"""SELECT writer.no, run.no, run.id, writer.id, header, "end" IS NOT NULL
                FROM writer JOIN run ON run.no = writer.run WHERE NOT sealed AND {condition}"""
        )
        return [
            _Writer(no, run_no, f"{self._runs}/{run}/{id}", _process(header), bool(ended), offsets.get(no, {}))
            for no, run_no, run, id, header, ended in found
        ]

    def _late(self) -> list[_Writer]:
        """Writers that went on after their end."""
        changed = self._changed('NOT sealed AND "end" IS NOT NULL')
        return self._writers(f"writer.no IN ({', '.join(map(str, changed))})") if changed else []

    def _unseal(self) -> None:
        """Look again at writers who were done, but aren't: somebody copied more of theirs here."""
        changed = [(no,) for no in self._changed("sealed")]
        if changed:
            with self._database.transaction() as db:
                db.executemany("UPDATE writer SET sealed = FALSE WHERE no = ?", changed)

    def _changed(self, condition: str) -> set[int]:
        """Writers with a segment that is not as long as what was read of it."""
        known = self._all(
            f"""SELECT writer.no, run.id, writer.id, first, offset
                FROM writer JOIN run ON run.no = writer.run JOIN segment ON segment.writer = writer.no
                WHERE {condition}"""
        )
        return {no for no, run, id, first, offset in known if _differs(f"{self._runs}/{run}/{id}", first, offset)}

    def _look(self, writers: Iterable[_Writer]) -> bool:
        """Read what was appended, and seal where that was the last of it. False where a file was cut or is gone."""
        is_gone = lru_cache(maxsize=None)(process.is_gone)
        added, sealed, whole = _Additions(self._database), [], True
        for writer in writers:
            # Asked first: what a process wrote before it went is then there to be read.
            writer.gone = writer.process is not None and is_gone(writer.process)
            try:
                writer.sizes, changed = journal.sizes(writer.folder)
                whole &= self._catch_up(writer, added)
            except (FileNotFoundError, NotADirectoryError):
                continue  # deleted meanwhile: the next look at the run's folder finds out
            except (PermissionError, journal.Unreadable) as error:
                self._refused[Path(error.filename)] = error.strerror or "no reason given"
                continue
            if writer.gone or (writer.may_be_quiet and changed < time.time() - QUIET_SECONDS):
                sealed.append((writer.no,))
        added.write()
        while late := added.take_late():
            for writer in late:
                self._read(writer, added)
            added.write()
        if sealed:
            with self._database.transaction() as db:
                db.executemany("UPDATE writer SET sealed = TRUE WHERE no = ?", sealed)
        return whole

    def _catch_up(self, writer: _Writer, added: _Additions) -> bool:
        if writer.sizes == writer.offsets:
            return True
        torn = {first for (first,) in self._all("SELECT segment FROM damage WHERE writer = ? AND torn", writer.no)}
        for first, offset in writer.offsets.items():
            size = writer.sizes.get(first, -1)
            if size < offset or (size > offset and first in torn):  # cut; or the line we took for torn is there now
                self._forget(writer.run)
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
        added.settle(writer)
        at = self._all("SELECT offset, line FROM segment WHERE writer = ? AND first = ?", writer.no, first)
        offset, line = at[0] if at else (0, 1)
        state = self._all(f"SELECT {', '.join(WRITER_COLUMNS)} FROM writer WHERE no = ?", writer.no)
        if not state or offset >= writer.sizes[first]:
            return False
        final = writer.gone or first != max(writer.sizes)
        block = journal.read_block(Path(journal.segment(writer.folder, first)), offset, line, final)
        if not block.data:
            return False
        added.take(writer, Batch(Writer.loaded(state[0]), block))
        self.reading(len(block.data))
        return block.end < writer.sizes[first]


class _Additions:
    """Batches of different writers that are added together: a transaction costs more than a short batch does.

    A batch is not added if another process read the same lines and was faster. Its writer is then *late*: what that
    process left is still to be read.
    """

    def __init__(self, database: Database) -> None:
        self._database = database
        self._batches: list[tuple[_Writer, Batch]] = []
        self._late: list[_Writer] = []
        self._bytes = 0

    def take(self, writer: _Writer, batch: Batch) -> None:
        self._batches.append((writer, batch))
        self._bytes += len(batch.block.data)
        if self._bytes >= journal.BLOCK_BYTES:
            self.write()

    def settle(self, writer: _Writer) -> None:
        """Add what there is of a writer, so that its next batch can begin where this one ends."""
        if self._batches and self._batches[-1][0] is writer:
            self.write()

    def take_late(self) -> list[_Writer]:
        late, self._late = self._late, []
        return late

    def write(self) -> None:
        batches, self._batches, self._bytes = self._batches, [], 0
        if batches:
            with self._database.transaction() as db:
                self._late += [writer for writer, batch in batches if not batch.write(db)]


class _Writer(Struct):
    """A writer from which more may come. ``process`` is None where its header was not read yet, or is damaged."""

    no: int
    run: int
    folder: str
    process: process.Process | None
    ended: bool
    offsets: dict[int, int]  # by the first sequence number of each segment, the bytes that were read
    sizes: dict[int, int] = {}  # and the bytes that are there
    gone: bool = False

    @property
    def may_be_quiet(self) -> bool:
        return self.ended or (self.process is None and bool(self.offsets))


def _write_run(db: sqlite3.Connection, id: str, changed: int, writers: Iterable[str]) -> None:
    db.execute(
        """INSERT INTO run (id, folder_time) VALUES (?, ?)
           ON CONFLICT (id) DO UPDATE SET folder_time = excluded.folder_time""",
        (id, changed),
    )
    db.executemany(
        "INSERT OR IGNORE INTO writer (run, id) SELECT no, ? FROM run WHERE id = ?", [(name, id) for name in writers]
    )


def _process(header: bytes | None) -> process.Process | None:
    if header is None:
        return None
    start = decode_start(header)
    return process.Process(start.host, start.boot, start.pid, start.born)


def _folders(folder: Path) -> Iterator[tuple[str, int]]:
    """The names of the folders in ``folder`` that may be ours, and when each was changed, in ns; 0 = just now."""
    now = time.time_ns()
    try:
        entries = list(os.scandir(folder))
    except (FileNotFoundError, NotADirectoryError):
        return
    for entry in entries:
        if entry.name.startswith(".") or not entry.name.isprintable():
            continue
        with contextlib.suppress(FileNotFoundError):  # deleted just now
            if entry.is_dir():
                changed = entry.stat().st_mtime_ns
                yield entry.name, changed if changed < now - RECENT_NS else 0


def _differs(folder: str, first: int, offset: int) -> bool:
    try:
        return journal.size(journal.segment(folder, first)) != offset
    except (FileNotFoundError, NotADirectoryError):
        return True
