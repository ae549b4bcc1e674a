"""Which kept files are still needed: the one rule, for stores in a folder, in a bucket and in PostgreSQL.

A file is needed while its digest stands anywhere in a writer's journal, unless the same writer has released it since,
or anywhere in the registry. Events of kinds that this version doesn't know count, too: all of a line is searched.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from pathlib import Path

from tachograph import events, journal

_DIGEST = re.compile(rb"sha256:([0-9a-f]{64})")


def needed(journals: Iterable[Iterable[bytes]], registry: Iterable[bytes] = ()) -> set[str]:
    """The digests of the files that are still needed, without ``sha256:`` before them. ``journals`` has the lines of
    each writer in their order, ``registry`` the texts of the files in it."""
    digests: set[str] = set()
    for lines in journals:
        digests |= _of_writer(lines)
    for text in registry:
        digests |= _digests(text)
    return digests


def journal_lines(writer: Path) -> Iterator[bytes]:
    """The lines of the journal in a writer's folder."""
    for path in journal.segments(writer):
        with journal.opened(path) as file:
            yield from file


def _of_writer(lines: Iterable[bytes]) -> set[str]:
    digests: set[str] = set()
    for line in lines:
        in_line = _digests(line)
        if _is_release(line):
            digests -= in_line
        else:
            digests |= in_line
    return digests


def _digests(text: bytes) -> set[str]:
    return {match.decode() for match in _DIGEST.findall(text)}


def _is_release(line: bytes) -> bool:
    if b'"release"' not in line:
        return False
    try:
        return isinstance(events.decode(line), events.Release)
    except ValueError:
        return False
