"""Runs in any order, page by page: each page is asked for with what the last run of the one before was ordered by.

So pages neither repeat nor skip what was there all the time, whatever is recorded meanwhile.
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
LAST = ("started", "id")  # the newest first, where nothing else tells runs apart
WIDTH = len(Row._fields)

_decode = msgspec.msgpack.Decoder(list[int | float | str | None]).decode


def page(rows: Callable[..., list[Any]], condition: Sql, order_by: str | None, after: str | None, limit: int) -> Page:
    """The runs of ``record`` for which ``condition`` holds, in their order: from after a certain one on."""
    terms = query.order_by(order_by)
    if len(terms) > MOST_TERMS and limit < ALL:
        raise QueryError(f"order_by: more than {MOST_TERMS // 2} fields are too many for pages")
    keys = [f"key{number}" for number in range(len(terms))]
    columns = [*Row._fields, *(f"{term.text} AS {key}" for term, key in zip(terms, keys, strict=True))]
    sql = f"SELECT {', '.join(columns)} FROM record WHERE {condition.text}"
    values = [*(value for term in terms for value in term.values), *condition.values]
    if after is not None:
        beyond = _beyond(terms, keys, _opened(after, [*(term.is_number for term in terms), True, False]))
        sql, values = f"SELECT * FROM ({sql}) AS found WHERE {beyond.text}", [*values, *beyond.values]
    sql = f"{sql} ORDER BY {_order(terms, keys)}"
    if limit < ALL:
        sql, values = f"{sql} LIMIT ?", [*values, limit + 1]
    found = rows(sql, *values)
    shown = [Row(*row[:WIDTH]) for row in found[:limit]]
    return Page(shown, _closed(shown[-1], found[limit - 1][WIDTH:]) if len(found) > limit > 0 else None)


def _order(terms: Sequence[Term], keys: Sequence[str]) -> str:
    own = (f"{key} {'DESC' if term.descending else 'ASC'} NULLS LAST, " for term, key in zip(terms, keys, strict=True))
    return "".join(own) + ", ".join(f"{key} DESC" for key in LAST)


def _beyond(terms: Sequence[Term], keys: Sequence[str], last: Sequence[Any]) -> Sql:
    """The condition that a run comes after the one that was ordered by ``last``.

    Written out flat, as it is for databases that bound how deep conditions may be.
    """
    ways, values, before = [], [], Sql("", [])  # like the last one in all the keys before
    for term, key, value in zip(terms, keys, last, strict=False):
        if value is None:
            before = Sql(f"{before.text}{key} IS NULL AND ", before.values)
            continue
        ways.append(f"{before.text}({key} {'<' if term.descending else '>'} ? OR {key} IS NULL)")
        values += [*before.values, value]
        before = Sql(f"{before.text}{key} = ? AND ", [*before.values, value])
    ways.append(f"{before.text}({', '.join(LAST)}) < ({', '.join('?' * len(LAST))})")
    return Sql(" OR ".join(ways), [*values, *before.values, *last[len(keys) :]])


def _closed(row: Row, keys: Sequence[Any]) -> str:
    return base64.urlsafe_b64encode(msgspec.msgpack.encode([*keys, row.started, row.id])).decode()


def _opened(after: str, are_numbers: Sequence[bool]) -> list[Any]:
    """The values that were put in, if they are of the kinds that each of them has to be."""
    try:
        found = _decode(base64.urlsafe_b64decode(after))
    except ValueError:
        found = []
    if len(found) != len(are_numbers) or not all(map(_fits, found, are_numbers)) or None in found[-len(LAST) :]:
        raise QueryError("that is no place in this list of runs: begin anew")
    return found


def _fits(value: float | str | None, is_number: bool) -> bool:
    """Whether databases can compare a value with numbers, or with texts."""
    if value is None or isinstance(value, str):
        return value is None or not is_number
    return is_number and value == value and (isinstance(value, float) or abs(value) <= MAX_INT)
