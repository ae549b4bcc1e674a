"""Questions answered by tables, in SQL that all the databases understand.

The tables are those of :mod:`tachograph.database`, which :mod:`tachograph.projection` fills.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from itertools import groupby
from math import nan
from pathlib import Path
from typing import Any, Protocol

from tachograph import query
from tachograph.journal import Damage
from tachograph.questions import PIECE, SHOWN, Files, Found, Query, Row, State

NEWEST_FIRST = "started DESC, id DESC"
# A child whose parent was deleted would otherwise never be seen.
TOP_LEVEL = "(parent IS NULL OR parent NOT IN (SELECT id FROM run WHERE leader IS NOT NULL))"


class Tables(Protocol):
    """A database with these tables."""

    def rows(self, sql: str, *values: Any) -> list[Any]:
        """The rows that a query gives, whose values stand where it has question marks."""

    def refresh(self) -> None:
        """Bring the tables up to date."""

    def close(self) -> None:
        """Give back what is open."""


class SqlQuestions:
    """See :class:`tachograph.questions.Questions`, which this is."""

    def __init__(self, tables: Tables, files: Files, name: str, root: Path | None = None) -> None:
        self.tables, self.files, self.name, self.root = tables, files, name, root

    def refresh(self) -> None:
        self.tables.refresh()

    def close(self) -> None:
        self.tables.close()

    # -- runs --

    def pages(self, query: Query) -> Iterator[list[Row]]:
        condition, values = _condition(query)
        order, order_values = _order(query)
        rows = self._select(condition, [*values, *order_values], order, query.limit)
        yield from (rows[start : start + PIECE] for start in range(0, len(rows), PIECE))

    def states(self, after: tuple[float, str], limit: int) -> list[State]:
        fields = ", ".join(f"page.{name}" for name in Row._fields)
        rows = self.tables.rows(
            f"""SELECT {fields}, writer.id, writer.seen
                FROM (SELECT * FROM record WHERE (started, id) > (?, ?) ORDER BY started, id LIMIT ?) AS page
                JOIN writer ON writer.run = page.no AND writer.started IS NOT NULL
                ORDER BY page.started, page.id, writer.id""",
            *after, limit,
        )  # fmt: skip
        known = ((Row(*row[: len(Row._fields)]), row[len(Row._fields) :]) for row in rows)
        return [
            State(row, _version(row, [seen for _, seen in group])) for row, group in groupby(known, lambda one: one[0])
        ]

    def find(self, key: str) -> Found:
        if (row := self.row(key)) is not None:
            return Found("id", 1, [row])
        begun = self._several("beginning", "substr(id, 1, ?) = ?", [len(key), key]) if key else None
        if begun and begun.count == 1:
            return begun
        named = self._several("name", "name = ?", [key])
        return begun if begun and begun.count and named.count != 1 else named

    def _several(self, how: str, condition: str, values: list[Any]) -> Found:
        rows = self._select(condition, values, NEWEST_FIRST, SHOWN)
        count = len(rows)
        if count == SHOWN:
            ((count,),) = self.tables.rows(f"SELECT count(*) FROM record WHERE {condition}", *values)
        return Found(how, count, rows)

    def row(self, id: str) -> Row | None:
        found = self._select("id = ?", [id], "id")
        return found[0] if found else None

    def children(self, id: str) -> list[Row]:
        return self._select("parent = ?", [id], "started, id")

    def keepers(self, digest: str) -> list[Row]:
        return self._select(
            """id IN (SELECT run.id FROM event JOIN run ON run.no = event.run
                      WHERE event.kind = 'artifact' AND instr(event.line, ?) > 0)""",
            [digest.encode()], NEWEST_FIRST,
        )  # fmt: skip

    def _select(self, condition: str, values: list[Any], order: str, limit: int | None = None) -> list[Row]:
        sql = f"SELECT {', '.join(Row._fields)} FROM record WHERE {condition} ORDER BY {order}"
        if limit is not None:
            sql, values = f"{sql} LIMIT ?", [*values, limit]
        return [Row(*row) for row in self.tables.rows(sql, *values)]

    def removed(self, key: str) -> str | None:
        return None

    def experiments(self) -> list[str]:
        sql = "SELECT DISTINCT experiment FROM record WHERE experiment IS NOT NULL ORDER BY experiment"
        return [name for (name,) in self.tables.rows(sql)]

    def damage(self, torn: bool) -> list[Damage]:
        rows = self.tables.rows(
            """SELECT run.id, writer.id, segment, line, "offset", reason
               FROM damage JOIN writer ON writer.no = damage.writer JOIN run ON run.no = writer.run
               WHERE torn = ? ORDER BY run.id, writer.id, segment, line""",
            torn,
        )
        runs = (self.root or Path()) / "runs"
        return [
            Damage(runs / run / writer / f"{segment}.jsonl", line, offset, reason, torn)
            for run, writer, segment, line, offset, reason in rows
        ]

    # -- of several runs --

    def params(self, ids: Sequence[str]) -> list[tuple[str, str, bytes]]:
        return self._of_runs("param", "written", ids)

    def tags(self, ids: Sequence[str]) -> list[tuple[str, str, str]]:
        return self._of_runs("tag", "text", ids)

    def metrics(self, ids: Sequence[str], system: bool) -> list[tuple[str, str, float]]:
        condition = f"AND substr(metric.name, 1, 7) {'=' if system else '<>'} 'system/'"
        rows = self._of_runs("metric", "number", ids, condition)
        return [(run, name, nan if value is None else value) for run, name, value in rows]

    def _of_runs(self, table: str, column: str, ids: Sequence[str], condition: str = "") -> list[Any]:
        return self.tables.rows(
            f"""SELECT run.id, {table}.name, {table}.{column} FROM run JOIN {table} ON {table}.run = run.no
                WHERE run.id IN ({", ".join("?" * len(ids))}) {condition}""",
            *ids,
        )

    # -- of one run --

    def events(self, id: str, kind: str) -> list[bytes]:
        rows = self.tables.rows(
            """SELECT line FROM event JOIN writer ON writer.no = event.writer
               WHERE event.run = (SELECT no FROM run WHERE id = ?) AND kind = ? ORDER BY event.clock, writer.id, seq""",
            id, kind,
        )  # fmt: skip
        return [line for (line,) in rows]

    def chunks(self, id: str, metric: str) -> list[tuple[str, int, bytes, bytes, bytes]]:
        return self._chunks(id, metric, ("count", "steps", "times", "values"))

    def series(self, id: str, writer: str, after: tuple[str, int], limit: int) -> list[tuple[Any, ...]]:
        return self.tables.rows(
            """SELECT name, first_seq, count, steps, times, "values" FROM chunk
               WHERE writer = (SELECT writer.no FROM writer JOIN run ON run.no = writer.run
                               WHERE run.id = ? AND writer.id = ?)
                   AND (name, first_seq) > (?, ?) ORDER BY name, first_seq LIMIT ?""",
            id, writer, *after, limit,
        )  # fmt: skip

    def digests(self, id: str, metric: str) -> list[tuple[Any, ...]]:
        from tachograph.history import Digest

        return self._chunks(id, metric, Digest.__struct_fields__)

    def _chunks(self, id: str, metric: str, columns: Sequence[str]) -> list[Any]:
        chosen = ", ".join(f'chunk."{column}"' for column in columns)
        return self.tables.rows(
            f"""SELECT writer.id, {chosen} FROM writer JOIN chunk ON chunk.writer = writer.no AND chunk.name = ?
                WHERE writer.run = (SELECT no FROM run WHERE id = ?) ORDER BY writer.id, first_seq""",
            metric, id,
        )  # fmt: skip

    def next_steps(self, id: str) -> list[tuple[str, int]]:
        rows = self.tables.rows(
            "SELECT metric.name, step FROM metric JOIN run ON run.no = metric.run WHERE run.id = ?", id
        )
        return [(name, step + 1) for name, step in rows]

    def end(self, id: str) -> bytes | None:
        found = self.tables.rows('SELECT "end" FROM run JOIN writer ON writer.no = run.leader WHERE run.id = ?', id)
        end: bytes | None = found[0][0] if found else None
        return end

    def writers(self, id: str) -> list[tuple[str, bytes | None, bytes | None, bool]]:
        rows = self.tables.rows(
            """SELECT id, header, "end", sealed FROM writer
               WHERE run = (SELECT no FROM run WHERE id = ?) AND started IS NOT NULL ORDER BY started, id""",
            id,
        )
        return [(writer, header, end, bool(sealed)) for writer, header, end, sealed in rows]


def _version(row: Row, seen: list[tuple[str, bytes]]) -> str:
    """What was read of each writer says all; that a process is gone is nowhere recorded."""
    told = repr((row.status, [(writer, bytes(numbers)) for writer, numbers in seen]))
    return hashlib.sha256(told.encode()).hexdigest()[:16]


def _condition(asked: Query) -> query.Sql:
    condition, values = query.where(asked.where)
    if not asked.children:
        condition = f"{TOP_LEVEL} AND {condition}"
    if asked.experiment is not None:
        condition, values = f"{condition} AND experiment = ?", [*values, asked.experiment]
    return query.Sql(condition, values)


def _order(asked: Query) -> query.Sql:
    order, values = query.order_by(asked.order_by)
    return query.Sql(order + NEWEST_FIRST, values)
