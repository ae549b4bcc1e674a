"""Which files are needed: those whose digests stand anywhere in journals, in events of kinds to come, too; but not
those that the same writer has let go of since."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from pathlib import Path

from tachograph import events, journal

_DIGEST = re.compile(rb"sha256:([0-9a-f]{64})")


def referred(root: Path, writers: Iterable[Path]) -> set[str]:
    """The digests, without what stands before their digits, in these writers' journals and the registry in ``root``."""
    found: set[str] = set()
    for folder in writers:
        found |= held(line for path in journal.segments(folder) for line in _lines(path))
    for path in root.glob("registry/**/*.json"):
        found.update(digests(path.read_bytes()))
    return found


def held(lines: Iterable[bytes]) -> set[str]:
    """The digests in a writer's lines, but those that it has let go of since."""
    found: set[str] = set()
    for line in lines:
        own = digests(line)
        found = found - own if _is_release(line) else found | own
    return found


def digests(text: bytes) -> set[str]:
    """All digests in a text."""
    return {match.decode() for match in _DIGEST.findall(text)}


def _lines(path: Path) -> Iterator[bytes]:
    with journal.opened(path) as file:
        yield from file


def _is_release(line: bytes) -> bool:
    if b'"release"' not in line:
        return False
    try:
        return isinstance(events.decode(line), events.Release)
    except ValueError:
        return False
