"""What models, aliases and stages may be called, and what a model's folder is called."""

from __future__ import annotations

import re
from urllib.parse import quote, unquote

from tachograph.printable import quoted
from tachograph.registry import numbers

LATEST = "latest"  # stands for the newest version everywhere
STAGES = ("development", "staging", "production", "archived")
PROTECTING = "production"  # whose rules a version keeps to which a protected alias moves
SINGLE = (PROTECTING,)  # stages that have one version at a time
STATUSES = ("live", "failed", "retired")  # of a version in an environment
FIRST, LAST = STAGES[0], STAGES[-1]  # of a version that is new; of one that has made room for another

_LONGEST = 100
_GOOD = re.compile(r"[^\W_][\w .+-]*(?<! )")


def model(name: object) -> str:
    """The name, if a model can be called so. Raises ValueError."""
    return _checked("a model's name", name)


def alias(name: object) -> str:
    """The name, if an alias can be called so: not like a version, a stage or "latest". Raises ValueError."""
    text = _checked("an alias", name)
    if text.lower() in (*STAGES, LATEST) or numbers.is_like_one(text):
        raise ValueError(f"an alias is not called {text!r}, which means a version, a stage or the latest one already")
    return text


def environment(name: object) -> str:
    """The name, if an environment in which versions run can be called so. Raises ValueError."""
    return _checked("an environment", name)


def asking_environment(environment: str) -> str:
    """How an environment is named where rules say what asks: in the place of a stage, which has no such sign."""
    return f"environment:{environment}"


def stage(name: object) -> str:
    """The name, if there is such a stage. Raises ValueError."""
    if name not in STAGES:
        raise ValueError(f"there is no stage {quoted(name)}: the stages are {', '.join(STAGES)}")
    return str(name)


def folder(model: str) -> str:
    """The name of a model's folder."""
    return quote(model, safe=" +")


def of_folder(folder: str) -> str | None:
    """The model that a folder is of; None where it is none's."""
    name = unquote(folder, errors="replace")
    return name if is_good(name) and quote(name, safe=" +") == folder else None


def _checked(what: str, name: object) -> str:
    if not isinstance(name, str):
        raise ValueError(f"{what} is text, not {type(name).__name__}")
    if not is_good(name):
        raise ValueError(
            f"{what} has letters, digits and . _ - + or blanks between them, {_LONGEST} at most, and begins with a "
            f"letter or digit: not {quoted(name)}"
        )
    return name


def is_good(name: str) -> bool:
    """Whether a model or an alias can be called so."""
    return bool(_GOOD.fullmatch(name)) and len(quote(name)) <= 2 * _LONGEST and len(name) <= _LONGEST
