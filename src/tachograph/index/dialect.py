"""The two databases that can hold the tables, and what differs between them.

Statements are written once, with question marks for values, in what SQLite and PostgreSQL both understand. The little
that differs is translated for PostgreSQL here, and the statements that make the tables are printed for either. No text
of a caller's is ever part of a statement.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from functools import lru_cache
from typing import Any, NamedTuple, Protocol

from tachograph.index import schema
from tachograph.index.schema import SqlIndex, SqlTable


class Cursor(Protocol):
    """What came of a statement."""

    @property
    def rowcount(self) -> int:
        """How many rows it changed."""

    def fetchone(self) -> Any:
        """The next of the rows that it gave, or None."""

    def fetchall(self) -> list[Any]:
        """All of them."""


class Connection(Protocol):
    """A connection to either database, in a transaction."""

    @property
    def labels(self) -> dict[str, int]:
        """The numbers of labels that were looked up; they stay right until the transaction ends."""

    def execute(self, sql: str, values: Sequence[Any] = (), /) -> Cursor:
        """Carry out a statement."""

    def executemany(self, sql: str, rows: Iterable[Sequence[Any]], /) -> Any:
        """Carry out a statement with each of several rows of values."""

    def each(self, sql: str, rows: Sequence[Sequence[Any]], /) -> list[list[Any]]:
        """Ask the same with each of several rows of values. Returns the rows that each of them gave."""

    def hold(self, run: int, /) -> None:
        """Lock the row of a run until the transaction ends. What others wrote to it before is seen."""


@lru_cache(maxsize=1000)
def postgresql(sql: str) -> str:
    """A statement in PostgreSQL's dialect.

    Its LIKE distinguishes capital letters from small ones, and has an escape character. It would make a join of each
    condition on values, and plan a hundred of those for minutes: ``TRUE =`` keeps it from that.
    """
    for ours, theirs in (("LIKE ?", "ILIKE ? ESCAPE ''"), ("(no IN (SELECT", "(TRUE = no IN (SELECT"), ("?", "%s")):
        sql = sql.replace(ours, theirs)
    return sql


# What PostgreSQL calls otherwise. Text compares byte by byte there, as in SQLite.
_POSTGRESQL_TYPES = {
    schema.NUMBERED: "INTEGER PRIMARY KEY GENERATED ALWAYS AS IDENTITY",
    schema.TEXT: 'TEXT COLLATE "C"',
    schema.BLOB: "BYTEA",
}
# By table and column of what type an array of its values is in PostgreSQL.
_ARRAY_TYPES = {
    table.name: {
        name.strip('"'): {schema.NUMBERED: "INTEGER", schema.BLOB: "BYTEA"}.get(type, type)
        for name, type, _ in table.columns
    }
    for table in schema.TABLES
}


def sqlite_schema() -> str:
    """The statements that make the tables of a store in SQLite."""
    tables = [_table(table, {}, " WITHOUT ROWID") for table in (*schema.TABLES, *schema.LOCAL_TABLES)]
    indexes = [_index(index, f"({index.columns})") for index in (*schema.INDEXES, *schema.LOCAL_INDEXES)]
    return "\n".join([*tables, *indexes, schema.RECORD, schema.LOCAL_ROWS])


def postgresql_schema() -> str:
    """The statements that make the tables of servers in PostgreSQL."""
    tables = [_table(table, _POSTGRESQL_TYPES, "") for table in schema.TABLES]
    indexes = [_index(index, index.postgresql or f"({index.columns})") for index in schema.INDEXES]
    return "\n".join([*tables, *indexes, schema.RECORD])


def _table(table: SqlTable, types: Mapping[str, str], in_order_of_key: str) -> str:
    parts = [f"{name} {types.get(type, type)} {constraint}".rstrip() for name, type, constraint in table.columns]
    parts += [f"UNIQUE ({table.unique})"] if table.unique else []
    parts += [f"PRIMARY KEY ({table.key})"] if table.key else []
    return f"CREATE TABLE {table.name} ({', '.join(parts)}){in_order_of_key * bool(table.key)};"


def _index(index: SqlIndex, indexed: str) -> str:
    of_some = f" WHERE {index.where}" if index.where else ""
    return f"CREATE INDEX {index.name} ON {index.table} {indexed}{of_some};"


class Many(NamedTuple):
    """A statement of PostgreSQL's that does at once what another one does with each of several rows of values. It takes
    an array for each question mark. Where it selects, the number of the row, from 1, comes first in each answer."""

    sql: str
    types: list[str]  # of the arrays' values


@lru_cache(maxsize=1000)
def many(sql: str) -> Many | None:
    """The statement that does ``sql`` for several rows at once; None where there is none.

    There is one for ``INSERT INTO t (a, b) VALUES (?, ?) ...``, ``DELETE FROM t WHERE a = ? AND b = ?`` and
    ``SELECT ... FROM t WHERE a = ? ...``, with tables of the schema.
    """
    clause = re.search(r"(INSERT INTO|DELETE FROM|FROM) (\w+)", sql)
    if clause is None or clause[2] not in _ARRAY_TYPES:
        return None
    verb, table = clause[1], _ARRAY_TYPES[clause[2]]
    if verb == "INSERT INTO":
        insert = re.fullmatch(r"(INSERT INTO \w+ )\(([^)]*)\) VALUES \([?, ]*\)([^?]*)", sql)
        if insert is None:
            return None
        types = [table[name] for name in insert[2].replace('"', "").split(", ")]
        return Many(postgresql(f"{insert[1]}({insert[2]}) SELECT * FROM {_arrays(types)}{insert[3]}"), types)
    names = re.findall(r"(\w+) = \?", sql)
    if len(names) != sql.count("?"):
        return None
    numbers = iter(range(1, len(names) + 1))
    each = re.sub(r"\?", lambda _: f"given.value{next(numbers)}", sql)
    types = [table[name] for name in names]
    given = (
        f"{_arrays(types)} WITH ORDINALITY AS given ({''.join(f'value{n}, ' for n in range(1, len(names) + 1))}place)"
    )
    if verb == "DELETE FROM":
        return Many(postgresql(each.replace(" WHERE ", f" USING {given} WHERE ", 1)), types)
    return Many(
        postgresql(f"SELECT place, found.* FROM {given} CROSS JOIN LATERAL ({each}) AS found ORDER BY place"), types
    )


def _arrays(types: list[str]) -> str:
    return f"unnest({', '.join(f'?::{kind}[]' for kind in types)})"
