"""How suspicious a name is: whether what is bound to it is likely a secret, and which values are none even so."""

from __future__ import annotations

import itertools
import re
from collections.abc import Sequence
from enum import IntEnum
from functools import lru_cache

from tachograph import literals


class Suspicion(IntEnum):
    """How surely a name belongs to a secret."""

    NONE = 0
    FAINT = 1  # pieces of text, as a rule: only what no text has in it is taken for a secret
    WEAK = literals.LIKELY  # numbers and code under such a name are harmless: ``token: 17``
    STRONG = literals.SURE


# ---- names -----------------------------------------------------------------------------------------------------------

_WORD = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+|[0-9]+")
_STRONG_WORD = re.compile(
    r"\w*(?:password|passwd|passphrase|passcode)s?|\w*secrets?|credentials?|creds|authorization|sessionid|jsessionid"
    r"|(?:api|access|auth|secret|private|session|refresh|bearer)(?:token|key)s?|ssn|iban|cvv"
)
# A key or a plural of "token" is a secret only after one of these.
_SECRET_KIND = frozenset({
    "access", "account", "admin", "anthropic", "api", "auth", "azure", "bearer", "client", "cohere", "comet",
    "consumer", "deploy", "encryption", "gcp", "gemini", "github", "gitlab", "google", "groq", "hf", "huggingface",
    "license", "master", "mistral", "neptune", "openai", "private", "refresh", "rsa", "secret", "security", "service",
    "session", "signing", "ssh", "storage", "subscription", "wandb",
})  # fmt: skip
# "token" at the end of a name is a secret, unless one of these says that it is a piece of text.
_TEXT_TOKEN = frozenset({
    "add", "answer", "audio", "begin", "blank", "block", "bos", "byte", "bytes", "class", "cls", "control", "cost",
    "cross", "dist", "distill", "distillation", "each", "eod", "end", "eos", "eot", "extra", "first", "flops",
    "frame", "global", "image", "img", "input", "last", "latent", "loss", "mask", "max", "mean", "memory", "min",
    "mode", "ms", "multi", "n", "new", "newline", "next", "no", "num", "number", "object", "output", "pad", "patch",
    "per", "placeholder", "pool", "prev", "previous", "prompt", "register", "s", "sample", "sec", "seconds",
    "sentinel", "sep", "single", "source", "space", "special", "speech", "split", "src", "start", "stop", "sub",
    "target", "text", "think", "time", "tgt", "unk", "unknown", "video", "vision", "visual", "vocab", "word",
})  # fmt: skip
_ACCOUNT = frozenset({
    "admin", "database", "db", "ftp", "http", "ldap", "login", "mail", "mongo", "my", "mysql", "pg", "postgres",
    "proxy", "redis", "root", "smtp", "ssh", "sudo", "user",
})  # fmt: skip
_HEADER_WITH_KEY = re.compile(
    r"x-(?:[\w-]{1,60}-)?(?:access|account|admin|app|client|functions|master)-key", re.IGNORECASE
)
_WEAK_LAST_WORDS = frozenset({"auth", "oauth", "jwt", "cookie", "cookies", "pwd", "pw"})
# A name that ends so says where a secret is or what it is about, not what it is.
_ABOUT_SECRETS = frozenset(
    {"name", "file", "path", "dir", "env", "var", "field", "column", "prefix", "length", "policy"}
)
# The end of the name of a column about persons, ``has_phone`` and ``email_count`` being none.
_PERSONAL = re.compile(
    r"\b(?:e ?mail|(?:tele)?phone|(?:mobile|card|passport|account|insurance|tax|national|social security)"
    r"(?: (?:number|no|nr|id))|(?:credit ?card)|ssn|iban|dob|birth ?day|birth ?date|date of birth|surname|street"
    r"|(?:first|last|full|family|middle|maiden|given|user|customer|patient|person|holder) ?name|(?:ip ?)?address)"
    r"(?: (?:number|no|nr|address|line|\d+))*$"
)
_ABOUT_PERSONAL = re.compile(r"(?:has|is|no?|num|number|count|same|valid|verified)\b")
_NAMES_OF_FOLDERS = frozenset({"PWD", "OLDPWD"})


@lru_cache(maxsize=4096)
def suspicion_of(name: str) -> Suspicion:
    """How surely what is bound to ``name`` is a secret. Case, ``-``, ``_``, ``.`` and camelCase don't matter."""
    words = _words(name)
    while words and (words[-1].isdigit() or words[-1] in {"value", "string"}):
        words.pop()
    if not words or name in _NAMES_OF_FOLDERS or words[-1] in _ABOUT_SECRETS:
        return Suspicion.NONE
    if any(map(_STRONG_WORD.fullmatch, words)) or _has_secret_key(words) or _HEADER_WITH_KEY.fullmatch(name):
        return Suspicion.STRONG
    if _ends_in_secret(words):
        return Suspicion.WEAK
    return Suspicion.FAINT if words == ["tokens"] else Suspicion.NONE


def is_personal(name: str) -> bool:
    """Whether ``name`` is that of a column about persons: an address, a phone number, a birthday."""
    words = " ".join(_words(name))
    return _PERSONAL.search(words) is not None and not _ABOUT_PERSONAL.match(words)


def _words(name: str) -> list[str]:
    return [word.lower() for word in _WORD.findall(name[:200])]


def _has_secret_key(words: Sequence[str]) -> bool:
    pairs = itertools.pairwise(words)
    return any(word in {"key", "keys", "tokens"} and kind in _SECRET_KIND for kind, word in pairs)


def _ends_in_secret(words: Sequence[str]) -> bool:
    last, before = words[-1], words[-2] if len(words) > 1 else ""
    if last == "token":
        return before not in _TEXT_TOKEN
    return last in _WEAK_LAST_WORDS or (last == "pass" and (not before or before in _ACCOUNT))


# ---- values ----------------------------------------------------------------------------------------------------------

_HARMLESS = re.compile(
    r"true|false|none|null|yes|no|on|off|[\W_]*|\[redacted\].*"
    r"|\$\{[^{}]*\}|\{[\w.]*\}|\$?\{\{[^{}]*\}\}|\$\([^()]*\)|<[^<>]*>|%\w+%|%s|%\(\w+\)s"  # to be filled in
    r"|x{3,}|your?[-_ ][\w -]*",
    re.IGNORECASE | re.DOTALL,
)
_SHELL_VARIABLE = re.compile(r"\$[A-Z_][A-Z0-9_]*")
_FIELD = re.compile(r"\$\{[^{}]*\}|\{[\w.()\[\]'\"-]*(?:![rsa])?\}")
_SCHEME = re.compile(r"(?:Bearer|Basic|token)?[\W_]*", re.IGNORECASE)
_HARMLESS_IF_WEAK = re.compile(
    r"[-+]?\d[\d.,_]*+(?:[eE][-+]?\d+)?(?:%|ms|us|s|k|M|/\d+)?"  # a number
    r"|[<\[{(].*"  # <pad>, [MASK], [1, 2
    r"|[A-Za-z_][\w.]*+\(.*",  # a call
    re.DOTALL,
)
# Letters and digits in one word that is no number with a unit.
_MADE_BY_A_MACHINE = re.compile(
    r"(?=\S{8})(?=\S{0,200}?[A-Za-z])(?=\S{0,200}?\d)(?![-+]?\d[\d.,_]*+[A-Za-z/]{0,9}+$)\S++"
)


def is_harmless(value: str, suspicion: Suspicion) -> bool:
    """Whether ``value`` is no secret although it is bound to a name of such suspicion."""
    if suspicion is Suspicion.NONE or _HARMLESS.fullmatch(value) or _SHELL_VARIABLE.fullmatch(value):
        return True
    if _SCHEME.fullmatch(_FIELD.sub("", value)):  # only what is filled in is secret
        return True
    if suspicion is Suspicion.FAINT and not _MADE_BY_A_MACHINE.fullmatch(value):
        return True
    return suspicion is not Suspicion.STRONG and _HARMLESS_IF_WEAK.fullmatch(value) is not None
