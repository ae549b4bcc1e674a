"""How a bucket holds a store: the tree of a folder, but for the segments, since no object can be added to.

    runs/<run id>/<writer>/<first>-<last>.jsonl.gz    a segment: all that its writer recorded from number <first> up to
                                                      <last>, an event on each line; numbers have 20 digits
    blobs/<aa>/<digest>                               files, content-addressed
    removed/<run id>/<at>.json                        the run was removed, at so many microseconds since 1970
    doomed/<digest>, doomed/.collecting               see :mod:`tachograph.bucket.blobs`

A segment is created, never changed. Several senders of one writer may have made segments that overlap: where their
numbers are the same, so are their events, and readers take each number once. A number that is missing in a segment was
never recorded. So the segments of a writer, by their numbers, tell without a look inside how far it is held.

What was copied here from a folder, ``<first>.jsonl`` or ``<first>.jsonl.gz``, is read as well.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import NamedTuple

from tachograph.events import MAX_INT

RUNS, BLOBS, REMOVED = "runs", "blobs", "removed"
SUFFIX = ".jsonl.gz"
_NAME = r"([^/\\:\0.][^/\\:\0]*)"  # which is safe as a folder's, too
_SEGMENT = re.compile(rf"{RUNS}/{_NAME}/{_NAME}/(\d{{1,20}})(?:-(\d{{1,20}}))?\.jsonl(\.gz)?", re.ASCII)
_STONE = re.compile(rf"{REMOVED}/{_NAME}/(\d{{1,20}})\.json", re.ASCII)
_DIGEST = re.compile(r"sha256:([0-9a-f]{64})")


class Segment(NamedTuple):
    """A segment by its path. ``last`` is 0 where only its content tells: it was copied from a folder."""

    run: str
    writer: str
    first: int
    last: int
    is_packed: bool = True


def run_folder(run: str) -> str:
    """Where a run's segments lie."""
    return f"{RUNS}/{_plain(run)}"


def segment_path(run: str, writer: str, first: int, last: int) -> str:
    """The path of a segment."""
    return f"{run_folder(run)}/{_plain(writer)}/{first:020}-{last:020}{SUFFIX}"


def segment(path: str) -> Segment | None:
    """The segment of that path; None for another object."""
    match = _SEGMENT.fullmatch(path)
    if match is None:
        return None
    run, writer, first, last, packed = match.groups()
    found = Segment(run, writer, int(first), int(last or 0), bool(packed))
    return found if 0 < found.first <= (found.last or found.first) <= MAX_INT else None


def stones_folder(run: str) -> str:
    """Where it lies that a run was removed."""
    return f"{REMOVED}/{_plain(run)}"


def stone_path(run: str, at: float) -> str:
    """The path of a tombstone. ``at`` is in seconds since 1970."""
    return f"{stones_folder(run)}/{round(at * 1e6):020}.json"


def stone(path: str) -> tuple[str, float] | None:
    """The run of a tombstone's path, and when it was removed; None for another object."""
    match = _STONE.fullmatch(path)
    return None if match is None else (match[1], int(match[2]) / 1e6)


def blob_path(digest: str) -> str:
    """Where the file with the digest ``sha256:...`` lies. Raises ValueError for what is no digest."""
    match = _DIGEST.fullmatch(digest)
    if match is None:
        raise ValueError(f"{digest!r} is no digest")
    return f"{BLOBS}/{match[1][:2]}/{match[1]}"


def held(segments: Iterable[Segment]) -> dict[str, int]:
    """Up to which number each writer's segments hold all; nothing for one whose first events are missing."""
    ends: dict[str, int] = {}
    for one in sorted(segments, key=lambda one: (one.first, one.last)):
        end = ends.get(one.writer, 0)
        if one.first <= end + 1:
            ends[one.writer] = max(end, one.last)
    return {writer: end for writer, end in ends.items() if end}


def _plain(name: str) -> str:
    """``name`` as a part of a path."""
    if name in ("", ".", "..") or re.search(r"[/\\\0]", name):
        raise ValueError(f"{name!r} can't be a part of a path")
    return name
