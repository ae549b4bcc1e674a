"""What a mirror knows of its bucket, in a small database beside the tree. Only who has the mirror's lock changes it."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import msgspec

FILENAME = "mirror.sqlite"
VERSION = 1
SCHEMA = f"""
BEGIN;
CREATE TABLE fact (name TEXT PRIMARY KEY, value REAL NOT NULL) WITHOUT ROWID;
CREATE TABLE run (
    id TEXT PRIMARY KEY, objects INTEGER NOT NULL, changed REAL NOT NULL, -- as they were listed
    is_over INTEGER NOT NULL                                              -- whether all its writers have ended
) WITHOUT ROWID;
CREATE TABLE writer (
    run TEXT NOT NULL, id TEXT NOT NULL, file INTEGER NOT NULL, size INTEGER NOT NULL, -- the local segment that grows
    has_ended INTEGER NOT NULL, held TEXT NOT NULL,                                    -- ranges of sequence numbers
    PRIMARY KEY (run, id)
) WITHOUT ROWID;
CREATE TABLE copied (path TEXT PRIMARY KEY, run TEXT NOT NULL, tag TEXT NOT NULL) WITHOUT ROWID;
PRAGMA user_version = {VERSION};
COMMIT;
"""

Ranges = list[tuple[int, int]]


class ListedRun(NamedTuple):
    """A run as it was last listed: how many objects it has, and when the newest of them came, in seconds since 1970."""

    objects: int
    changed: float


class MirroredWriter(msgspec.Struct):
    """What was fetched of a writer. The local segment that grows begins with number ``file`` (0: there is none) and has
    ``size`` bytes; ``numbers`` are the sequence numbers that are there."""

    run: str
    id: str
    file: int = 0
    size: int = 0
    has_ended: bool = False
    numbers: Ranges = []

    def holds(self, first: int, last: int) -> bool:
        """Whether all these numbers are there."""
        return any(start <= first and last <= end for start, end in self.numbers)

    def is_new(self, first: int, last: int) -> bool:
        """Whether none of them is."""
        return all(end < first or last < start for start, end in self.numbers)

    def add(self, first: int, last: int) -> None:
        """Note that these numbers are there."""
        merged: Ranges = []
        for start, end in sorted([*self.numbers, (first, last)]):
            if merged and start <= merged[-1][1] + 1:
                merged[-1] = (merged[-1][0], max(end, merged[-1][1]))
            else:
                merged.append((start, end))
        self.numbers = merged


def discard(folder: Path) -> None:
    """Delete the database in ``folder``."""
    for path in folder.glob(f"{FILENAME}*"):
        path.unlink(missing_ok=True)


class MirrorState:
    """The database in ``folder``; opened for one look at the bucket, and closed behind it.

    ``is_new`` says that there was none.
    """

    def __init__(self, folder: Path) -> None:
        self._db = sqlite3.connect(folder / FILENAME, isolation_level=None)
        self._db.execute("PRAGMA journal_mode = WAL")
        self._db.execute("PRAGMA synchronous = OFF")  # what is lost with the machine is fetched again
        self.is_new = self._db.execute("PRAGMA user_version").fetchone()[0] != VERSION
        if self.is_new:
            self._db.executescript(SCHEMA)
        self._db.execute("BEGIN")

    def keep(self) -> None:
        """Make what was noted until now last, whatever comes."""
        self._db.execute("COMMIT")
        self._db.execute("BEGIN")

    def close(self) -> None:
        """Close it. What was noted since :meth:`keep` is lost."""
        self._db.close()

    def change(self) -> None:
        """Note that the tree has changed: the fact "version" tells readers so."""
        self.set_fact("version", self.fact("version") + 1)

    # -- facts --

    def fact(self, name: str) -> float:
        """The number that was set under this name; 0 where none was."""
        row = self._db.execute("SELECT value FROM fact WHERE name = ?", (name,)).fetchone()
        return float(row[0]) if row else 0.0

    def set_fact(self, name: str, value: float) -> None:
        self._db.execute("INSERT OR REPLACE INTO fact VALUES (?, ?)", (name, value))

    # -- runs --

    def runs(self, after: str = "", before: str = "") -> dict[str, ListedRun]:
        """The runs from ``after`` on, in the order of the paths of their objects, and before ``before`` where that is
        given."""
        rows = self._db.execute(
            "SELECT id, objects, changed FROM run WHERE id || '/' >= ? AND (? = '/' OR id || '/' < ?)",
            (f"{after}/" if after else "", f"{before}/", f"{before}/"),
        )
        return {id: ListedRun(objects, changed) for id, objects, changed in rows}

    def run(self, id: str) -> ListedRun | None:
        """A run, if it is known."""
        row = self._db.execute("SELECT objects, changed FROM run WHERE id = ?", (id,)).fetchone()
        return ListedRun(*row) if row else None

    def newest(self) -> Iterator[tuple[str, int]]:
        """The runs and how many objects each has, from the greatest id on."""
        yield from self._db.execute("SELECT id, objects FROM run ORDER BY id DESC")

    def going_on(self, before: str, since: float, limit: int) -> list[str]:
        """Runs that are not over and have changed since a time, with ids less than ``before``: those that changed last,
        ``limit`` of them."""
        return [id for (id,) in self._db.execute(
            "SELECT id FROM run WHERE NOT is_over AND id < ? AND changed > ? ORDER BY changed DESC LIMIT ?",
            (before, since, limit),
        )]  # fmt: skip

    def set_run(self, id: str, listed: ListedRun, writers: Sequence[MirroredWriter]) -> None:
        """Note what there is of a run now."""
        is_over = bool(writers) and all(writer.has_ended for writer in writers)
        self._db.execute("INSERT OR REPLACE INTO run VALUES (?, ?, ?, ?)", (id, *listed, is_over))

    def forget(self, run: str) -> None:
        """Delete all that is known of a run."""
        for table, column in (("run", "id"), ("writer", "run"), ("copied", "run")):
            self._db.execute(f"DELETE FROM {table} WHERE {column} = ?", (run,))

    # -- what was fetched --

    def writers(self, run: str) -> dict[str, MirroredWriter]:
        """What was fetched of the writers of a run, by their ids."""
        rows = self._db.execute("SELECT run, id, file, size, has_ended, held FROM writer WHERE run = ?", (run,))
        return {
            id: MirroredWriter(run, id, file, size, bool(has_ended), msgspec.json.decode(numbers, type=Ranges))
            for run, id, file, size, has_ended, numbers in rows
        }

    def save(self, writer: MirroredWriter) -> None:
        row: tuple[Any, ...] = (writer.run, writer.id, writer.file, writer.size, writer.has_ended)
        numbers = msgspec.json.encode(writer.numbers).decode()
        self._db.execute("INSERT OR REPLACE INTO writer VALUES (?, ?, ?, ?, ?, ?)", (*row, numbers))

    def copied(self, run: str) -> dict[str, str]:
        """The tags of the objects of a run that were copied from a folder and fetched, by their paths."""
        return dict(self._db.execute("SELECT path, tag FROM copied WHERE run = ?", (run,)))

    def set_copied(self, path: str, run: str, tag: str) -> None:
        self._db.execute("INSERT OR REPLACE INTO copied VALUES (?, ?, ?)", (path, run, tag))
