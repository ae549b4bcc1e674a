"""Finds the runs and writers in a store's folder that the index doesn't know yet, and those that are gone.

What that costs goes by what may have changed, not by how much there is:

- New and deleted runs show in the time of the folder of all runs. If that is another one, the names are compared.
- New writers are looked for in the folders of runs from which more may come, and of those that somebody said to have
  changed (see :mod:`tachograph.journal.changes`). Other folders are looked at only where everything is.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Any, NamedTuple

from tachograph.index.schema import EMPTYING, TO_LOOK_AT
from tachograph.index.sqlite_file import Connection, Database
from tachograph.journal import changes, tombstones

RECENT_NS = 2 * 10**9  # a folder changed this recently may change again without a new time
_TO_LOOK_AT = f"""
SELECT id FROM run WHERE {TO_LOOK_AT}
UNION SELECT run.id FROM run JOIN writer ON writer.run = run.no WHERE NOT writer.sealed
"""
_WRITERS = "SELECT writer.id FROM writer JOIN run ON run.no = writer.run WHERE run.id = ?"


class IndexMark(NamedTuple):
    """Up to where the index knows what is there. It is kept in the index, so that both are always of the same time."""

    folder_time: int  # of the folder of all runs, in ns; 0 = look again
    removed: int  # bytes of the list of removed runs
    first: bytes  # this and the next: see ``changes.ReaderPosition``
    end: int


class Discovery:
    """Finds out what has changed below ``root``, and lets the index know."""

    def __init__(self, root: Path, database: Database) -> None:
        self._root, self._runs, self._database = root, root / "runs", database
        self.refused: dict[Path, str] = {}  # folders of runs that could not be read

    def find(self, everything: bool) -> set[tuple[str, str]]:
        """Let the index know what is there now. Returns the writers that were said to have changed: the ids of their
        runs, and theirs."""
        if everything:
            changes.trim(self._root)
        before = IndexMark(*self._rows("SELECT folder_time, removed, news, news_end FROM look")[0])
        changed, position = changes.read(self._root, changes.ReaderPosition(before.first, before.end))
        after = IndexMark(_folder_time(self._runs), _size(self._root / tombstones.FILENAME), *position)
        to_look_at = {id for (id,) in self._rows(_TO_LOOK_AT)}
        findings = _Findings(to_look_at | (changed or {}).keys() | {folder.name for folder in self.refused})
        if changed is None or everything:
            self._compare(findings, True)
        elif not after.folder_time or after[:2] != before[:2] or changed.keys() & tombstones.removed(self._root).keys():
            self._compare(findings, False)
        self.refused.clear()
        for id in findings.look_at:
            self._look_at(id, findings)
        if findings.gone or findings.changed or after != before:
            self._write(findings, after)
        return {(run, writer) for run, writers in (changed or {}).items() for writer in writers}

    def _rows(self, sql: str, *values: Any) -> list[Any]:
        return self._database.connection.execute(sql, values).fetchall()

    def _compare(self, findings: _Findings, everything: bool) -> None:
        """Find new and deleted runs: compare the names of folders with the runs in the index."""
        hidden = set(tombstones.hidden(self._root))
        present = {name for name in os.listdir(self._runs) if _may_be_ours(name) and name not in hidden}
        findings.times = dict(self._rows("SELECT id, folder_time FROM run"))
        findings.gone = findings.times.keys() - present
        findings.look_at = present if everything else (findings.look_at & present) | (present - findings.times.keys())

    def _look_at(self, id: str, findings: _Findings) -> None:
        """Find new and deleted writers of a run."""
        folder = f"{self._runs}/{id}"
        before = findings.times.get(id, -1) if findings.times else self._time(id)
        try:
            changed = _changed(folder)
            if changed and changed == before:
                return
            with os.scandir(folder) as entries:
                names = {entry.name for entry in entries if _may_be_ours(entry.name) and _is_folder(entry)}
        except (FileNotFoundError, NotADirectoryError):
            findings.gone |= {id} if before >= 0 else set()
            return
        except OSError as error:
            self.refused[Path(folder)] = error.strerror or "no reason given"
            return
        indexed = {name for (name,) in self._rows(_WRITERS, id)}
        if names != indexed or changed != before:
            findings.changed.append((id, changed, names, bool(indexed - names)))

    def _time(self, id: str) -> int:
        """When the folder of a run was changed, as the index knows it; -1 for a run that it doesn't know."""
        rows = self._rows("SELECT folder_time FROM run WHERE id = ?", id)
        return int(rows[0][0]) if rows else -1

    def _write(self, findings: _Findings, mark: IndexMark) -> None:
        with self._database.transaction() as db:
            for id in findings.gone:
                forget(db, id)
            for id, changed, names, lost_a_writer in findings.changed:
                if lost_a_writer:  # what remains is read anew
                    empty(db, id)
                _write_run(db, id, changed, names)
            db.execute("UPDATE look SET folder_time = ?, removed = ?, news = ?, news_end = ?", mark)


class _Findings:
    """Which runs to look at, and what was found there."""

    def __init__(self, look_at: set[str]) -> None:
        self.look_at = look_at
        self.times: dict[str, int] = {}  # of the folders of all runs in the index, once they were compared
        self.gone: set[str] = set()
        # Id, time of the folder, the writers in it, and whether one of those in the index is gone.
        self.changed: list[tuple[str, int, set[str], bool]] = []


def forget(db: Connection, id: str) -> None:
    """Forget a run."""
    empty(db, id)
    db.execute("DELETE FROM run WHERE id = ?", (id,))


def empty(db: Connection, id: str) -> None:
    """Forget all but that there is such a run, which keeps its number, and look at it again."""
    for deletion in EMPTYING:
        db.execute(deletion, (id,))
    db.execute("UPDATE run SET folder_time = 0, leader = NULL WHERE id = ?", (id,))


def _write_run(db: Connection, id: str, changed: int, writers: Iterable[str]) -> None:
    db.execute(
        """INSERT INTO run (id, folder_time) VALUES (?, ?)
           ON CONFLICT (id) DO UPDATE SET folder_time = excluded.folder_time""",
        (id, changed),
    )
    db.executemany(
        "INSERT OR IGNORE INTO writer (run, id) SELECT no, ? FROM run WHERE id = ?", [(name, id) for name in writers]
    )


def _may_be_ours(name: str) -> bool:
    return not name.startswith(".") and name.isprintable()


def _is_folder(entry: os.DirEntry[str]) -> bool:
    """Whether it is one. What can't be looked at is taken for one: whoever reads it finds out why it can't be."""
    try:
        return entry.is_dir()
    except OSError:
        return True


def _changed(folder: str | Path) -> int:
    """When a folder was changed, in ns; 0 = just now."""
    now = time.time_ns()
    changed = os.stat(folder).st_mtime_ns
    return changed if changed < now - RECENT_NS else 0


def _folder_time(folder: Path) -> int:
    try:
        return _changed(folder)
    except (FileNotFoundError, NotADirectoryError):
        return 0


def _size(path: Path) -> int:
    try:
        return os.stat(path).st_size
    except FileNotFoundError:
        return 0
