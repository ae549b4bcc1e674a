"""Removing runs from PostgreSQL: a tombstone is written and all of the run is deleted, in one transaction.

Whoever adds to a run locks its writer's row, then the run's, or makes a writer while it has the run's row locked. A
removal locks them in the same order before it deletes anything. So a batch was there before, and is deleted, or finds
the tombstone.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from itertools import groupby

from tachograph.index.schema import EMPTYING
from tachograph.journal.tombstones import Removed
from tachograph.server.postgres.pool import Connection, Pool
from tachograph.server.storage import Gone
from tachograph.upkeep.references import needed

ROWS = 1000  # that are read at once


def remove(db: Connection, id: str, name: str, by: str) -> None:
    """Remove a run, for good; also writers that began in the future, as some clocks are wrong."""
    _lock_writers(db, id)
    db.execute("SELECT no FROM run WHERE id = ? FOR UPDATE", (id,))
    at = max([time.time(), *_lock_writers(db, id)])  # also those that were made before the run was locked
    db.execute(
        """INSERT INTO removed (id, name, at, by) VALUES (?, ?, ?, ?)
           ON CONFLICT (id) DO UPDATE SET name = excluded.name, at = excluded.at, by = excluded.by""",
        (id, name, at, by),
    )
    for deletion in EMPTYING:
        db.execute(deletion, (id,))
    db.execute("DELETE FROM batch WHERE run = ?", (id,))
    db.execute("DELETE FROM run WHERE id = ?", (id,))


def _lock_writers(db: Connection, id: str) -> list[float]:
    """Lock the writers of a run, once nobody adds to them; the times at which they began."""
    rows = db.execute(
        "SELECT started FROM writer WHERE run = (SELECT no FROM run WHERE id = ?) ORDER BY no FOR UPDATE", (id,)
    ).fetchall()
    return [started for (started,) in rows if started is not None]


def check(db: Connection, id: str, began: float) -> None:
    """Raise ``Gone`` where a run was removed since a writer began at that time."""
    tombstone = tombstone_of(db, id)
    if tombstone is not None and began <= tombstone.at:
        raise Gone(str(tombstone))


def tombstone_of(db: Connection, id: str) -> Removed | None:
    """The tombstone of a run, if it was removed."""
    rows = db.execute("SELECT id, name, at, by FROM removed WHERE id = ?", (id,)).fetchall()
    return Removed(*rows[0]) if rows else None


def find_tombstone(pool: Pool, key: str) -> Removed | None:
    """The newest tombstone of a run whose id, its beginning, or name is ``key``."""
    rows = pool.rows(
        "SELECT id, name, at, by FROM removed WHERE id = ? OR name = ? OR (? <> '' AND substr(id, 1, ?) = ?) "
        "ORDER BY at DESC LIMIT 1",
        key, key, key, len(key), key,
    )  # fmt: skip
    return Removed(*rows[0]) if rows else None


def needed_files(pool: Pool) -> set[str]:
    """The digests of the files that are still needed, by the events that are kept here."""
    journals = groupby(_lines_with_digests(pool), key=lambda row: row[0])
    return needed((line for _, line in rows) for _, rows in journals)


def _lines_with_digests(pool: Pool) -> Iterator[tuple[int, bytes]]:
    """Each event that has a digest in it, with its writer; a writer's together, in their order."""
    after: Sequence[int] = (0, 0)
    while rows := pool.rows(
        """SELECT writer, seq, line FROM event WHERE (writer, seq) > (?, ?) AND instr(line, ?) > 0
           ORDER BY writer, seq LIMIT ?""",
        *after, b"sha256:", ROWS,
    ):  # fmt: skip
        yield from ((writer, line) for writer, _, line in rows)
        after = rows[-1][:2]
