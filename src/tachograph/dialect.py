"""The two databases that can hold the tables, and what they don't have in common.

Statements are written once, with question marks for values, in what SQLite and PostgreSQL both understand. The little
that has to be spelled differently is spelled here for PostgreSQL. No text of a caller's is ever part of a statement.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import lru_cache
from typing import Any, Protocol


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
        """Numbers of labels that are known to be right until the transaction ends."""

    def execute(self, sql: str, values: Sequence[Any] = (), /) -> Cursor:
        """Carry out a statement."""

    def executemany(self, sql: str, rows: Iterable[Sequence[Any]], /) -> Any:
        """Carry out a statement with each of several rows of values."""

    def each(self, sql: str, rows: Sequence[Sequence[Any]], /) -> list[list[Any]]:
        """The same question with each of several rows of values; the rows that each of them gave."""

    def hold(self, run: int, /) -> None:
        """Until the transaction ends nobody else says anything of the run itself, and what others said is seen."""


@lru_cache(maxsize=1000)
def postgresql(sql: str) -> str:
    """A statement as PostgreSQL takes it. There LIKE tells capital letters from small ones, and knows an escape. Each
    condition on values would become a join, and of a hundred of those it would think for minutes."""
    for ours, theirs in (("LIKE ?", "ILIKE ? ESCAPE ''"), ("(no IN (SELECT", "(TRUE = no IN (SELECT"), ("?", "%s")):
        sql = sql.replace(ours, theirs)
    return sql


def postgresql_schema(sql: str) -> str:
    """The same for the tables. Text compares byte by byte, as in SQLite. An entry of an index there has at most 2,704
    bytes, so that what is text, and may be long, doesn't become one."""
    for ours, theirs in (
        ("INTEGER PRIMARY KEY AUTOINCREMENT", "INTEGER PRIMARY KEY GENERATED ALWAYS AS IDENTITY"),
        ("BLOB", "BYTEA"),
        (" TEXT", ' TEXT COLLATE "C"'),
        (" WITHOUT ROWID", ""),
        ("(label, text)", "(label)"),
        ("ON run (parent)", "ON run USING hash (parent)"),
    ):
        sql = sql.replace(ours, theirs)
    return sql
