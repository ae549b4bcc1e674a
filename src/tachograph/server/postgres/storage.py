"""Runs kept in PostgreSQL, for several servers side by side.

The truth are the lines as they were received, batch by batch. The tables that questions are answered from, those of
every store, are derived from them; both are written in one transaction for each batch. Meanwhile the writer's row is
locked, so that two servers keep its batches one after the other, while other writers don't wait for it. Events that are
kept already are not kept again, so that a batch may be sent again whenever its answer was lost.

Live streams look for new events, as often as for a store in a folder: one look at an index for each stream. PostgreSQL
could notify us (LISTEN), but then all commits wait for each other to notify in order, each server needs a connection
for nothing else, and poolers between them break it.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import lru_cache
from pathlib import Path
from typing import TypeVar

from tachograph import events
from tachograph.events import Event
from tachograph.index.projection import WRITER_COLUMNS, IndexedWriter, TableBatch, decode_start
from tachograph.journal import Block
from tachograph.runtime import process
from tachograph.server.blobs import BlobStore
from tachograph.server.postgres import removal
from tachograph.server.postgres.pool import Connection, Pool
from tachograph.server.storage import NAME, Batch, Gap, IncomingEvent
from tachograph.store.sql import SqlQuestions
from tachograph.store.store import Store
from tachograph.upkeep import Collected

LOOK_BYTES = 32 << 10  # of a writer's compressed lines that are read at a time; but a batch at least
COMPRESSION_LEVEL = 1  # three times as fast as the usual one, and nearly as small

T = TypeVar("T")


class PostgresStorage:
    """The :class:`tachograph.server.storage.Storage` in PostgreSQL."""

    def __init__(self, pool: Pool, blobs: BlobStore) -> None:
        self._pool, self._blobs = pool, blobs
        self._store = Store(PostgresQuestions(pool, blobs))
        self.drafts = blobs.drafts

    def begin(self) -> None:
        """Nothing is to be done: the tables are always up to date."""

    def readiness(self) -> float:
        self._pool.rows("SELECT 1")
        return 1.0

    # -- events --

    def positions(self, run: str) -> dict[str, int]:
        return dict(
            self._pool.rows(
                """SELECT writer.id, held FROM writer JOIN run ON run.no = writer.run
                   WHERE run.id = ? AND held > 0 ORDER BY writer.id""",
                run,
            )
        )

    def append(self, run: str, writer: str, after: int, batch: Batch) -> tuple[int, int]:
        result = self._pool.transact(lambda db: _append(db, run, writer, after, batch))
        if result is not None:
            return result
        if after:
            raise Gap(0)
        # In a transaction of its own: another one that makes the same row waits until this has ended.
        self._pool.transact(lambda db: _make_writer(db, run, writer, batch))
        return self.append(run, writer, after, batch)

    def tail(self, run: str, after: Mapping[str, int]) -> Tail:
        return Tail(self._pool, run, after)

    def lines(self, run: str, writer: str) -> Iterator[bytes]:
        """The lines that a writer sent, as they were received: many of them at a time, with their line ends."""
        last = 0
        while batches := batches_after(self._pool.rows, run, writer, last):
            for _, last, content in batches:  # noqa: B007 - where to go on
                yield content

    # -- questions --

    def ask(self, question: Callable[[Store], T]) -> T:
        return question(self._store)

    # -- upkeep --

    def remove(self, runs: Sequence[tuple[str, str]], by: str) -> None:
        for id, name in runs:
            self._pool.transact(lambda db, id=id, name=name: removal.remove(db, id, name, by))  # type: ignore[misc]

    def sweep(self) -> None:
        """There is nothing to finish: a removal is done as a whole, or not."""

    def collect(self, dry: bool, days: int) -> Collected:
        return self._blobs.collect(removal.needed_files(self._pool), dry)

    # -- files --

    def missing(self, digests: Sequence[str]) -> Sequence[str]:
        return self._blobs.missing(digests)

    def lacking(self, digests: Sequence[str]) -> Sequence[str]:
        return self._blobs.lacking(digests)

    def blob_size(self, digest: str) -> int | None:
        return self._blobs.size(digest)

    def read_blob(self, digest: str, start: int, length: int) -> Iterator[bytes]:
        return self._blobs.read(digest, start, length)


def make_writer(db: Connection, run: str, writer: str) -> None:
    """Make the rows of a run and a writer, where they aren't there."""
    db.execute("INSERT INTO run (id) VALUES (?) ON CONFLICT DO NOTHING", (run,))
    db.execute(
        "INSERT INTO writer (run, id) SELECT no, ? FROM run WHERE id = ? FOR KEY SHARE ON CONFLICT DO NOTHING",
        (writer, run),
    )


def _make_writer(db: Connection, run: str, writer: str, batch: Batch) -> None:
    removal.check(db, run, batch.writer_began(None))
    make_writer(db, run, writer)


def _append(db: Connection, run: str, writer: str, after: int, batch: Batch) -> tuple[int, int] | None:
    """Keep a batch; the number of the last event that is kept, and how many were new. None where there is no row for
    the writer yet."""
    columns = ", ".join(f"writer.{column}" for column in WRITER_COLUMNS)
    row = db.execute(
        f"""SELECT {columns}, held, (SELECT at FROM removed WHERE removed.id = run.id)
            FROM writer JOIN run ON run.no = writer.run
            WHERE run.id = ? AND writer.id = ? FOR UPDATE OF writer""",
        (run, writer),
    ).fetchone()
    if row is None:
        return None
    *state, last_kept, removed = row
    if removed is not None:
        removal.check(db, run, batch.writer_began(state[WRITER_COLUMNS.index("started")]))
    if after > last_kept:
        raise Gap(last_kept)
    new = batch.after(last_kept)
    if not new.seqs:
        return last_kept, 0
    content = b"\n".join(new.lines) + b"\n"
    first, last = new.seqs[0], new.seqs[-1]
    db.execute(
        "INSERT INTO batch (run, writer, first, last, lines) VALUES (?, ?, ?, ?, ?)",
        (run, writer, first, last, zlib.compress(content, COMPRESSION_LEVEL)),
    )
    fold(db, IndexedWriter.loaded(tuple(state)), first, last, content)
    return last, len(new.seqs)


def fold(db: Connection, writer: IndexedWriter, first: int, last: int, content: bytes) -> None:
    """Fold a batch into the derived tables. The writer's row must be locked."""
    db.execute("UPDATE writer SET held = ?, sealed = FALSE WHERE no = ?", (last, writer.no))
    TableBatch(writer, Block(Path(f"{first}.jsonl"), 0, 1, content)).write(db)


def batches_after(
    rows: Callable[..., Sequence[tuple[int, int, bytes]]], run: str, writer: str, after: int
) -> list[tuple[int, int, bytes]]:
    """Some of a writer's batches, from the one on that has events after number ``after``: each with its first and last
    number, and its lines."""
    batches = rows(
        """SELECT first, last, lines FROM (
               SELECT first, last, lines, sum(length(lines)) OVER (ORDER BY first) - length(lines) AS before
               FROM batch WHERE run = ? AND writer = ? AND last > ? ORDER BY first LIMIT 100) AS next
           WHERE before < ? ORDER BY first""",
        run, writer, after, LOOK_BYTES,
    )  # fmt: skip
    return [(first, last, zlib.decompress(lines)) for first, last, lines in batches]


class PostgresQuestions(SqlQuestions):
    """The :class:`tachograph.store.questions.Questions` to a database."""

    def __init__(self, pool: Pool, files: BlobStore) -> None:
        super().__init__(Tables(pool), files, NAME)
        self._pool = pool

    def removed(self, key: str) -> str | None:
        tombstone = removal.find_tombstone(self._pool, key)
        return None if tombstone is None else str(tombstone)


class Tables:
    """The :class:`tachograph.store.sql.Tables` in a database."""

    def __init__(self, pool: Pool) -> None:
        self._pool = pool
        self.rows = pool.rows

    def refresh(self) -> None:
        """Mark the writers whose processes on this machine are gone. Of other machines' processes nobody here knows."""
        is_gone = lru_cache(maxsize=None)(process.is_gone)
        unsealed = self.rows(
            'SELECT no, header FROM writer WHERE NOT sealed AND "end" IS NULL AND instr(header, ?) > 0',
            b'"host":%s' % events.encode(process.this().host),
        )
        gone = [(no,) for no, header in unsealed if is_gone(_process(header))]
        if gone:
            self._pool.transact(lambda db: db.executemany("UPDATE writer SET sealed = TRUE WHERE no = ?", gone))

    def close(self) -> None:
        self._pool.close()


def _process(header: bytes) -> process.Process:
    return process.of(decode_start(header))


class Tail:
    """A :class:`tachograph.server.storage.Tail` that reads the batches of a run."""

    def __init__(self, pool: Pool, run: str, after: Mapping[str, int]) -> None:
        self._pool, self._run, self._after = pool, run, dict(after)

    def new(self) -> list[IncomingEvent]:
        last_kept = self._pool.rows(
            "SELECT writer.id, held FROM writer JOIN run ON run.no = writer.run WHERE run.id = ? ORDER BY writer.id",
            self._run,
        )
        behind = [writer for writer, last in last_kept if last > self._after.get(writer, 0)]
        timed = [each for writer in behind for each in self._of_writer(writer)]
        return [event for _, event in sorted(timed, key=lambda each: each[0])]

    def _of_writer(self, writer: str) -> Iterator[tuple[float, IncomingEvent]]:
        after, clock = self._after.get(writer, 0), 0.0  # stands still where the machine's was set back
        for _, last, content in batches_after(self._pool.rows, self._run, writer, after):
            self._after[writer] = last
            items = Block(Path("1.jsonl"), 0, 1, content).items()
            for event, line in zip(items, content.split(b"\n"), strict=False):
                if not isinstance(event, Event):  # an older version kept what this one takes for damage
                    continue
                clock = max(clock, event.at)
                if event.seq > after:
                    yield clock, IncomingEvent.of(writer, event, line)
