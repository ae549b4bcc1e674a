"""How a bucket holds a store: the tree of a folder, but for the segments, since no object can be added to.

    runs/<run id>/<writer>/<first>-<last>.jsonl.gz    a segment: all that its writer recorded from number <first> up to
                                                      <last>, an event on each line; numbers have 20 digits
    blobs/<aa>/<digest>                               files, content-addressed
    removed/<run id>/<at>.json                        the run was removed, at so many microseconds since 1970
    doomed/<digest>, doomed/.collecting               see :mod:`tachograph.bucket.blobs`

A segment is created, never changed. Several senders of one writer may have made segments that overlap: where their
numbers are the same, so are their events, and readers take each number once. A number that is missing in a segment was
never recorded. So the names of a writer's segments say how much of it the bucket has.

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
_TOMBSTONE = re.compile(rf"{REMOVED}/{_NAME}/(\d{{1,20}})\.json", re.ASCII)
_DIGEST = re.compile(r"sha256:([0-9a-f]{64})")


class Segment(NamedTuple):
    """What the path of a segment says. ``last`` is 0 where only its content says it: it was copied from a folder."""

    run: str
    writer: str
    first: int
    last: int
    is_packed: bool = True


def run_folder(run: str) -> str:
    """The folder of a run's segments."""
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
    parsed = Segment(run, writer, int(first), int(last or 0), bool(packed))
    return parsed if 0 < parsed.first <= (parsed.last or parsed.first) <= MAX_INT else None


def tombstones_folder(run: str) -> str:
    """The folder of a run's tombstones."""
    return f"{REMOVED}/{_plain(run)}"


def tombstone_path(run: str, at: float) -> str:
    """The path of the tombstone of a run that was removed at ``at``, in seconds since 1970."""
    return f"{tombstones_folder(run)}/{round(at * 1e6):020}.json"


def tombstone(path: str) -> tuple[str, float] | None:
    """The run of the tombstone with this path, and when it was removed; None for another object."""
    match = _TOMBSTONE.fullmatch(path)
    return None if match is None else (match[1], int(match[2]) / 1e6)


def blob_path(digest: str) -> str:
    """The path of the file with the digest ``sha256:...``. Raises ValueError for what is no digest."""
    match = _DIGEST.fullmatch(digest)
    if match is None:
        raise ValueError(f"{digest!r} is no digest")
    return f"{BLOBS}/{match[1][:2]}/{match[1]}"


def complete(segments: Iterable[Segment]) -> dict[str, int]:
    """For each writer the number up to which its segments have all events. Writers without their first are left out."""
    ends: dict[str, int] = {}
    for segment in sorted(segments, key=lambda segment: (segment.first, segment.last)):
        end = ends.get(segment.writer, 0)
        if segment.first <= end + 1:
            ends[segment.writer] = max(end, segment.last)
    return {writer: end for writer, end in ends.items() if end}


def _plain(name: str) -> str:
    """``name``, which can be a part of a path. Raises ValueError for one that can't."""
    if name in ("", ".", "..") or re.search(r"[/\\\0]", name):
        raise ValueError(f"{name!r} can't be a part of a path")
    return name
