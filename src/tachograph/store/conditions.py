"""Conditions on a run's fields, and terms of an order, as SQL. A caller's texts are values, never a part of the SQL."""

from __future__ import annotations

from math import isnan
from typing import Any, NamedTuple

from msgspec import Struct

from tachograph.index.labels import NUMBER, digest

COLUMNS = {
    "metric": {"number": "number"},
    "param": {"number": "number", "text": "text"},
    "tag": {"text": "text"},
}
TIMES = ("started", "ended", "registered")


class Sql(NamedTuple):
    """An expression and the values of its question marks."""

    text: str
    values: list[Any]


class Term(NamedTuple):
    """A part of an ORDER BY: an expression, which is a number or a text, and the values of its question marks. What is
    NULL comes last, always."""

    text: str
    values: list[Any]
    descending: bool
    is_number: bool


class Field(Struct):
    """A field that a query names, at column ``at`` of its text. ``table`` is None for the run's own fields."""

    table: str | None
    name: str
    at: int

    @property
    def columns(self) -> dict[str, str]:
        """By kind of value the column that holds it."""
        return COLUMNS[self.table] if self.table else {"number" if self.is_time else "text": self.name}

    @property
    def is_nan(self) -> str:
        """The condition that it is NaN."""
        return {"metric": "number IS NULL", "param": "nan"}.get(self.table or "", "FALSE")

    @property
    def is_time(self) -> bool:
        return self.table is None and self.name in TIMES


class Day(NamedTuple):
    """A day as seconds since 1970; ``end`` is the next one's start."""

    start: float
    end: float


NEVER = Sql("FALSE", [])


def on(field: Field, test: Sql) -> Sql:
    """``test`` of a field's columns, as a condition on the run, which is never NULL."""
    if field.table is None:
        return Sql(f"({field.name} IS NOT NULL AND ({test.text}))", test.values)
    condition = f"(no IN (SELECT run FROM {field.table} WHERE label = {NUMBER} AND ({test.text})))"
    return Sql(condition, [digest(field.name), *test.values])


def comparison(field: Field, operator: str, value: Any) -> Sql:
    """The comparison of a field with a value. It is NULL where the field holds none of this kind: text and numbers
    don't compare."""
    if isinstance(value, float) and isnan(value):
        return nan(field, operator == "<>")
    if isinstance(value, Day):
        if operator in ("=", "<>"):
            within = f"{field.name} >= ? AND {field.name} < ?"
            return Sql(f"NOT ({within})" if operator == "<>" else within, list(value))
        value = value.start
    column = field.columns.get(_kind(value))
    return Sql(f"{column} {operator} ?", [_plain(value)]) if column else NEVER


def nan(field: Field, negated: bool) -> Sql:
    """Whether a field is NaN; ``negated``: whether it is any other number."""
    if not negated:
        return Sql(field.is_nan, [])
    column = field.columns.get("number")
    return Sql(f"{column} IS NOT NULL", []) if column else NEVER


def membership(field: Field, values: list[Any], negated: bool) -> Sql:
    """Whether a field is one of several values, or ``negated``: none of those that are of its kind."""
    if any(isinstance(value, Day) for value in values):
        parts = [comparison(field, "<>" if negated else "=", value) for value in values]
        joined = (" AND " if negated else " OR ").join(f"({text})" for text, _ in parts)
        return on(field, Sql(joined, [value for part in parts for value in part.values]))
    parts = [_among(field, kind, values, negated) for kind in field.columns]
    if not negated and any(value != value for value in values):
        parts.append(nan(field, negated))
    possible = [part for part in parts if part is not NEVER] or [NEVER]
    joined = " OR ".join(part.text for part in possible)
    return on(field, Sql(joined, [value for part in possible for value in part.values]))


def _among(field: Field, kind: str, values: list[Any], negated: bool) -> Sql:
    """Those of ``values`` that are of a kind: what is of another one is not compared."""
    alike = [_plain(value) for value in values if _kind(value) == kind]
    comparable = [value for value in alike if value == value]  # the rest is NaN
    if comparable:
        return Sql(f"{field.columns[kind]} {'NOT ' * negated}IN ({', '.join('?' * len(comparable))})", comparable)
    return nan(field, negated) if alike and negated else NEVER


def presence(field: Field, wanted: bool) -> Sql:
    """Whether a run has a field; without ``wanted``, whether it lacks it."""
    if field.table is None:
        return Sql(f"({field.name} IS {'NOT ' * wanted}NULL)", [])
    present = " OR ".join([*(f"{column} IS NOT NULL" for column in field.columns.values()), field.is_nan])
    runs = f"SELECT run FROM {field.table} WHERE label = {NUMBER} AND ({present})"
    return Sql(f"no {'NOT ' * (not wanted)}IN ({runs})", [digest(field.name)])


def _kind(value: Any) -> str:
    return "text" if isinstance(value, str) else "number"


def _plain(value: Any) -> Any:
    return int(value) if isinstance(value, bool) else value


def terms(field: Field, descending: bool) -> list[Term]:
    """The order by a field: numbers are less than texts."""
    if field.table is None:
        return [Term(field.name, [], descending, field.is_time)]
    row, values = f"FROM {field.table} WHERE run = no AND label = {NUMBER}", [digest(field.name)]
    columns = sorted(field.columns, reverse=descending)
    return [Term(f"(SELECT {column} {row})", values, descending, column == "number") for column in columns]
