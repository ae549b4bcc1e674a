"""Nothing that looks like a secret is recorded: names, values, addresses and texts are cleaned here first.

Two things give a secret away: the *name* it is bound to (``--api-key``, ``DB_PASSWORD=``) and its own *shape*
(``ghp_...``, a JSON web token, ``https://user:password@host``). In doubt a value is redacted, except where machine
learning uses the same words for harmless things: ``max_tokens``, ``pad_token``, ``sort_key``, ``token_count``.

All patterns take linear time: no quantifier gives back what a neighbour could take as well.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import cache, partial
from typing import Any, NamedTuple

from tachograph.literals import ABOUT, bound_literals
from tachograph.suspicion import Suspicion, is_harmless, is_personal, suspicion_of

REDACTED = "[redacted]"
_PRIVATE_SHAPE = re.compile(
    r"(?<![\w.+-])[\w.+-]++@[\w-]{1,64}\.\w"  # an e-mail address
    r"|\b[A-Z]{2}\d{2}(?:[ ]?[A-Z0-9]{4}){3,7}[ ]?[A-Z0-9]{0,4}\b"  # an IBAN
    r"|\b\d{3}-\d{2}-\d{4}\b|\b(?:\d{4}[ -]){3}\d{4}\b|\b\d{16}\b|\+\d[\d ()/-]{7,20}\d"  # numbers of persons
)


def is_secret_name(name: str) -> bool:
    """Whether what is bound to ``name`` is likely a secret. Case, ``-``, ``_``, ``.`` and camelCase don't matter."""
    return suspicion_of(name) > Suspicion.FAINT


def is_private_name(name: str) -> bool:
    """Whether values under ``name`` belong to nobody but the person they are of: a secret, an address, a birthday."""
    return is_secret_name(name) or is_personal(name)


def is_private_text(text: str) -> bool:
    """Whether ``text`` has the shape of a secret, an e-mail address or the number of an account, a card, a phone."""
    return _PRIVATE_SHAPE.search(text) is not None or redact_text(text) != text


def redact_text(text: str, *, code: bool = False) -> str:
    """``text`` with every secret in it replaced by ``[redacted]``; some microseconds for an ordinary line.

    ``code`` says that ``text`` is source code, where only literals can be secrets: ``token = tokenizer.decode(ids)``
    then stays as it is.
    """
    lowered = text.lower()
    for rule in _CODE_RULES if code else _TEXT_RULES:
        for hint in rule.hints:
            if hint in lowered:
                text = rule.redact(text)
                break
    return text


def prepare() -> None:
    """Compile all patterns, some milliseconds of work, so that the first text does not wait for that."""
    for compiled in _patterns:
        compiled()


def redact_argv(argv: Sequence[str]) -> list[str]:
    """A command line without secrets: ``--api-key=x``, ``--password x``, ``TOKEN=x``, as in :func:`redact_text`."""
    redacted = []
    flag = ""  # the option whose value the next argument is
    for argument in argv:
        if flag and not _OPTION.fullmatch(argument):
            redacted.append(_bound(flag, argument))
            flag = ""
            continue
        name, equals, value = argument.partition("=")
        flag = name if name.startswith("-") and not equals else ""
        is_binding = equals and _NAME.fullmatch(name)
        redacted.append(f"{name}={_bound(name, value)}" if is_binding else redact_text(argument))
    return redacted


def redact_url(url: str) -> str:
    """``url`` without user and password, and without the secret parameters of its query and fragment.

    ``https://user:password@host/x`` becomes ``https://host/x``; ``git@host:path`` names no secret and stays.
    """
    for rule in _URL_RULES:
        url = rule.redact(url)
    return url


def redact_mapping(mapping: Mapping[Any, Any]) -> dict[Any, Any]:
    """A copy of ``mapping`` without its secrets, judged by key and by shape, nested mappings and lists included."""
    return {key: _value(value, suspicion_of(str(key))) for key, value in mapping.items()}


def redact_value(name: str, value: Any) -> Any:
    """``value``, whose own text is clean already, as far as it may be shown under ``name``."""
    suspicion = suspicion_of(name)
    return value if suspicion is Suspicion.NONE else _value(value, suspicion)


def _bound(name: str, value: str) -> str:
    """The text ``value``, as far as it may be shown under ``name``."""
    return redact_text(value) if is_harmless(value, suspicion_of(name)) else REDACTED


def _value(value: Any, suspicion: Suspicion) -> Any:
    """``value`` as far as it may be shown under a name of such suspicion."""
    if isinstance(value, str):
        return redact_text(value) if is_harmless(value, suspicion) else REDACTED
    if isinstance(value, Mapping):
        return {key: _value(item, max(suspicion, suspicion_of(str(key)))) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_value(item, suspicion) for item in value]
    if value is None or isinstance(value, bool) or suspicion is not Suspicion.STRONG:
        return value
    return REDACTED


# ---- texts -----------------------------------------------------------------------------------------------------------

_OPTION = re.compile(r"--[A-Za-z][\w.-]*(?:=.*)?|-[A-Za-z]", re.DOTALL)
_NAME = re.compile(r"[\w.+/-]+")
_QUERY_NAMES = frozenset({"key", "sig", "signature", "x-amz-signature", "x-goog-signature", "awsaccesskeyid"})

# How secrets of well-known issuers begin, and how they go on.
_SHAPES = {
    "AKIA": r"[0-9A-Z]{16}",  # Amazon
    "ASIA": r"[0-9A-Z]{16}",
    "ghp_": r"\w{20,255}+",  # GitHub
    "gho_": r"\w{20,255}+",
    "ghu_": r"\w{20,255}+",
    "ghs_": r"\w{20,255}+",
    "ghr_": r"\w{20,255}+",
    "github_pat_": r"\w{20,255}+",
    "glpat-": r"[\w-]{16,255}+",  # GitLab
    "hf_": r"[A-Za-z0-9]{20,255}+",  # Hugging Face
    "sk-": r"(?=[A-Za-z_-]{0,60}[0-9])[\w-]{16,255}+",  # OpenAI, Anthropic; the digit tells it from sk-learn-contrib
    "nvapi-": r"[\w-]{20,255}+",  # NVIDIA
    "dapi": r"[0-9a-f]{32}",  # Databricks
    "npm_": r"[A-Za-z0-9]{30,255}+",
    "pypi-": r"[\w-]{30,}+",
    "xoxa-": r"[\w-]{10,255}+",  # Slack
    "xoxb-": r"[\w-]{10,255}+",
    "xoxp-": r"[\w-]{10,255}+",
    "xoxr-": r"[\w-]{10,255}+",
    "xoxs-": r"[\w-]{10,255}+",
    "xapp-": r"[\w-]{10,255}+",
    "sk_live_": r"\w{16,255}+",  # Stripe
    "sk_test_": r"\w{16,255}+",
    "rk_live_": r"\w{16,255}+",
    "rk_test_": r"\w{16,255}+",
    "whsec_": r"\w{16,255}+",
    "SG.": r"[\w-]{16,32}+\.[\w-]{30,64}+",  # SendGrid
    "hvs.": r"[\w-]{20,255}+",  # Vault
    "dckr_pat_": r"[\w-]{20,255}+",  # Docker
    "gsk_": r"\w{30,255}+",  # Groq
    "xai-": r"\w{30,255}+",
    "r8_": r"\w{30,255}+",  # Replicate
    "lsv2_": r"\w{30,255}+",  # LangSmith
    "dop_v1_": r"[0-9a-f]{30,255}+",  # DigitalOcean
    "AIza": r"[\w-]{35}",  # Google
    "ya29.": r"[\w-]{20,}+",
    "eyJ": r"[\w-]{5,}+\.[\w-]{5,}+(?:\.[\w-]*+)?",  # a JSON web token
}

# name = value, as in a shell, Python, YAML or JSON (also within a string, with its quotes escaped), and --name value.
_NAME_AND_SIGN = re.compile(
    r"""
    (?<![\w.-]) (?P<dash> --? (?=[A-Za-z]) )? (?P<name> [\w.-]++ )
    (?: [\\"'\]]{0,4}
        (?: :[ ]?(?:str|bytes|Optional\[str\]|SecretStr|Final)(?:[ ]\|[ ]None)?[ \t]{0,3}=  # an annotation between
          | [ \t]{0,40}+ (?: => | [:=]{1,2} ) )
        [ \t]{0,3}
        (?: [\[(]{1,2} (?=["']) )?
      | (?(dash) [ \t]{1,3} (?!-) | (?!) )
    )
    """,
    re.VERBOSE,
)
_LITERAL = r"""
    (?P<escaped> \\{1,3}["'] ) [^"'\\\n]*+
    | (?P<double> [bBrRfFuU]{0,2}" ) (?: [^"\\\n] | \\. )*+
    | (?P<single> [bBrRfFuU]{0,2}' ) (?: [^'\\\n] | \\. )*+
"""
_VALUE_IN_CODE = re.compile(_LITERAL, re.VERBOSE)
_TO_BE_FILLED_IN = r"""| \$\{[^{}\n]*+\}(?![^\s,;)\]]) | \{\{[^{}\n]*+\}\} | <[^<>\n]*+>"""
_VALUE = re.compile(_LITERAL + _TO_BE_FILLED_IN + r"""| [^\s"']++""", re.VERBOSE)


_LOOKED_AT = 500  # characters of a bare value
_PREFIX = 4  # characters before and with the first quote of a literal


def _redact_bindings(text: str, value_pattern: re.Pattern[str] = _VALUE) -> str:
    # A loop and not one pattern: what follows a harmless name is searched, too (``note: password=x``).
    parts = []
    done = at = 0
    while head := _NAME_AND_SIGN.search(text, at):
        at = head.end()
        suspicion = suspicion_of(head["name"])
        value = _value_at(text, at, value_pattern, suspicion) if suspicion is not Suspicion.NONE else None
        if value and (bound := _bound_value(value, suspicion)) != value[0]:
            parts += [text[done:at], bound]
            done = at = value.end()
    return "".join([*parts, text[done:]])


def _value_at(text: str, at: int, pattern: re.Pattern[str], suspicion: Suspicion) -> re.Match[str] | None:
    """The value that begins there. Of a long bare one the beginning is looked at first, and all of it only where that
    tells of a secret: else a line with many names in it would take time that grows with the square of its length."""
    near = pattern.match(text, at, at + _LOOKED_AT)
    is_quoted = any(quote in text[at : at + _PREFIX] for quote in "\"'`")
    is_long = near is not None and near.end() == at + _LOOKED_AT
    if is_quoted or (near is not None and is_long and not is_harmless(near[0], suspicion)):
        return pattern.match(text, at)
    return near


def _bound_value(match: re.Match[str], suspicion: Suspicion) -> str:
    quote = match["escaped"] or match["double"] or match["single"] or ""
    value = match[0][len(quote) :]
    core = value if quote else value.rstrip(")]},;")  # what closes around a bare value isn't part of it
    is_closing = quote and value[:1] in {",", ")"} and not match.string.startswith(quote[-1], match.end())
    is_done = value.lstrip("[").startswith(REDACTED[1:])
    if is_closing or is_done or is_harmless(core, suspicion) or is_harmless(value, suspicion):
        return match[0]
    return quote + REDACTED + value[len(core) :]


def secret_spans(text: str, *, code: bool = False) -> list[tuple[int, int]]:
    """Where ``text`` has secrets whose names stand elsewhere in it, lines before, say: their spans, in order."""
    bound = [(item.start, item.end, Suspicion(item.degree)) for item in bound_literals(text, suspicion_of)]
    if not code:
        bound += _block_values(text)
    return sorted((start, end) for start, end, suspicion in bound if not is_harmless(text[start:end], suspicion))


_BLOCK_HEAD = re.compile(
    r"""([ \t]*+(?:-[ ])?)["']?([\w.-]++)["']?[ \t]*+:[ \t]*+(?:([|>])[-+\d]{0,2}[ \t]*+)?(?:\#.*)?"""
)
_BLOCK_ITEM = re.compile(
    r"""[ \t]*+(?:-[ ]++)?(?:["']?(?P<key>[\w.-]++)["']?[ ]?:[ ]++)?["']?(?P<value>[^\s"'].*?)["']?\s*"""
)
_LISTED = re.compile(
    r"""[ \t+-]*+["']?(?P<name>[\w.-]++)["']?[ \t]*+:[ \t]*+\[(?!redacted\])(?P<items>[^\[\]{}]*+)\][ \t]*+(?:\#.*)?"""
)
_LISTED_ITEM = re.compile(r"""[^\s"',](?:[^"',]*[^\s"',])?""")


def _block_values(text: str) -> Iterator[tuple[int, int, Suspicion]]:
    """What a YAML document binds to a secret name: a block of text, a list, a mapping."""
    suspicion, head_indent, is_text, start = Suspicion.NONE, 0, False, 0
    for line in text.split("\n"):
        for first, last, degree in _listed_values(line):
            yield start + first, start + last, degree
        indent = len(line) - len(line.lstrip())
        is_within = indent > head_indent or (indent == head_indent and line.lstrip().startswith("- "))
        if suspicion and is_within:
            if (item := _BLOCK_ITEM.fullmatch(line)) and (is_text or _is_value(item["key"], suspicion)):
                yield start + (indent if is_text else item.start("value")), start + item.end("value"), suspicion
        elif line.strip():
            head = _BLOCK_HEAD.fullmatch(line)
            suspicion = suspicion_of(head[2]) if head else Suspicion.NONE
            if head:
                head_indent, is_text = len(head[1]), head[3] is not None
        start += len(line) + 1


def _listed_values(line: str) -> Iterator[tuple[int, int, Suspicion]]:
    listed = _LISTED.fullmatch(line)
    suspicion = suspicion_of(listed["name"]) if listed else Suspicion.NONE
    if listed and suspicion:
        for item in _LISTED_ITEM.finditer(line, *listed.span("items")):
            yield item.start(), item.end(), suspicion


def _is_value(key: str | None, suspicion: Suspicion) -> bool:
    """Whether what stands under ``key`` below something so suspicious is a secret."""
    if key is None or key in {"value", "default", "key"}:
        return True
    return suspicion is Suspicion.STRONG and key.lower() not in ABOUT


def redact_spans(text: str, spans: Iterable[tuple[int, int]]) -> str:
    """``text`` with ``[redacted]`` in place of each of ``spans``, which are in order and may overlap."""
    parts, done = [], 0
    for start, end in spans:
        if start >= done:
            parts += [text[done:start], REDACTED]
        done = max(done, end)
    return "".join([*parts, text[done:]])


def _redact_from_afar(text: str, *, code: bool) -> str:
    return redact_spans(text, secret_spans(text, code=code))


def _redact_parameter(match: re.Match[str]) -> str:
    if match["name"].lower() not in _QUERY_NAMES and is_harmless(match["value"], suspicion_of(match["name"])):
        return match[0]
    return match[0][: -len(match["value"])] + REDACTED


def _redact_named(match: re.Match[str]) -> str:
    if is_harmless(match["value"], suspicion_of(match["name"])):
        return match[0]
    return match[0][: -len(match["value"])] + REDACTED


class _Rule(NamedTuple):
    """One kind of secret. ``redact`` is only called for a text that holds, in lower case, one of the hints."""

    hints: Iterable[str]
    redact: Callable[[str], str]


_patterns: list[Callable[[], re.Pattern[str]]] = []


def _rule(hints: Iterable[str], pattern: str, replace: str | Callable[[re.Match[str]], str]) -> _Rule:
    @cache
    def compiled() -> re.Pattern[str]:  # with the first text that has a hint, unless :func:`prepare` came before
        return re.compile(pattern, re.VERBOSE | re.MULTILINE)

    _patterns.append(compiled)
    return _Rule(hints, lambda text: compiled().sub(replace, text))


_NAME_HINTS = ("pass", "pw", "login", "secret", "token", "key", "cred", "auth", "cookie", "jwt", "sessionid")
_PRIVATE_KEY = _rule(
    ("-----begin",),
    r"""-----BEGIN[ ][A-Z ]{0,40}PRIVATE[ ]KEY(?:[ ]BLOCK)?-----
        (?s:.*?) (?: -----END[ ][A-Z ]{0,40}PRIVATE[ ]KEY(?:[ ]BLOCK)?----- | \Z )""",
    REDACTED,
)
_USER_IN_URL = _rule(("://",), r"""://(?!git@)[^\s/?\#"'<>]{1,4096}@""", "://")
_URL_PARAMETER = _rule(("://",), r"""[?&\#;](?P<name>[\w.%-]{1,100}+)=(?P<value>[^\s&\#;"'<>]++)""", _redact_parameter)
_SHAPE = _rule(
    tuple(start.lower() for start in _SHAPES),
    r"(?<![\w-])(?:" + "|".join(re.escape(start) + rest for start, rest in _SHAPES.items()) + ")",
    REDACTED,
)
_BEARER = _rule(("bearer",), r"""\b([Bb]earer[ ]{1,3})(?!\[redacted\])[^\s"',;(){}<$%]{3,}+""", rf"\g<1>{REDACTED}")
_HEADER = _rule(
    ("authorization", "cookie"),
    r"""((?i:authorization|cookie)["']?[ ]?:[ ]?["']?)[^\r\n"']{3,}+""",
    rf"\g<1>{REDACTED}",
)
_HEXADECIMAL = _rule(  # 40 hexadecimal digits are a commit, too: only next to a word that says otherwise
    ("key", "token", "password", "secret", "login", "wandb"),
    r"""((?i:key|token|password|secret|login|wandb)["']?[\s:=]{1,4}(?:is[\s:]{1,3})?["']?)[0-9a-f]{40}\b""",
    rf"\g<1>{REDACTED}",
)

_NETRC = _rule(
    ("password",),
    r"""(\b(?:machine|login|account)[ \t]+\S+[\s+-]{1,40}password[ \t]{1,40})(?!\[redacted\])\S++""",
    rf"\g<1>{REDACTED}",
)

_WEBHOOK = _rule(
    ("webhook", "hooks."),
    r"""(hooks\.slack\.com/services/|discord(?:app)?\.com/api/webhooks/|webhook\.office\.com/)(?!\[redacted\])[^\s"'<>]++""",
    rf"\g<1>{REDACTED}",
)
_BOT = _rule((":aa",), r"(?<![0-9])[0-9]{8,10}:AA[\w-]{30,}+", REDACTED)  # Telegram
_AFTER_AN_ID = _rule(  # Amazon's second half has no shape of its own
    ("akia", "asia"),
    r"""(\b(?:AKIA|ASIA)[0-9A-Z]{16}["']?[ ]?[,:\s][ ]?["']?)[A-Za-z0-9/+]{30,}+""",
    rf"\g<1>{REDACTED}",
)
_NAME_AND_VALUE = _rule(  # as Kubernetes and Docker list the variables of an environment
    ("value",),
    r"""\bname["']?[ ]?:[ ]{0,3}["']?(?P<name>[\w.-]{1,100}+)["']?,?\s{1,40}["']?value["']?[ ]?:[ ]{0,3}["']?
        (?P<value>(?!\[redacted\])[^\s"',}]++)""",
    _redact_named,
)
_SET_VARIABLE = _rule(
    ("env", "set"),
    r"""\b(?:ENV|setenv|set[ ]-g?x|%(?:set_)?env)[ ]{1,3}(?P<name>\w{1,100}+)[ ]{1,3}(?P<value>(?!\[redacted\])\S++)""",
    _redact_named,
)
_COMMAND = _rule(
    ("curl", "login", "upload", "sshpass", "mysql"),
    r"""(\b(?: (?:curl|wget)\b[^\n|;&]{0,200}?[ ](?:-u|--user)[ =]["']?[^\s:"']{1,100}+:(?!//)
          | (?:(?:docker|podman|az)[ ]login|twine[ ]upload|sshpass)\b[^\n|;&]{0,200}?[ ]-p[ ]?
          | mysql\w{0,10}+(?=[ ])[^\n|;&]{0,200}?[ ]-p(?=\S)
          | wandb["',]{0,3}[ ]["']?login["',]{0,3}[ ]["']?(?=[\w-]{16}) ))
        (?!\[redacted\])[^\s"']++""",
    rf"\g<1>{REDACTED}",
)
_ELEMENT = _rule(("</",), r"""<(?P<name>[\w.-]{1,100}+)>(?P<value>(?!\[redacted\])[^<>\s]++)(?=</)""", _redact_named)
_ROW = _rule(  # of a table: a heading may have such a name, what holds a digit is none
    _NAME_HINTS,
    r"""[|│┃][ ]{0,40}+(?P<name>[\w.-]{1,100}+)[ ]{0,40}+[|│┃][ ]{0,9}+
        (?P<value>(?=[^\s\d|│┃]{0,200}\d)[^\s|│┃]{6,}+)""",
    _redact_named,
)
_MANIFEST = _rule(  # a secret of Kubernetes, perhaps in a difference
    ("kind: secret",),
    r"""^([+ -]?[ ]*+)(?:stringData|data):[ ]*+\n(?:\1[ ]{1,9}[\w.-]{1,100}+:[ ]++\S++(?:\n|\Z))++""",
    lambda part: re.sub(r"(:[ ]+)\S+$", rf"\g<1>{REDACTED}", part[0], flags=re.MULTILINE),
)
_PART_OF_LITERAL = re.compile(r"""(?<![^;\s"'])(?P<name>[\w.-]{1,100}+)=(?P<value>(?!\[redacted\])[^\s;"'&\\]++)""")
_IN_LITERALS = _rule(
    _NAME_HINTS,
    r""""(?:[^"\\\n]|\\.)*+"?|'(?:[^'\\\n]|\\.)*+'?""",
    lambda literal: _PART_OF_LITERAL.sub(_redact_named, literal[0]),
)
_IN_COMMENT = re.compile(
    r"""(?<![\w.-])(?P<name>[\w.-]{1,100}+)["'\]]{0,2}[ ]?[:=]{1,2}[ ]?(?P<value>(?=[^\s\d]{0,200}\d)[^\s"',;)]{8,}+)"""
)
_IN_COMMENTS = _rule(
    _NAME_HINTS, r"(?:^|(?<=\s))(?:\#|//)[ ][^\n]*+", lambda comment: _IN_COMMENT.sub(_redact_named, comment[0])
)

_URL_RULES = (_USER_IN_URL, _URL_PARAMETER, _WEBHOOK, _AFTER_AN_ID, _SHAPE)
_CODE_RULES = (
    *(_PRIVATE_KEY, *_URL_RULES, _BOT, _BEARER, _HEXADECIMAL),
    *(_NAME_AND_VALUE, _COMMAND, _ELEMENT, _MANIFEST, _IN_LITERALS, _IN_COMMENTS),
    _Rule(_NAME_HINTS, partial(_redact_from_afar, code=True)),
    _Rule(_NAME_HINTS, partial(_redact_bindings, value_pattern=_VALUE_IN_CODE)),
)
_TEXT_RULES = (
    *(_PRIVATE_KEY, *_URL_RULES, _BOT, _HEADER, _BEARER, _HEXADECIMAL, _NETRC),
    *(_NAME_AND_VALUE, _SET_VARIABLE, _COMMAND, _ELEMENT, _MANIFEST, _ROW),
    _Rule(_NAME_HINTS, partial(_redact_from_afar, code=False)),
    _Rule(_NAME_HINTS, _redact_bindings),
)
