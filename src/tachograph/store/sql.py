"""The questions of a store, answered from tables in SQL that all the databases understand.

The tables are those of :mod:`tachograph.index.schema`, which :mod:`tachograph.index.projection` fills.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from itertools import groupby, starmap
from math import nan
from pathlib import Path
from typing import Any, Protocol

from msgspec.structs import astuple

from tachograph import events
from tachograph.index import labels, projection
from tachograph.index.schema import RUN_HAS_BEGUN, WRITER_HAS_BEGUN
from tachograph.store import paging, query
from tachograph.store.conditions import Sql
from tachograph.store.questions import ALL, SHOWN, Files, Matches, Page, Points, Query, Row, RunState

WITNESS = b'"role":"%s"' % events.WITNESS.encode()
NEWEST_FIRST = "started DESC, id DESC"
_TOP = f"(parent IS NULL OR parent NOT IN (SELECT id FROM run WHERE {RUN_HAS_BEGUN}))"
# The runs that have others below them, from the top on. Those whose parents form a cycle are not among them.
_ABOVE = f"""WITH RECURSIVE above (id) AS (
    SELECT id FROM run WHERE {RUN_HAS_BEGUN} AND id IN (SELECT parent FROM run) AND {_TOP}
    UNION ALL SELECT run.id FROM above JOIN run ON run.parent = above.id
    WHERE {RUN_HAS_BEGUN} AND run.id IN (SELECT parent FROM run)) SELECT id FROM above"""
# A child whose parent was deleted, or is below the child itself, would otherwise never be seen.
TOP_LEVEL = f"(parent IS NULL OR parent NOT IN ({_ABOVE}))"
# A run of which nothing can be read is found by its id alone, so that it can be looked at and removed.
_UNREAD = """SELECT id, NULL, NULL, CASE WHEN EXISTS (SELECT 1 FROM writer WHERE writer.run = run.no AND NOT sealed)
    THEN 'running' ELSE 'crashed' END, folder_time / 1e9, NULL, NULL, NULL, folder_time / 1e9
    FROM run WHERE id = ? AND leader IS NULL"""

# The events of a kind in several runs, and their order.
_HAPPENED = """SELECT run.id, event.clock, writer.id, seq, line FROM event JOIN writer ON writer.no = event.writer
    JOIN run ON run.no = event.run WHERE kind = ?"""
_HAPPENED_KEY = ["run.id", "event.clock", "writer.id", "seq"]


class Tables(Protocol):
    """A database with these tables."""

    def rows(self, sql: str, *values: Any) -> list[Any]:
        """The rows that a query gives, whose values stand where it has question marks."""

    def refresh(self) -> None:
        """Bring the tables up to date."""

    def close(self) -> None:
        """Give back what is open."""


class SqlQuestions:
    """Implements :class:`tachograph.store.questions.Questions`."""

    def __init__(self, tables: Tables, files: Files, name: str, root: Path | None = None) -> None:
        self.tables, self.files, self.name, self.root = tables, files, name, root

    def refresh(self) -> None:
        self.tables.refresh()

    def close(self) -> None:
        self.tables.close()

    def _part(
        self, sql: str, values: Sequence[Any], key: Sequence[str], after: Any, limit: int, newest: bool = False
    ) -> list[Any]:
        """The first ``limit`` rows of a query, in the order of the columns ``key``, behind the row where these are
        ``after``. The query ends with a condition, to which that is added."""
        if after is not None:
            sql = f"{sql} AND ({', '.join(key)}) {'<' if newest else '>'} ({', '.join('?' * len(key))})"
            values = [*values, *after]
        order = ", ".join(f"{column}{' DESC' * newest}" for column in key)
        limits = [] if limit >= ALL else [limit]
        return self.tables.rows(f"{sql} ORDER BY {order}{' LIMIT ?' * len(limits)}", *values, *limits)

    # -- runs --

    def runs(self, query: Query, after: str | None = None, limit: int = ALL) -> Page:
        return paging.page(self.tables.rows, _condition(query), query.order_by, after, limit)

    def states(self, after: tuple[float, str] | None = None, limit: int = ALL) -> list[RunState]:
        fields = ", ".join(f"page.{name}" for name in Row._fields)
        rows = self.tables.rows(
            f"""SELECT {fields}, writer.id, writer.seen
                FROM (SELECT * FROM record WHERE (started, id) > (?, ?) ORDER BY started, id LIMIT ?) AS page
                JOIN writer ON writer.run = page.no AND {WRITER_HAS_BEGUN}
                ORDER BY page.started, page.id, writer.id""",
            *(after or (-1.0, "")), limit,
        )  # fmt: skip
        writers = ((Row(*row[: len(Row._fields)]), row[len(Row._fields) :]) for row in rows)
        return [
            RunState(run, _version(run, [writer for _, writer in group]))
            for run, group in groupby(writers, lambda pair: pair[0])
        ]

    def find(self, key: str) -> Matches:
        if rows := self._select("id = ?", [key]):
            return Matches("id", 1, rows)
        by_beginning = self._matches("beginning", "substr(id, 1, ?) = ?", [len(key), key]) if key else None
        if by_beginning and by_beginning.count == 1:
            return by_beginning
        by_name = self._matches("name", "name = ?", [key])
        if not by_name.count and (unread := self.tables.rows(_UNREAD, key)):
            return Matches("id", 1, [Row(*row) for row in unread])
        return by_beginning if by_beginning and by_beginning.count and by_name.count != 1 else by_name

    def _matches(self, how: str, condition: str, values: list[Any]) -> Matches:
        rows = self._select(condition, values)
        count = len(rows)
        if count == SHOWN:
            ((count,),) = self.tables.rows(f"SELECT count(*) FROM record WHERE {condition}", *values)
        return Matches(how, count, rows)

    def _select(self, condition: str, values: list[Any]) -> list[Row]:
        """The newest runs for which a condition holds, a few."""
        sql = f"SELECT {', '.join(Row._fields)} FROM record WHERE {condition} ORDER BY {NEWEST_FIRST} LIMIT {SHOWN}"
        return [Row(*row) for row in self.tables.rows(sql, *values)]

    def removed(self, key: str) -> str | None:
        return None

    def experiments(self, after: tuple[str] | None = None, limit: int = ALL) -> list[tuple[str]]:
        sql = "SELECT DISTINCT experiment FROM record WHERE experiment IS NOT NULL"
        return [(name,) for (name,) in self._part(sql, [], ["experiment"], after, limit)]

    def damage(
        self, torn: bool, after: tuple[str, str, int, int] | None = None, limit: int = ALL
    ) -> list[tuple[str, str, int, int, int, str]]:
        return self._part(
            """SELECT run.id, writer.id, segment, line, "offset", reason
               FROM damage JOIN writer ON writer.no = damage.writer JOIN run ON run.no = writer.run
               WHERE torn = ?""",
            [torn], ["run.id", "writer.id", "segment", "line"], after, limit,
        )  # fmt: skip

    def unreadable(self, after: tuple[str] | None = None, limit: int = ALL) -> list[tuple[str, str]]:
        return []

    # -- of several runs --

    def params(
        self, ids: Sequence[str], after: tuple[str, str] | None = None, limit: int = ALL
    ) -> list[tuple[str, str, bytes]]:
        return self._of_runs("param", "written", ids, after, limit)

    def tags(
        self, ids: Sequence[str], after: tuple[str, str] | None = None, limit: int = ALL
    ) -> list[tuple[str, str, str]]:
        return self._of_runs("tag", "text", ids, after, limit)

    def metrics(
        self, ids: Sequence[str], system: bool, after: tuple[str, str] | None = None, limit: int = ALL
    ) -> list[tuple[str, str, float]]:
        condition = f"AND substr(label.text, 1, 7) {'=' if system else '<>'} 'system/'"
        rows = self._of_runs("metric", "number", ids, after, limit, condition)
        return [(run, name, nan if value is None else value) for run, name, value in rows]

    def _of_runs(
        self, table: str, column: str, ids: Sequence[str], after: Any, limit: int, condition: str = ""
    ) -> list[Any]:
        if not ids:
            return []
        sql = f"""SELECT run.id, label.text, {table}.{column} FROM run JOIN {table} ON {table}.run = run.no
                  JOIN label ON label.no = {table}.label WHERE run.id IN ({", ".join("?" * len(ids))}) {condition}"""
        return self._part(sql, ids, ["run.id", "label.text"], after, limit)

    def happened(
        self, ids: Sequence[str], kind: str, after: tuple[str, float, str, int] | None = None, limit: int = ALL
    ) -> list[tuple[str, float, str, int, bytes]]:
        if not ids:
            return []
        condition = f"run.id IN ({', '.join('?' * len(ids))})"
        return self._part(f"{_HAPPENED} AND {condition}", [kind, *ids], _HAPPENED_KEY, after, limit)

    # -- of all runs --

    def mentions(
        self, kind: str, texts: Sequence[str], after: tuple[str, float, str, int] | None = None, limit: int = ALL
    ) -> list[tuple[str, float, str, int, bytes]]:
        if not texts:
            return []
        condition = " OR ".join(["instr(event.line, ?) > 0"] * len(texts))
        values = [kind, *(text.encode() for text in texts)]
        return self._part(f"{_HAPPENED} AND ({condition})", values, _HAPPENED_KEY, after, limit)

    # -- of one run --

    def events(
        self, id: str, kind: str, newest: bool = False, after: tuple[float, str, int] | None = None, limit: int = ALL
    ) -> list[tuple[float, str, int, bytes]]:
        return self._part(
            """SELECT event.clock, writer.id, seq, line FROM event JOIN writer ON writer.no = event.writer
               WHERE event.run = (SELECT no FROM run WHERE id = ?) AND kind = ?""",
            [id, kind], ["event.clock", "writer.id", "seq"], after, limit, newest,
        )  # fmt: skip

    def chunks(self, id: str, metric: str, after: tuple[str, int] | None = None, limit: int = ALL) -> list[Points]:
        rows = self._part(
            f"""SELECT writer.id, first_seq, last_seq, count, points
                FROM writer JOIN chunk ON chunk.writer = writer.no AND chunk.label = {labels.NUMBER}
                WHERE writer.run = (SELECT no FROM run WHERE id = ?)""",
            [labels.digest(metric), id], ["writer.id", "first_seq"], after, limit,
        )  # fmt: skip
        return list(starmap(_unpacked, rows))

    def digests(
        self, id: str, metrics: Sequence[str], after: tuple[str, str, int] | None = None, limit: int = ALL
    ) -> list[tuple[Any, ...]]:
        from tachograph.index.chunks import digest_of

        if not metrics:
            return []
        rows = self._part(
            f"""SELECT label.text, writer.id, first_seq, last_seq, chunk.clock, count, points, chunk.digest
                FROM label CROSS JOIN writer JOIN chunk ON chunk.writer = writer.no AND chunk.label = label.no
                WHERE writer.run = (SELECT no FROM run WHERE id = ?)
                AND label.digest IN ({", ".join("?" * len(metrics))})""",
            [id, *map(labels.digest, metrics)], ["label.text", "writer.id", "first_seq"], after, limit,
        )  # fmt: skip
        return [(name, writer, first, *astuple(digest_of(first, *rest))) for name, writer, first, *rest in rows]

    def series(self, id: str, writer: str, after: tuple[str, int] | None = None, limit: int = ALL) -> list[Points]:
        rows = self._part(
            """SELECT label.text, first_seq, last_seq, count, points FROM chunk JOIN label ON label.no = chunk.label
               WHERE writer = (SELECT writer.no FROM writer JOIN run ON run.no = writer.run
                               WHERE run.id = ? AND writer.id = ?)""",
            [id, writer], ["label.text", "first_seq"], after, limit,
        )  # fmt: skip
        return list(starmap(_unpacked, rows))

    def next_steps(self, id: str, after: tuple[str] | None = None, limit: int = ALL) -> list[tuple[str, int]]:
        rows = self._part(
            """SELECT label.text, step FROM metric JOIN run ON run.no = metric.run
               JOIN label ON label.no = metric.label WHERE run.id = ?""",
            [id], ["label.text"], after, limit,
        )  # fmt: skip
        return [(name, step + 1) for name, step in rows]

    def end(self, id: str) -> bytes | None:
        rows = self.tables.rows('SELECT "end" FROM run JOIN writer ON writer.no = run.leader WHERE run.id = ?', id)
        end: bytes | None = rows[0][0] if rows else None
        return end

    def writers(
        self, id: str, after: tuple[float, str] | None = None, limit: int = ALL
    ) -> list[tuple[float, str, bytes | None, bytes | None, bool]]:
        rows = self._part(
            f"""SELECT started, id, header, "end", sealed FROM writer
               WHERE run = (SELECT no FROM run WHERE id = ?) AND {WRITER_HAS_BEGUN}
               AND (header IS NULL OR instr(header, ?) = 0)""",
            [id, WITNESS], ["started", "id"], after, limit,
        )  # fmt: skip
        ends = self._ends(id)
        return [
            (started, writer, header, end or ends.get(writer), bool(sealed))
            for started, writer, header, end, sealed in rows
        ]

    def _ends(self, id: str) -> dict[str, bytes]:
        """How the writers of a run ended, by their ids, where there are witnesses to ask; otherwise nothing."""
        writers = f"FROM writer WHERE run = (SELECT no FROM run WHERE id = ?) AND {WRITER_HAS_BEGUN}"
        if not self.tables.rows(f"SELECT 1 {writers} AND instr(header, ?) > 0 LIMIT 1", id, WITNESS):
            return {}
        rows = self.tables.rows(f"SELECT {', '.join(projection.WRITER_COLUMNS)} {writers}", id)
        ends = projection.ends(map(projection.IndexedWriter.loaded, rows))
        return {writer: events.encode(end) for writer, end in ends.items()}


def _unpacked(writer_or_metric: str, first_seq: int, last_seq: int, count: int, packed: bytes) -> Points:
    from tachograph.index.chunk_codec import columns  # with it comes numpy, which most questions can do without

    return writer_or_metric, first_seq, count, *columns(packed, first_seq, last_seq, count)


def _version(run: Row, writers: list[tuple[str, bytes]]) -> str:
    """A text that changes with what was read of each writer, and with the status: that a process is gone may be
    recorded nowhere."""
    state = repr((run.status, [(writer, bytes(seen)) for writer, seen in writers]))
    return hashlib.sha256(state.encode()).hexdigest()[:16]


def _condition(runs: Query) -> Sql:
    """A query as a condition on the columns of ``record``."""
    condition, values = query.where(runs.where)
    if not runs.children:
        condition = f"{TOP_LEVEL} AND {condition}"
    for column, value in (("experiment", runs.experiment), ("parent", runs.parent)):
        if value is not None:
            condition, values = f"{condition} AND {column} = ?", [*values, value]
    if runs.keeps is not None:
        condition = f"""{condition} AND id IN (
            SELECT run.id FROM event JOIN run ON run.no = event.run
            WHERE event.kind = 'artifact' AND instr(event.line, ?) > 0)"""
        values = [*values, runs.keeps.encode()]
    return Sql(condition, values)
