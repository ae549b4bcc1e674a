"""What a mirror knows of its bucket: a small database beside the tree. Whoever changes it holds the mirror's lock."""

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


class Known(NamedTuple):
    """A run as it was last listed: how many objects, and when the newest of them came, in seconds since 1970."""

    objects: int
    changed: float


class MirroredWriter(msgspec.Struct):
    """What was fetched of a writer. The local segment that grows begins with number ``file`` (0: there is none) and has
    ``size`` bytes; ``held`` are the sequence numbers that are there."""

    run: str
    id: str
    file: int = 0
    size: int = 0
    has_ended: bool = False
    held: Ranges = []

    def holds(self, first: int, last: int) -> bool:
        """Whether all these numbers are there."""
        return any(start <= first and last <= end for start, end in self.held)

    def is_new(self, first: int, last: int) -> bool:
        """Whether none of them is."""
        return all(end < first or last < start for start, end in self.held)

    def add(self, first: int, last: int) -> None:
        """Note that these numbers are there."""
        merged: Ranges = []
        for start, end in sorted([*self.held, (first, last)]):
            if merged and start <= merged[-1][1] + 1:
                merged[-1] = (merged[-1][0], max(end, merged[-1][1]))
            else:
                merged.append((start, end))
        self.held = merged


def discard(folder: Path) -> None:
    """Throw the database in ``folder`` away."""
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
        """Keep what was noted until now, whatever comes."""
        self._db.execute("COMMIT")
        self._db.execute("BEGIN")

    def close(self) -> None:
        """Close it; what was not kept is forgotten."""
        self._db.close()

    def change(self) -> None:
        """Note that the tree is no longer what it was: its readers go by the fact "version"."""
        self.set_fact("version", self.fact("version") + 1)

    # -- facts --

    def fact(self, name: str) -> float:
        """A number that was set; 0 where none was."""
        found = self._db.execute("SELECT value FROM fact WHERE name = ?", (name,)).fetchone()
        return float(found[0]) if found else 0.0

    def set_fact(self, name: str, value: float) -> None:
        self._db.execute("INSERT OR REPLACE INTO fact VALUES (?, ?)", (name, value))

    # -- runs --

    def runs(self, after: str = "", before: str = "") -> dict[str, Known]:
        """The runs from ``after`` on, in the order of the paths of their objects; where ``before`` is given, up to that
        one."""
        rows = self._db.execute(
            "SELECT id, objects, changed FROM run WHERE id || '/' >= ? AND (? = '/' OR id || '/' < ?)",
            (f"{after}/" if after else "", f"{before}/", f"{before}/"),
        )
        return {id: Known(objects, changed) for id, objects, changed in rows}

    def run(self, id: str) -> Known | None:
        """A run, if it is known."""
        found = self._db.execute("SELECT objects, changed FROM run WHERE id = ?", (id,)).fetchone()
        return Known(*found) if found else None

    def newest(self) -> Iterator[tuple[str, int]]:
        """The runs and how many objects each has, from the greatest id on."""
        yield from self._db.execute("SELECT id, objects FROM run ORDER BY id DESC")

    def going_on(self, before: str, since: float, limit: int) -> list[str]:
        """The runs that are not over and have changed since then, with ids less than ``before``: the last changed."""
        return [id for (id,) in self._db.execute(
            "SELECT id FROM run WHERE NOT is_over AND id < ? AND changed > ? ORDER BY changed DESC LIMIT ?",
            (before, since, limit),
        )]  # fmt: skip

    def set_run(self, id: str, known: Known, writers: Sequence[MirroredWriter]) -> None:
        """Note what there is of a run now."""
        is_over = bool(writers) and all(writer.has_ended for writer in writers)
        self._db.execute("INSERT OR REPLACE INTO run VALUES (?, ?, ?, ?)", (id, *known, is_over))

    def forget(self, run: str) -> None:
        """Know nothing of a run."""
        for table, column in (("run", "id"), ("writer", "run"), ("copied", "run")):
            self._db.execute(f"DELETE FROM {table} WHERE {column} = ?", (run,))

    # -- what was fetched --

    def writers(self, run: str) -> dict[str, MirroredWriter]:
        """By their ids."""
        rows = self._db.execute("SELECT run, id, file, size, has_ended, held FROM writer WHERE run = ?", (run,))
        return {
            id: MirroredWriter(run, id, file, size, bool(has_ended), msgspec.json.decode(held, type=Ranges))
            for run, id, file, size, has_ended, held in rows
        }

    def save(self, writer: MirroredWriter) -> None:
        row: tuple[Any, ...] = (writer.run, writer.id, writer.file, writer.size, writer.has_ended)
        held = msgspec.json.encode(writer.held).decode()
        self._db.execute("INSERT OR REPLACE INTO writer VALUES (?, ?, ?, ?, ?, ?)", (*row, held))

    def copied(self, run: str) -> dict[str, str]:
        """The tags of the objects of a run that were copied from a folder and fetched, by their paths."""
        return dict(self._db.execute("SELECT path, tag FROM copied WHERE run = ?", (run,)))

    def set_copied(self, path: str, run: str, tag: str) -> None:
        self._db.execute("INSERT OR REPLACE INTO copied VALUES (?, ?, ?)", (path, run, tag))
