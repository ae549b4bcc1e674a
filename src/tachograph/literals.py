"""Finds the literals of a source text that are bound to certain names: a tolerant scanner, not a parser.

It knows strings (with triple quotes, side by side, added up), names, brackets, commas and ends of lines, which is
what Python, JSON, JavaScript and most settings have in common; a text may begin or end anywhere, as a difference
does. A name binds the literals up to the comma or the end of the line, into brackets, but not into calls. Each token
is looked at once.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import NamedTuple

Judge = Callable[[str], int]
"""Says of a name how surely what is bound to it is looked for; 0 for not at all."""
LIKELY, SURE = 2, 3


class Literal(NamedTuple):
    """The inside of a string that is bound to a name that is looked for."""

    start: int
    end: int
    degree: int  # as the judge said


def bound_literals(text: str, judge: Judge) -> Iterator[Literal]:
    """The literals in ``text`` that are bound to names of which ``judge`` says more than 0."""
    scan = _Scan(text, judge)
    for token in _TOKEN.finditer(text):
        if literal := scan.take(token):
            yield literal


_TOKEN = re.compile(
    r"""
    (?P<string> [bBrRfFuU]{0,2}
        (?: \"{3} (?P<long> (?: [^"\\] | \\. | "(?!"") )*+ ) (?: \"{3} )?
          | '{3} (?P<lengthy> (?: [^'\\] | \\. | '(?!'') )*+ ) (?: '{3} )?
          | " (?P<double> (?: [^"\\\n] | \\. )*+ ) "?
          | ' (?P<single> (?: [^'\\\n] | \\. )*+ ) '?
          | ` (?P<back> [^`\n]*+ ) `? ) )
    | (?P<name> [^\W\d][\w.-]*+ )
    | (?P<open> [\[({] ) | (?P<close> [\])}] )
    | (?P<sign> => | [:=]{1,2} )
    | (?P<comma> [,;] )
    | (?P<more> \\\n | [+] )
    | (?P<newline> \n )
    | (?P<other> [^\s\w] )
    """,
    re.VERBOSE | re.DOTALL,
)
_CONTENTS = ("long", "lengthy", "double", "single", "back")
_KEY_FOLLOWS = re.compile(r"[ \t]{0,3}(?::(?!=)|=>)")
_TYPE = re.compile(r"(?:[\w.]*\.)?(?:str|bytes|string|None|[A-Z]\w*)")
# Of these calls the first string is a name, and what comes after it the value.
_PAIRING = frozenset({"get", "setdefault", "getenv", "pop", "setenv", "putenv", "getattr", "setattr", "DEFINE_string"})
# Of these any string may be the name, and the default is the value.
_DECLARING = frozenset({"add_argument", "option", "Option", "add_option"})
# Whoever writes a literal into these means what the call is bound to.
_WRAPPING = frozenset({"Field", "field", "SecretStr", "Secret", "str", "bytes", "dict", "list", "String"})
_CREDENTIAL = re.compile(r"[A-Z]\w*Credentials?")  # of Azure, Google ...
_DEFAULTS = frozenset({"default", "value", "const"})
# Names within something secret that are none themselves.
ABOUT = frozenset(
    {
        "user",
        "username",
        "name",
        "login",
        "email",
        "host",
        "hostname",
        "server",
        "port",
        "url",
        "type",
        "kind",
        "help",
        "description",
        "desc",
        "title",
        "metavar",
        "env",
        "env_var",
        "dest",
        "action",
        "alias",
        "label",
        "id",
        "created",
        "updated",
        "scope",
        "scopes",
        "region",
        "profile",
        "format",
    }
)


@dataclass(slots=True)
class _Frame:
    """The state of the scan between one pair of brackets."""

    inherited: int = 0  # the degree of what all of it is bound to
    bound: int = 0  # the degree of what the current item is bound to
    callee: str | None = None  # the last part of the name of what is called; None for a mere bracket
    argument: int = 0
    named: int = 0  # the degree of the name that stood among the arguments


class _Scan:
    def __init__(self, text: str, judge: Judge) -> None:
        self._text = text
        self._judge = judge
        self._frames = [_Frame()]
        self._pending = ""  # the name or key that a sign may follow
        self._last = "newline"  # the kind of the token before
        self._last_string = ""

    def take(self, token: re.Match[str]) -> Literal | None:
        kind = token.lastgroup or ""
        if kind not in _TAKING:
            kind = next(name for name in _TAKING if token[name] is not None)
        literal = _TAKING[kind](self, token)
        self._last = kind
        return literal

    def _string(self, token: re.Match[str]) -> Literal | None:
        group = next(group for group in _CONTENTS if token[group] is not None)
        content, frame = token[group], self._frames[-1]
        self._last_string = self._pending = content[:200]
        if _KEY_FOLLOWS.match(self._text, token.end()) and self._last in {"open", "comma", "newline"}:
            return None
        degree = frame.bound
        if frame.callee in _PAIRING and not frame.named:
            frame.named = self._judge(content)
        elif frame.callee in _DECLARING and not degree:
            frame.named = max(frame.named, self._judge(content.lstrip("-")))
        is_message = " " in content and frame.callee is not None and _CREDENTIAL.fullmatch(frame.callee)
        if not degree or not content or is_message:
            return None
        return Literal(*token.span(group), degree)

    def _name(self, token: re.Match[str]) -> None:
        self._pending = token["name"]

    def _open(self, token: re.Match[str]) -> None:
        outer, bracket = self._frames[-1], token["open"]
        is_applied = self._last in {"name", "close"} and bracket != "{" and self._is_adjacent(token)
        if not is_applied:
            self._frames.append(_Frame(outer.bound, outer.bound))
            return
        callee = self._pending.rpartition(".")[2] if bracket == "(" else ""
        is_about_secrets = callee == "login" or _CREDENTIAL.fullmatch(callee) is not None
        degree = outer.bound if callee in _WRAPPING else SURE if is_about_secrets else 0
        self._frames.append(_Frame(degree, degree, callee))

    def _is_adjacent(self, token: re.Match[str]) -> bool:
        return token.start() > 0 and not self._text[token.start() - 1].isspace()

    def _close(self, token: re.Match[str]) -> None:
        if len(self._frames) > 1:
            frame = self._frames.pop()
            if frame.callee is not None:
                self._pending = self._last_string if token["close"] == "]" and self._last == "string" else ""

    def _sign(self, token: re.Match[str]) -> None:
        frame = self._frames[-1]
        if token["sign"] == "=" and frame.bound and self._last in {"name", "close"} and _TYPE.fullmatch(self._pending):
            is_annotated = not self._judge(self._pending)
            if is_annotated and self._colon:
                return
        self._colon = token["sign"] == ":"
        frame.bound = self._degree(frame, token)
        self._pending = ""

    _colon = False

    def _degree(self, frame: _Frame, token: re.Match[str]) -> int:
        name = self._pending
        degree = self._judge(name) if name else 0
        if (
            name == "tokens"
            and self._last == "string"
            and self._text[token.end() : token.end() + 4].lstrip()[:1] == "["
        ):
            degree = LIKELY  # of a JSON file; in code, tokens are pieces of text
        if frame.callee is None:
            return degree if name.lower() in ABOUT else max(degree, frame.inherited)
        if frame.callee in _DECLARING | _PAIRING and name in _DEFAULTS:
            return max(degree, frame.named)
        if frame.callee == "login":
            return SURE if name == "key" else degree
        return max(degree, frame.inherited if name in _DEFAULTS else 0)

    def _comma(self, token: re.Match[str]) -> None:
        frame = self._frames[-1]
        frame.argument += 1
        frame.bound = frame.named if frame.callee in _PAIRING else frame.inherited
        self._pending = ""
        self._colon = False

    def _newline(self, token: re.Match[str]) -> None:
        following = self._text[token.end() : token.end() + 1]
        if len(self._frames) > 1 and (following.isalpha() or following == "_"):
            self._frames = [_Frame()]  # a statement begins: what is still open began in a part that isn't there
        elif len(self._frames) == 1 and (self._colon or self._last not in {"sign", "more"}):
            self._frames[0].bound = 0
        self._pending = ""

    def _nothing(self, token: re.Match[str]) -> None:
        """Tokens that mean nothing here."""


_TAKING: dict[str, Callable[[_Scan, re.Match[str]], Literal | None]] = {
    "string": _Scan._string,
    "name": _Scan._name,
    "open": _Scan._open,
    "close": _Scan._close,
    "sign": _Scan._sign,
    "comma": _Scan._comma,
    "more": _Scan._nothing,
    "newline": _Scan._newline,
    "other": _Scan._nothing,
}
