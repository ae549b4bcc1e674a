"""The language of ``where`` and ``order_by``, compiled to SQL. No text of the caller's ever becomes part of the SQL.

    where     metrics.val_acc > 0.9 and params.model = 'resnet' and not tags.purpose in ('debug', 'smoke')
    order_by  metrics.val_acc desc, started

**Fields.** ``metrics.``, ``params.`` and ``tags.`` with a name, and the run's own ``id``, ``name``, ``experiment``,
``status``, ``started``, ``ended``, ``parent`` (an id). A metric stands for its last value. A name, or a part of it
between dots, that is not made of letters, digits and underscores goes in double quotes: ``metrics."train-logloss"``.

Model versions have ``metrics.`` and ``params.`` of the run that they came from, as they were when they were registered,
``tags.`` of their own, and ``name``, ``version``, ``stage``, ``approval``, ``run`` (an id), ``by`` (who registered it),
``registered``.

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
from typing import Any, TypeVar

from msgspec import Struct

from tachograph.errors import QueryError
from tachograph.store import conditions
from tachograph.store.conditions import Day, Field, Sql, Term

T = TypeVar("T")

MAX_DEPTH = 50
MAX_CONDITIONS = 400
MAX_VALUES = 30_000
MAX_PATTERN = 10_000

TABLES = {"metrics": "metric", "params": "param", "tags": "tag"}
RUN_FIELDS = ("id", "name", "experiment", "status", "parent", "started", "ended")
VERSION_FIELDS = ("name", "version", "stage", "approval", "run", "by", "registered")
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


def where(text: str | None, own: tuple[str, ...] = RUN_FIELDS) -> Sql:
    """``text`` as a condition on the columns of a table ``record``, never NULL. ``own`` are the fields that have no
    prefix. Raises ``QueryError``."""
    parser = _Parser("where", text, own)
    return parser.only(parser.any_of) if parser.is_there else Sql("TRUE", [])


def order_by(text: str | None, own: tuple[str, ...] = RUN_FIELDS) -> list[Term]:
    """``text`` as the first terms of an ORDER BY. Raises ``QueryError``."""
    parser = _Parser("order_by", text, own)
    return parser.only(parser.terms) if parser.is_there else []


def check_condition(text: str, argument: str) -> None:
    """Raise ``QueryError`` where ``text`` is no condition on versions; an empty one is none. ``argument`` is what the
    error calls it."""
    parser = _Parser(argument, text, VERSION_FIELDS)
    if not parser.is_there:
        raise QueryError(f"{argument}: a condition must not be empty")
    parser.only(parser.any_of)


def fields(text: str, own: tuple[str, ...] = RUN_FIELDS) -> list[Field]:
    """The fields that a ``where`` names, each once. Raises ``QueryError``."""
    parser = _Parser("where", text, own)
    parser.only(parser.any_of)
    return list({(field.table, field.name): field for field in parser.fields}.values())


def _unexpected(character: str) -> str:
    """What an error says of a character at which nothing can begin."""
    if character == "'":
        return "text without its closing quote"
    if character == '"':
        return "a double quote, which is for names; text goes in single quotes,"
    return f"unexpected {character!r} (a name that has it goes in double quotes)"


class Lexeme(Struct):
    kind: str  # text, number, name, sign, end
    text: str
    at: int

    @property
    def word(self) -> str:
        """A keyword or a sign, in lower case; "" for anything else."""
        lower = self.text.lower()
        return lower if self.kind == "sign" or (self.kind == "name" and lower in KEYWORDS) else ""


class _Parser:
    """Recursive descent over the tokens. Each method reads what it is named for and returns it as SQL."""

    def __init__(self, argument: str, text: str | None, own: tuple[str, ...]) -> None:
        self.argument, self.text, self.own = argument, "" if text is None else text, own
        self.fields: list[Field] = []
        if not isinstance(self.text, str):
            raise QueryError(f"{argument} is text, not {type(text).__name__}: see help(tachograph.store.query)")
        if not self.text.isascii() and self.text.encode(errors="replace").decode() != self.text:
            raise QueryError(f"{argument} has characters that are no text: write it anew")
        self._tokens = list(self._tokenize())
        self._position = self._depth = self._conditions = self._values = 0
        self.is_there = bool(self.text.strip())

    # -- tokens --

    def _tokenize(self) -> list[Lexeme]:
        tokens, at = [], 0
        while at < len(self.text):
            match = _TOKEN.match(self.text, at)
            if match is None:
                raise self.error(_unexpected(self.text[at]), at)
            if match.lastgroup != "blank":
                tokens.append(Lexeme(str(match.lastgroup), match.group(), at))
            at = match.end()
        return [*tokens, Lexeme("end", "", len(self.text.rstrip()))]

    def error(self, what: str, at: int) -> QueryError:
        """One line that points at the spot: ``where: expected a value at column 16: metrics.loss < >>> and``."""
        shown = self.text[max(0, at - 40) : at] + " >>> " + self.text[at : at + 40]
        spot = f"column {at + 1}" if at < len(self.text.rstrip()) else "the end"
        return QueryError(f"{self.argument}: {what} at {spot}: {' '.join(shown.split())}")

    @property
    def _next(self) -> Lexeme:
        return self._tokens[self._position]

    def _take(self) -> Lexeme:
        token = self._next
        self._position += token.kind != "end"
        return token

    def _took(self, word: str) -> bool:
        is_next = self._next.word == word
        self._position += is_next
        return is_next

    def _expect(self, word: str) -> None:
        if not self._took(word):
            raise self.error(f"expected {word!r}", self._next.at)

    def only(self, rule: Callable[[], T]) -> T:
        result = rule()
        if self._next.kind != "end":
            more = "',' or nothing more" if rule == self.terms else "'and', 'or' or nothing more"
            raise self.error(f"expected {more}", self._next.at)
        return result

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
        return Sql(f"({joined})", [value for part in parts for value in part.values])

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
            condition = Sql(f"(NOT {text})", values)
        else:
            condition = self.any_of()
            self._expect(")")
        self._depth -= 1
        return condition

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
            return conditions.presence(field, negated)
        negated = token.word == "not"
        verb = self._take() if negated else token
        if verb.word == "in":
            return conditions.membership(field, self._list(field), negated)
        if verb.word == "like":
            return self._like(field, negated)
        raise self.error("expected one of = != < <= > >= in like is", verb.at)

    def _field(self) -> Field:
        field = self._named()
        self.fields.append(field)
        return field

    def _named(self) -> Field:
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
        if token.text.lower() not in self.own:
            fields = ", ".join(self.own)
            raise self.error(f"unknown field {token.text!r} (metrics.…, params.…, tags.…, {fields})", token.at)
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
            time = datetime.fromisoformat(text)
            start = (time if time.tzinfo else time.replace(tzinfo=UTC)).timestamp()
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
        return conditions.on(field, conditions.comparison(field, operator, value))

    def _like(self, field: Field, negated: bool) -> Sql:
        token = self._take()
        if token.kind != "text" or field.is_time:
            raise self.error("expected a pattern, and before like a field that is text", token.at)
        pattern = token.text[1:-1].replace("''", "'")
        if len(pattern) > MAX_PATTERN:
            raise self.error(f"a pattern of more than {MAX_PATTERN} characters", token.at)
        column = field.columns.get("text")
        like = Sql(f"{column} {'NOT ' * negated}LIKE ?", [pattern]) if column else conditions.NEVER
        return conditions.on(field, like)

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
        return conditions.terms(field, descending)
