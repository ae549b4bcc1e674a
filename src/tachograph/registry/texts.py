"""The texts that people hand over with a decision, checked, without what looks like a secret."""

from __future__ import annotations

from collections.abc import Mapping

from tachograph.printable import decoded
from tachograph.redaction import redact_text


def text(what: str, value: object) -> str | None:
    """The text, if it is one, or None. Raises ValueError."""
    if value is not None and not isinstance(value, str):
        raise ValueError(f"{what} is text, not {type(value).__name__}")
    return None if value is None else redact_text(decoded(value))


def needed(what: str, value: object) -> str:
    """The text, if there is something in it. Raises ValueError."""
    there = text(what, value)
    if not there or not there.strip():
        raise ValueError(f"{what} must not be empty")
    return there


def tags(given: object) -> dict[str, str | None]:
    """Labels, of a mapping of names to text; None for one that is to go. Raises ValueError."""
    if given is None:
        return {}
    if not isinstance(given, Mapping):
        raise ValueError(f"tags are a mapping of names to text, not {type(given).__name__}")
    texts: dict[str, str | None] = {}
    for name, value in given.items():
        texts[needed("a tag's name", name)] = None if value is None else redact_text(decoded(str(value)))
    return texts
