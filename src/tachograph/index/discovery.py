"""Which runs and writers there are in a store's folder, as far as the index doesn't know yet.

What a look costs goes by what may have changed, not by how much there is:

- New and deleted runs show in the time of the folder of all runs. If that is another one, the names are compared.
- The folders of runs from which more may come are looked at for new writers, and those of which the news tell (see
  :mod:`tachograph.journal.changes`). Others only where everything is looked at.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Any, NamedTuple

from tachograph.index.schema import EMPTYING, UNSETTLED
from tachograph.index.sqlite_file import Connection, Database
from tachograph.journal import changes, tombstones

RECENT_NS = 2 * 10**9  # a folder changed this recently may change again without a new time
_UNSETTLED = f"""
SELECT id FROM run WHERE {UNSETTLED}
UNION SELECT run.id FROM run JOIN writer ON writer.run = run.no WHERE NOT writer.sealed
"""
_WRITERS = "SELECT writer.id FROM writer JOIN run ON run.no = writer.run WHERE run.id = ?"


class IndexMark(NamedTuple):
    """Up to where the index knows what is there. Kept in it, so that it holds whenever the index does."""

    folder_time: int  # of the folder of all runs, in ns; 0 = look again
    removed: int  # bytes of the list of removed runs
    first: bytes  # see ``news.Place``
    end: int


class Finder:
    """Finds what is there below ``root``."""

    def __init__(self, root: Path, database: Database) -> None:
        self._root, self._runs, self._database = root, root / "runs", database
        self.refused: dict[Path, str] = {}  # folders of runs that could not be read

    def find(self, everything: bool) -> set[tuple[str, str]]:
        """Let the index know what is there now. Gives the runs and writers of which the news tell."""
        if everything:
            changes.trim(self._root)
        before = IndexMark(*self._rows("SELECT folder_time, removed, news, news_end FROM look")[0])
        told, place = changes.read(self._root, changes.ReaderPosition(before.first, before.end))
        after = IndexMark(_folder_time(self._runs), _size(self._root / tombstones.FILENAME), *place)
        unsettled = {id for (id,) in self._rows(_UNSETTLED)}
        found = _Found(unsettled | (told or {}).keys() | {folder.name for folder in self.refused})
        if told is None or everything:
            self._compare(found, True)
        elif not after.folder_time or after[:2] != before[:2] or told.keys() & tombstones.removed(self._root).keys():
            self._compare(found, False)
        self.refused.clear()
        for id in found.look_at:
            self._look_at(id, found)
        if found.gone or found.changed or after != before:
            self._write(found, after)
        return {(run, writer) for run, writers in (told or {}).items() for writer in writers}

    def _rows(self, sql: str, *values: Any) -> list[Any]:
        return self._database.connection.execute(sql, values).fetchall()

    def _compare(self, found: _Found, everything: bool) -> None:
        """Find out about new and deleted runs."""
        hidden = set(tombstones.hidden(self._root))
        present = {name for name in os.listdir(self._runs) if _may_be_ours(name) and name not in hidden}
        found.times = dict(self._rows("SELECT id, folder_time FROM run"))
        found.gone = found.times.keys() - present
        found.look_at = present if everything else (found.look_at & present) | (present - found.times.keys())

    def _look_at(self, id: str, found: _Found) -> None:
        folder = f"{self._runs}/{id}"
        before = found.times.get(id, -1) if found.times else self._time(id)
        try:
            changed = _changed(folder)
            if changed and changed == before:
                return
            with os.scandir(folder) as entries:
                names = {entry.name for entry in entries if _may_be_ours(entry.name) and _is_folder(entry)}
        except (FileNotFoundError, NotADirectoryError):
            found.gone |= {id} if before >= 0 else set()
            return
        except OSError as error:
            self.refused[Path(folder)] = error.strerror or "no reason given"
            return
        have = {name for (name,) in self._rows(_WRITERS, id)}
        if names != have or changed != before:
            found.changed.append((id, changed, names, bool(have - names)))

    def _time(self, id: str) -> int:
        """When the folder of a run was changed, as far as is known; -1 for a run that is not."""
        rows = self._rows("SELECT folder_time FROM run WHERE id = ?", id)
        return int(rows[0][0]) if rows else -1

    def _write(self, found: _Found, place: IndexMark) -> None:
        with self._database.transaction() as db:
            for id in found.gone:
                forget(db, id)
            for id, changed, names, anew in found.changed:
                if anew:  # it lost a writer: what is left is read anew
                    empty(db, id)
                _write_run(db, id, changed, names)
            db.execute("UPDATE look SET folder_time = ?, removed = ?, news = ?, news_end = ?", place)


class _Found:
    """What to look at, and what came of that."""

    def __init__(self, look_at: set[str]) -> None:
        self.look_at = look_at
        self.times: dict[str, int] = {}  # of the folders of all runs that are known, once they were compared
        self.gone: set[str] = set()
        self.changed: list[tuple[str, int, set[str], bool]] = []  # id, time of the folder, its writers, whether anew


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
    """Whether it is one; of what can't be looked at, whoever reads it finds out why."""
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
