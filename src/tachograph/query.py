"""The language of ``where`` and ``order_by``, compiled to SQL. No text of the caller's ever becomes part of the SQL.

    where     metrics.val_acc > 0.9 and params.model = 'resnet' and not tags.purpose in ('debug', 'smoke')
    order_by  metrics.val_acc desc, started

**Fields.** ``metrics.``, ``params.`` and ``tags.`` with a name, and the run's own ``id``, ``name``, ``experiment``,
``status``, ``started``, ``ended``, ``parent`` (an id). A metric stands for its last value. A name, or a part of it
between dots, that is not made of letters, digits and underscores goes in double quotes: ``metrics."train-logloss"``.

**Conditions.** ``= != < <= > >=`` with a value, ``like`` with a pattern (``%`` any text, ``_`` any character, letters
of either case), ``in (…, …)``, ``is null``, ``is not null``; ``not in`` and ``not like`` too. They are joined by
``and``, ``or``, ``not`` and parentheses.

**Values.** Text in single quotes (``''`` for a quote in it), numbers, ``inf``, ``nan`` (only with ``=`` and ``!=``;
what is NaN compares false with all else), ``true``, ``false`` (equal to 1 and 0). Times are text: ``'2026-11-05'``,
``'2026-11-05 14:30'``, ``'2026-11-05T14:30:00+01:00'``; UTC unless they say otherwise. A date alone is its midnight,
but with ``=`` and ``!=`` the whole day.

**What is missing** compares false, under ``!=`` too; so does text with a number. Hence ``not params.lr < 1`` also holds
for a run without ``lr``, and ``params.lr >= 1`` does not. In an order, what is missing comes last, up or down.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from math import isnan
from typing import Any, NamedTuple, TypeVar

from msgspec import Struct

from tachograph.errors import QueryError
from tachograph.labels import NUMBER, digest

T = TypeVar("T")

MAX_DEPTH = 50
MAX_CONDITIONS = 400
MAX_VALUES = 30_000
MAX_PATTERN = 10_000

TABLES = {"metrics": "metric", "params": "param", "tags": "tag"}
COLUMNS = {
    "metric": {"number": "number"},
    "param": {"number": "number", "text": "text"},
    "tag": {"text": "text"},
}
TEXTS = ("id", "name", "experiment", "status", "parent")
TIMES = ("started", "ended")
COMPARISONS = {"=": "=", "==": "=", "!=": "<>", "<>": "<>", "<": "<", "<=": "<=", ">": ">", ">=": ">="}
KEYWORDS = {"and", "or", "not", "in", "like", "is", "null", "true", "false", "asc", "desc"}

_TOKEN = re.compile(
    r"""
    (?P<blank> \s+ )
  | (?P<text> '(?:[^']|'')*' )
  | (?P<number> [-+]? (?: (?:\d+\.?\d*|\.\d+) (?:[eE][-+]?\d+)? | (?:inf|infinity|nan)\b ) )
  | (?P<name> [^\W\d]\w* (?: \. (?: \w+ | "(?:[^"]|"")*" ) )* )
  | (?P<sign> <=|>=|!=|==|<>|[=<>(),] )
    """,
    re.VERBOSE | re.IGNORECASE,
)
_PART = re.compile(r'\.(?:(\w+)|"((?:[^"]|"")*)")')


class Sql(NamedTuple):
    """An expression and the values of its question marks."""

    text: str
    values: list[Any]


def where(text: str | None) -> Sql:
    """``text`` as a condition on the columns of the index's ``record``, never NULL. Raises ``QueryError``."""
    parser = _Parser("where", text)
    return parser.only(parser.any_of) if parser.is_there else Sql("TRUE", [])


class Term(NamedTuple):
    """A part of an ORDER BY: an expression and the values of its question marks. What is NULL comes last, always."""

    text: str
    values: list[Any]
    descending: bool


def order_by(text: str | None) -> list[Term]:
    """``text`` as the first terms of an ORDER BY. Raises ``QueryError``."""
    parser = _Parser("order_by", text)
    return parser.only(parser.terms) if parser.is_there else []


def _odd(character: str) -> str:
    """What to say of a character at which nothing can begin."""
    if character == "'":
        return "text without its closing quote"
    if character == '"':
        return "a double quote, which is for names; text goes in single quotes,"
    return f"unexpected {character!r} (a name that has it goes in double quotes)"


class Token(Struct):
    kind: str  # text, number, name, sign, end
    text: str
    at: int

    @property
    def word(self) -> str:
        """A keyword or a sign, in lower case; "" for anything else."""
        lower = self.text.lower()
        return lower if self.kind == "sign" or (self.kind == "name" and lower in KEYWORDS) else ""


class Field(Struct):
    """``table`` is None for the run's own fields."""

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


class _Parser:
    """Recursive descent over the tokens. Each method takes what it is named for and hands back its SQL."""

    def __init__(self, argument: str, text: str | None) -> None:
        self.argument, self.text = argument, text or ""
        if not isinstance(self.text, str):
            raise QueryError(f"{argument} is text, not {type(text).__name__}: see help(tachograph.query)")
        if not self.text.isascii() and self.text.encode(errors="replace").decode() != self.text:
            raise QueryError(f"{argument} has characters that are no text: write it anew")
        self._tokens = list(self._tokenize())
        self._place = self._depth = self._conditions = self._values = 0
        self.is_there = bool(self.text.strip())

    # -- tokens --

    def _tokenize(self) -> list[Token]:
        tokens, at = [], 0
        while at < len(self.text):
            match = _TOKEN.match(self.text, at)
            if match is None:
                raise self.error(_odd(self.text[at]), at)
            if match.lastgroup != "blank":
                tokens.append(Token(str(match.lastgroup), match.group(), at))
            at = match.end()
        return [*tokens, Token("end", "", len(self.text.rstrip()))]

    def error(self, what: str, at: int) -> QueryError:
        """One line that points at the spot: ``where: expected a value at column 16: metrics.loss < >>> and``."""
        shown = self.text[max(0, at - 40) : at] + " >>> " + self.text[at : at + 40]
        place = f"column {at + 1}" if at < len(self.text.rstrip()) else "the end"
        return QueryError(f"{self.argument}: {what} at {place}: {' '.join(shown.split())}")

    @property
    def _next(self) -> Token:
        return self._tokens[self._place]

    def _take(self) -> Token:
        token = self._next
        self._place += token.kind != "end"
        return token

    def _took(self, word: str) -> bool:
        found = self._next.word == word
        self._place += found
        return found

    def _expect(self, word: str) -> None:
        if not self._took(word):
            raise self.error(f"expected {word!r}", self._next.at)

    def only(self, rule: Callable[[], T]) -> T:
        found = rule()
        if self._next.kind != "end":
            more = "',' or nothing more" if rule == self.terms else "'and', 'or' or nothing more"
            raise self.error(f"expected {more}", self._next.at)
        return found

    # -- where --

    def any_of(self) -> Sql:
        return self._joined("or", self._all_of)

    def _all_of(self) -> Sql:
        return self._joined("and", self._negatable)

    def _joined(self, word: str, part: Callable[[], Sql]) -> Sql:
        parts = [part()]
        while self._took(word):
            parts.append(part())
        if len(parts) == 1:
            return parts[0]
        joined = f" {word.upper()} ".join(sql for sql, _ in parts)
        return Sql(f"({joined})", [value for _, own in parts for value in own])

    def _negatable(self) -> Sql:
        token = self._next
        if token.word not in ("not", "("):
            return self._condition()
        self._depth += 1
        if self._depth > MAX_DEPTH:
            raise self.error("nested too deep", token.at)
        self._take()
        if token.word == "not":
            text, values = self._negatable()
            found = Sql(f"(NOT {text})", values)
        else:
            found = self.any_of()
            self._expect(")")
        self._depth -= 1
        return found

    def _condition(self) -> Sql:
        field, token = self._field(), self._take()
        self._conditions += 1
        if self._conditions > MAX_CONDITIONS:
            raise self.error(f"more than {MAX_CONDITIONS} conditions", field.at)
        if token.word in COMPARISONS:
            return self._compared(field, COMPARISONS[token.word])
        if token.word == "is":
            negated = self._took("not")
            self._expect("null")
            return _presence(field, negated)
        negated = token.word == "not"
        verb = self._take() if negated else token
        if verb.word == "in":
            return _membership(field, self._list(field), negated)
        if verb.word == "like":
            return self._like(field, negated)
        raise self.error("expected one of = != < <= > >= in like is", verb.at)

    def _field(self) -> Field:
        token = self._take()
        if token.kind != "name" or token.word:
            raise self.error("expected a field", token.at)
        prefix, _, rest = token.text.partition(".")
        table = TABLES.get(prefix.lower())
        if table and rest:
            parts = _PART.findall("." + rest)
            return Field(table, ".".join(plain or quoted.replace('""', '"') for plain, quoted in parts), token.at)
        if table:
            raise self.error(f"expected a name after {prefix}.", token.at + len(prefix))
        if token.text.lower() not in TEXTS + TIMES:
            known = ", ".join(TEXTS + TIMES)
            raise self.error(f"unknown field {token.text!r} (metrics.…, params.…, tags.…, {known})", token.at)
        return Field(None, token.text.lower(), token.at)

    def _value(self, field: Field) -> Any:
        token = self._take()
        self._values += 1
        if self._values > MAX_VALUES:
            raise self.error(f"more than {MAX_VALUES} values", token.at)
        if token.word in ("true", "false"):
            return token.word == "true"
        if token.kind == "number":
            return int(token.text) if len(token.text) < 18 and token.text.lstrip("+-").isdigit() else float(token.text)
        if token.kind != "text":
            raise self.error("expected a value", token.at)
        text = token.text[1:-1].replace("''", "'")
        return self._time(text, token.at) if field.is_time else text

    def _time(self, text: str, at: int) -> Any:
        """Seconds since 1970; of a date alone, a ``Day``."""
        try:
            found = datetime.fromisoformat(text)
            start = (found if found.tzinfo else found.replace(tzinfo=UTC)).timestamp()
        except (ValueError, OverflowError):
            raise self.error("expected a date like '2026-11-05' or '2026-11-05 14:30'", at) from None
        return Day(start, start + timedelta(days=1).total_seconds()) if len(text) <= len("2026-11-05") else start

    def _list(self, field: Field) -> list[Any]:
        self._expect("(")
        values = [self._value(field)]
        while self._took(","):
            values.append(self._value(field))
        self._expect(")")
        return values

    def _compared(self, field: Field, operator: str) -> Sql:
        at = self._next.at
        value = self._value(field)
        if isinstance(value, float) and isnan(value) and operator not in ("=", "<>"):
            raise self.error("nan is neither less nor more than anything: use = or !=", at)
        return _on(field, _comparison(field, operator, value))

    def _like(self, field: Field, negated: bool) -> Sql:
        token = self._take()
        if token.kind != "text" or field.is_time:
            raise self.error("expected a pattern, and before like a field that is text", token.at)
        pattern = token.text[1:-1].replace("''", "'")
        if len(pattern) > MAX_PATTERN:
            raise self.error(f"a pattern of more than {MAX_PATTERN} characters", token.at)
        column = field.columns.get("text")
        return _on(field, Sql(f"{column} {'NOT ' * negated}LIKE ?", [pattern]) if column else NEVER)

    # -- order_by --

    def terms(self) -> list[Term]:
        parts = self._term()
        while self._took(","):
            parts += self._term()
        return parts

    def _term(self) -> list[Term]:
        field = self._field()
        self._conditions += 1
        if self._conditions > MAX_CONDITIONS:
            raise self.error(f"more than {MAX_CONDITIONS} terms", field.at)
        descending = self._took("desc") or (self._took("asc") and False)
        if field.table is None:
            return [Term(field.name, [], descending)]
        columns = sorted(field.columns, reverse=descending)  # numbers are less than texts
        return [
            Term(
                f"(SELECT {column} FROM {field.table} WHERE run = no AND label = {NUMBER})",
                [digest(field.name)],
                descending,
            )
            for column in columns
        ]


class Day(NamedTuple):
    """A day as seconds since 1970; ``end`` is the next one's start."""

    start: float
    end: float


NEVER = Sql("FALSE", [])


def _on(field: Field, test: Sql) -> Sql:
    """``test`` of a field's columns, as a condition on the run, which is never NULL."""
    if field.table is None:
        return Sql(f"({field.name} IS NOT NULL AND ({test.text}))", test.values)
    found = f"(no IN (SELECT run FROM {field.table} WHERE label = {NUMBER} AND ({test.text})))"
    return Sql(found, [digest(field.name), *test.values])


def _comparison(field: Field, operator: str, value: Any) -> Sql:
    """What is NULL where the field holds no value of this kind: text and numbers don't compare."""
    if isinstance(value, float) and isnan(value):
        return _nan(field, operator == "<>")
    if isinstance(value, Day):
        if operator in ("=", "<>"):
            within = f"{field.name} >= ? AND {field.name} < ?"
            return Sql(f"NOT ({within})" if operator == "<>" else within, list(value))
        value = value.start
    column = field.columns.get(_kind(value))
    return Sql(f"{column} {operator} ?", [_plain(value)]) if column else NEVER


def _nan(field: Field, negated: bool) -> Sql:
    if not negated:
        return Sql(field.is_nan, [])
    column = field.columns.get("number")
    return Sql(f"{column} IS NOT NULL", []) if column else NEVER


def _membership(field: Field, values: list[Any], negated: bool) -> Sql:
    if any(isinstance(value, Day) for value in values):
        parts = [_comparison(field, "<>" if negated else "=", value) for value in values]
        joined = (" AND " if negated else " OR ").join(f"({text})" for text, _ in parts)
        return _on(field, Sql(joined, [value for _, own in parts for value in own]))
    parts = [_among(field, kind, values, negated) for kind in field.columns]
    if not negated and any(value != value for value in values):
        parts.append(_nan(field, negated))
    found = [part for part in parts if part is not NEVER] or [NEVER]
    return _on(field, Sql(" OR ".join(text for text, _ in found), [value for _, own in found for value in own]))


def _among(field: Field, kind: str, values: list[Any], negated: bool) -> Sql:
    """Those of ``values`` that are of a kind: what is of another one is not compared."""
    alike = [_plain(value) for value in values if _kind(value) == kind]
    own = [value for value in alike if value == value]  # the rest is NaN
    if own:
        return Sql(f"{field.columns[kind]} {'NOT ' * negated}IN ({', '.join('?' * len(own))})", own)
    return _nan(field, negated) if alike and negated else NEVER


def _presence(field: Field, wanted: bool) -> Sql:
    if field.table is None:
        return Sql(f"({field.name} IS {'NOT ' * wanted}NULL)", [])
    there = " OR ".join([*(f"{column} IS NOT NULL" for column in field.columns.values()), field.is_nan])
    found = f"SELECT run FROM {field.table} WHERE label = {NUMBER} AND ({there})"
    return Sql(f"no {'NOT ' * (not wanted)}IN ({found})", [digest(field.name)])


def _kind(value: Any) -> str:
    return "text" if isinstance(value, str) else "number"


def _plain(value: Any) -> Any:
    return int(value) if isinstance(value, bool) else value
