"""The numbers of versions, by the rules of https://semver.org (2.0.0)."""

from __future__ import annotations

import re
from collections.abc import Iterable
from contextlib import suppress

from semver import Version as Number

from tachograph.printable import quoted

BUMPS = ("major", "minor", "patch", "prerelease")
FIRST = "1.0.0"
_LONGEST = 100
_LIKE_ONE = re.compile(r"v?\d+(\.\d+)*([-+].*)?")


def parse(text: object) -> Number:
    """A version's number. Raises ValueError for what is none."""
    if isinstance(text, str) and len(text) <= _LONGEST:
        with suppress(ValueError):
            return Number.parse(text)
    raise ValueError(f"a version is like 1.2.3 or 2.0.0-rc.1 (see https://semver.org), not {quoted(text)}")


def is_like_one(text: str) -> bool:
    """Whether people would take it for a version's number, though it may not be a valid one."""
    return bool(_LIKE_ONE.fullmatch(text))


def following(taken: Iterable[str], bump: str) -> str:
    """The number after the highest one of those that are taken; the first one is 1.0.0.

    After ``2.0.0-rc.1`` that is ``2.0.0`` for a ``bump`` of "minor", and ``2.0.0-rc.2`` for "prerelease". Raises
    ValueError for an unknown ``bump``.
    """
    if bump not in BUMPS:
        raise ValueError(f"bump is one of {', '.join(BUMPS)}, not {bump!r}")
    numbers = [parse(each) for each in taken]
    if not numbers:
        return FIRST if bump != "prerelease" else f"{FIRST}-rc.1"
    return str(max(numbers).next_version(bump))


def rank(number: str) -> str:
    """What tells a version from others: its number without what follows a ``+``. Raises ValueError for no number."""
    parse(number)
    return number.partition("+")[0]


def latest(numbers: Iterable[str]) -> str | None:
    """The highest one, a release where there is one."""
    parsed = [parse(each) for each in numbers]
    best = max([each for each in parsed if each.prerelease is None] or parsed, default=None)
    return None if best is None else str(best)
