"""The index: what the journals say, as tables that can be asked. It can be deleted at any time.

A refresh reads what was appended since the last one, and only that. It looks at every run's folder (for new writers),
but at the files of those writers alone from which something may still come: a writer is *sealed* once its process is
provably gone, or, where nothing can be proven, once it has written its end and was quiet for an hour. Sealed ones are
looked at when a store is opened and once a minute, in case files were copied here.

Several processes may index at once. Each piece is read without a lock and added in one short transaction, which holds
only if nobody else has added it meanwhile.
"""

from __future__ import annotations

import contextlib
import os
import sqlite3
import threading
import time
from collections.abc import Iterable, Iterator
from functools import lru_cache
from pathlib import Path
from typing import Any

from msgspec import Struct

from tachograph import journal, process
from tachograph.database import Database, is_unusable
from tachograph.projection import WRITER_COLUMNS, Batch, Writer, decode_start

RECENT_NS = 2 * 10**9  # a folder changed this recently may change again without a new time
QUIET_SECONDS = 3600.0
SEALED_SECONDS = 60.0


class Index:
    """The tables of the store in ``root``. Safe to use from several threads and processes."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self._runs = root / "runs"
        self._database = Database(root)
        self._lock = threading.RLock()
        self._sealed_due = 0.0

    # -- asking --

    def rows(self, sql: str, *values: Any) -> list[Any]:
        """The rows that a query gives. Where nothing was recorded yet there are none, whatever the query."""
        with self._lock:
            try:
                return self._rows(sql, values)
            except sqlite3.DatabaseError as error:
                self._rebuild_after(error)
                return self._rows(sql, values)

    def _rows(self, sql: str, values: tuple[Any, ...]) -> list[Any]:
        if not self._database.exists:
            return []
        return self._database.connect().execute(sql, values).fetchall()

    def refresh(self) -> None:
        """Bring the tables up to date with the journals."""
        with self._lock:
            try:
                self._refresh()
            except sqlite3.DatabaseError as error:
                self._rebuild_after(error)

    def rebuild(self) -> None:
        """Throw the tables away and read all journals anew."""
        with self._lock:
            self._database.discard()
            self._refresh()

    def _rebuild_after(self, error: sqlite3.DatabaseError) -> None:
        if not is_unusable(error):
            raise error
        self.rebuild()

    def close(self) -> None:
        with self._lock:
            self._database.close()

    # -- refreshing --

    def _refresh(self) -> None:
        if not self._database.exists and not self._runs.is_dir():
            return
        self._database.connect()
        self._find_runs()
        if time.monotonic() >= self._sealed_due:
            self._unseal_changed()
            self._sealed_due = time.monotonic() + SEALED_SECONDS
        # A writer's header tells whose process to look for: those that are new are read once before the real look.
        self._look(writer for writer in self._unsealed() if writer.process is None)
        if not self._look(self._unsealed()):
            self._find_runs()
            self._look(self._unsealed())

    def _all(self, sql: str, *values: Any) -> list[Any]:
        return self._database.connect().execute(sql, values).fetchall()

    def _find_runs(self) -> None:
        known = {id: (no, changed) for no, id, changed in self._all("SELECT no, id, folder_time FROM run")}
        present = dict(_folders(self._runs))
        for id in known.keys() - present.keys():
            self._forget(known[id][0])
        found = []
        for id, changed in present.items():
            no, known_time = known.get(id, (None, 0))
            if changed and changed == known_time:
                continue
            names = {name for name, _ in _folders(self._runs / id)}
            before = {name for (name,) in self._all("SELECT id FROM writer WHERE run = ?", no)}
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

    def _unsealed(self) -> list[_Unsealed]:
        offsets: dict[int, dict[int, int]] = {}
        for no, first, offset in self._all(
            "SELECT writer, first, offset FROM segment WHERE writer IN (SELECT no FROM writer WHERE NOT sealed)"
        ):
            offsets.setdefault(no, {})[first] = offset
        found = self._all(
            """SELECT writer.no, run.no, run.id, writer.id, header, "end" IS NOT NULL
               FROM writer JOIN run ON run.no = writer.run WHERE NOT sealed"""
        )
        return [
            _Unsealed(no, run_no, f"{self._runs}/{run}/{id}", _process(header), bool(ended), offsets.get(no, {}))
            for no, run_no, run, id, header, ended in found
        ]

    def _look(self, writers: Iterable[_Unsealed]) -> bool:
        """Read what was appended, and seal where that was the last of it. False where a file was cut or is gone."""
        is_gone = lru_cache(maxsize=None)(process.is_gone)
        added, sealed, whole = _Additions(self._database), [], True
        for writer in writers:
            # Asked first: what a process wrote before it went is then there to be read.
            gone = writer.process is not None and is_gone(writer.process)
            try:
                sizes, changed = journal.sizes(writer.folder)
            except (FileNotFoundError, NotADirectoryError):
                continue  # the next look at the run's folder finds out
            if any(sizes.get(first, -1) < offset for first, offset in writer.offsets.items()):
                self._forget(writer.run)
                whole = False
            elif sizes != writer.offsets:
                self._read(writer, sizes, gone, added)
            if gone or (writer.may_be_quiet and changed < time.time() - QUIET_SECONDS):
                sealed.append((writer.no,))
        added.write()
        if sealed:
            with self._database.transaction() as db:
                db.executemany("UPDATE writer SET sealed = 1 WHERE no = ?", sealed)
        return whole

    def _read(self, writer: _Unsealed, sizes: dict[int, int], gone: bool, added: _Additions) -> None:
        """Read a writer's segments up to ``sizes``; one that is being written is not followed any further."""
        for first, size in sizes.items():
            path = Path(writer.folder, f"{first}.jsonl")
            final = gone or first != max(sizes)
            while self._read_block(writer.no, path, size, final, added):
                pass

    def _read_block(self, no: int, path: Path, size: int, final: bool, added: _Additions) -> bool:
        """Read the next lines of a segment; whether there are more up to ``size``.

        If another process reads them at the same time, only one of both adds them, and the other goes on from there.
        """
        added.settle(no)
        at = self._all("SELECT offset, line FROM segment WHERE writer = ? AND first = ?", no, int(path.stem))
        offset, line = at[0] if at else (0, 1)
        state = self._all(f"SELECT {', '.join(WRITER_COLUMNS)} FROM writer WHERE no = ?", no)
        if not state or offset >= size:
            return False
        block = journal.read_block(path, offset, line, final)
        if not block.data:
            return False
        added.take(Batch(Writer.loaded(state[0]), block))
        return block.end < size

    def _unseal_changed(self) -> None:
        last = self._all(
            """SELECT writer.no, run.id, writer.id, max(segment.first), segment.offset
               FROM writer JOIN run ON run.no = writer.run LEFT JOIN segment ON segment.writer = writer.no
               WHERE sealed GROUP BY writer.no"""
        )
        changed = [
            (no,) for no, run, id, first, offset in last
            if _size(f"{self._runs}/{run}/{id}/{first}.jsonl") != offset
            or (first is None and journal.segments(self._runs / run / id))
        ]  # fmt: skip
        if changed:
            with self._database.transaction() as db:
                db.executemany("UPDATE writer SET sealed = 0 WHERE no = ?", changed)


class _Additions:
    """Batches of different writers that are added together: a transaction costs more than a short batch does."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._batches: dict[int, Batch] = {}
        self._bytes = 0

    def take(self, batch: Batch) -> None:
        self._batches[batch.writer.no] = batch
        self._bytes += len(batch.block.data)
        if self._bytes >= journal.BLOCK_BYTES:
            self.write()

    def settle(self, writer: int) -> None:
        """Add what there is of a writer, so that its next batch can begin where this one ends."""
        if writer in self._batches:
            self.write()

    def write(self) -> None:
        batches, self._batches, self._bytes = self._batches, {}, 0
        if batches:
            with self._database.transaction() as db:
                for batch in batches.values():
                    batch.write(db)


class _Unsealed(Struct):
    """A writer from which more may come. ``process`` is None while its header was not read."""

    no: int
    run: int
    folder: str
    process: process.Process | None
    ended: bool
    offsets: dict[int, int]  # by the first sequence number of each segment, the bytes that were read

    @property
    def may_be_quiet(self) -> bool:
        return self.ended or self.process is None


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


def _size(path: Path | str) -> int | None:
    try:
        return os.stat(path).st_size
    except (FileNotFoundError, NotADirectoryError):
        return None
