"""Runs in any order, page by page.

Each page but the first is asked for with the values by which the last run of the one before was ordered. So pages
neither repeat nor skip what was there all the time, whatever is recorded meanwhile.
"""

from __future__ import annotations

import base64
from collections.abc import Callable, Sequence
from typing import Any

import msgspec

from tachograph.errors import QueryError
from tachograph.events import MAX_INT
from tachograph.store import query
from tachograph.store.conditions import Sql, Term
from tachograph.store.questions import ALL, Page, Row

MOST_TERMS = 50  # of an order that is read page by page: the condition grows with the square of that
LAST = ("started", "id")  # the newest first, among runs that are equal in all else
WIDTH = len(Row._fields)

_decode = msgspec.msgpack.Decoder(list[int | float | str | None]).decode


def page(rows: Callable[..., list[Any]], condition: Sql, order_by: str | None, after: str | None, limit: int) -> Page:
    """The first ``limit`` runs of ``record`` for which ``condition`` holds, in their order: those behind the place that
    ``after`` names, where it is given."""
    terms = query.order_by(order_by)
    if len(terms) > MOST_TERMS and limit < ALL:
        raise QueryError(f"order_by: more than {MOST_TERMS // 2} fields are too many for pages")
    keys = [f"key{number}" for number in range(len(terms))]
    columns = [*Row._fields, *(f"{term.text} AS {key}" for term, key in zip(terms, keys, strict=True))]
    sql = f"SELECT {', '.join(columns)} FROM record WHERE {condition.text}"
    values = [*(value for term in terms for value in term.values), *condition.values]
    if after is not None:
        behind = _behind(terms, keys, _decoded(after, [*(term.is_number for term in terms), True, False]))
        sql, values = f"SELECT * FROM ({sql}) AS found WHERE {behind.text}", [*values, *behind.values]
    sql = f"{sql} ORDER BY {_order(terms, keys)}"
    if limit < ALL:
        sql, values = f"{sql} LIMIT ?", [*values, limit + 1]
    selected = rows(sql, *values)
    runs = [Row(*row[:WIDTH]) for row in selected[:limit]]
    return Page(runs, _encoded(runs[-1], selected[limit - 1][WIDTH:]) if len(selected) > limit > 0 else None)


def _order(terms: Sequence[Term], keys: Sequence[str]) -> str:
    by_terms = (
        f"{key} {'DESC' if term.descending else 'ASC'} NULLS LAST, " for term, key in zip(terms, keys, strict=True)
    )
    return "".join(by_terms) + ", ".join(f"{key} DESC" for key in LAST)


def _behind(terms: Sequence[Term], keys: Sequence[str], last: Sequence[Any]) -> Sql:
    """The condition that a run comes behind the one whose values are ``last``: that it differs from it in some key, in
    the right direction, and is equal to it in all keys before.

    It is written without nesting, since databases bound how deep conditions may be.
    """
    alternatives, values, equal = [], [], Sql("", [])  # in all the keys before
    for term, key, value in zip(terms, keys, last, strict=False):
        if value is None:
            equal = Sql(f"{equal.text}{key} IS NULL AND ", equal.values)
            continue
        alternatives.append(f"{equal.text}({key} {'<' if term.descending else '>'} ? OR {key} IS NULL)")
        values += [*equal.values, value]
        equal = Sql(f"{equal.text}{key} = ? AND ", [*equal.values, value])
    alternatives.append(f"{equal.text}({', '.join(LAST)}) < ({', '.join('?' * len(LAST))})")
    return Sql(" OR ".join(alternatives), [*values, *equal.values, *last[len(keys) :]])


def _encoded(row: Row, keys: Sequence[Any]) -> str:
    return base64.urlsafe_b64encode(msgspec.msgpack.encode([*keys, row.started, row.id])).decode()


def _decoded(after: str, are_numbers: Sequence[bool]) -> list[Any]:
    """The values in ``after``. Raises ``QueryError`` unless each is a number or a text, as it has to be."""
    try:
        values = _decode(base64.urlsafe_b64decode(after))
    except ValueError:
        values = []
    if len(values) != len(are_numbers) or not all(map(_fits, values, are_numbers)) or None in values[-len(LAST) :]:
        raise QueryError("that is no place in this list of runs: begin anew")
    return values


def _fits(value: float | str | None, is_number: bool) -> bool:
    """Whether databases can compare a value with numbers, or with texts."""
    if value is None or isinstance(value, str):
        return value is None or not is_number
    return is_number and value == value and (isinstance(value, float) or abs(value) <= MAX_INT)
