"""The sink for a bucket: ``s3://bucket/prefix``, ``gs://bucket/prefix``, ``az://container/prefix``.

It holds a store as :mod:`tachograph.bucket.layout` describes it, which ``open_store`` opens by the same URL. Nothing is
ever replaced, so any number of jobs and senders write to one bucket without knowing of each other. A run that was
removed does not come back: its tombstones are looked for when sending begins. Each segment begins with the number
behind the last that is held, so that none is missing between two of them: one that was lost shows, and everything from
there on is sent again.

Each request costs money and time, and the bucket is none the safer for many: this asks for a lot at once, seldom.

Files of more than 8 MiB go in parts. A process that is killed leaves its parts behind, out of sight: let the bucket
have a rule that clears unfinished uploads away after some days.
"""

from __future__ import annotations

import gzip
import hashlib
import time
from bisect import bisect_right
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path

from tachograph.bucket import layout
from tachograph.bucket.blobs import FRESH_SECONDS, BucketFiles
from tachograph.bucket.objects import PIECE, Objects, piece_length
from tachograph.events import RunStart, decode, sequence_number
from tachograph.journal import tombstones
from tachograph.runtime import plain_files
from tachograph.sinks import Reject

SEGMENT_BYTES = 4 << 20  # of lines, before they are compressed


class CloudSink:
    """See :class:`tachograph.sinks.Sink`, :class:`tachograph.sinks.BlobSink` and :class:`tachograph.sinks.Costly`."""

    portion = SEGMENT_BYTES
    pause = 60.0

    def __init__(self, url: str) -> None:
        self._objects = Objects(url)
        self.name = self._objects.name
        self._shelves = BucketFiles(self._objects)
        self._held: dict[str, dict[str, int]] = {}
        self._removals: dict[str, tuple[float, float]] = {}  # when a run was removed, and when that was looked up
        self.on_progress: Callable[[int], None] = lambda size: None

    def resume(self, run: str) -> Mapping[str, int]:
        """How far each writer's events are held."""
        objects = self._objects.listed(layout.run_folder(run))
        held = layout.complete(segment for each in objects if (segment := layout.segment(each.path)))
        if time.monotonic() - self._removals.get(run, (0.0, -FRESH_SECONDS))[1] > FRESH_SECONDS:
            self._removals[run] = self._removed(run), time.monotonic()
        self._held[run] = dict(held)
        return held

    def _removed(self, run: str) -> float:
        """When a run was removed; 0.0 where it was not."""
        objects = self._objects.listed(layout.tombstones_folder(run))
        return max((tombstone[1] for each in objects if (tombstone := layout.tombstone(each.path))), default=0.0)

    def write(self, run: str, writer: str, lines: Sequence[bytes]) -> None:
        """Store lines of a writer as a segment, or several."""
        if run not in self._held:
            self.resume(run)
        if (removed_at := self._removals[run][0]) and self._began(run, writer, lines) <= removed_at:
            raise Reject(lines, self._tombstone(run, removed_at))
        positions = self._held.pop(run)  # looked up anew where this fails
        held = positions.get(writer, 0)
        for part in _parts(lines[bisect_right(lines, held, key=sequence_number) :]):
            last = sequence_number(part[-1])
            content = gzip.compress(b"\n".join(part) + b"\n", mtime=0)
            self._objects.create(layout.segment_path(run, writer, held + 1, last), content)
            held = last
        self._held[run] = {**positions, writer: held}

    def _began(self, run: str, writer: str, lines: Sequence[bytes]) -> float:
        """When a writer of a run that was removed began, if its first event is in ``lines`` or in the bucket; else
        0.0."""
        first = lines[0]
        if sequence_number(first) != 1:
            folder = f"{layout.run_folder(run)}/{writer}"
            path = next((each.path for each in self._objects.listed(folder)), "")
            segment = layout.segment(path)
            if segment is None or segment.first != 1:
                return 0.0
            content = self._objects.read(path)
            first = (gzip.decompress(content) if segment.is_packed else content).partition(b"\n")[0]
        event = decode(first)
        return event.at if isinstance(event, RunStart) else 0.0

    def _tombstone(self, run: str, at: float) -> str:
        """What the tombstone of that time says, in words."""
        return str(tombstones.read(self._objects.read(layout.tombstone_path(run, at))))

    def missing(self, digests: Sequence[str]) -> Sequence[str]:
        """Those of ``digests`` that the bucket lacks."""
        return self._shelves.missing(digests)

    def put(self, digest: str, path: Path) -> None:
        """Store a file; it is read once, piece by piece."""
        size = path.stat().st_size
        pieces = self._reported(_checked(path, digest, piece_length(size)))
        if size > PIECE:
            self._objects.put_pieces(layout.blob_path(digest), pieces, piece_length(size))
        else:
            self._objects.create(layout.blob_path(digest), b"".join(pieces))

    def _reported(self, pieces: Iterator[bytes]) -> Iterator[bytes]:
        """The same pieces; each is reported as sent when the next one is asked for."""
        for piece in pieces:
            yield piece
            self.on_progress(len(piece))

    def close(self) -> None:
        """Forget what is held."""
        self._held.clear()


def _parts(lines: Sequence[bytes]) -> Iterator[Sequence[bytes]]:
    """The lines, so many at a time as go into a segment; all together where they are not many more."""
    start = size = 0
    for index, line in enumerate(lines):
        if size > SEGMENT_BYTES + SEGMENT_BYTES // 2:
            yield lines[start:index]
            start, size = index, 0
        size += len(line) + 1
    if start < len(lines):
        yield lines[start:]


def _checked(path: Path, digest: str, length: int) -> Iterator[bytes]:
    """The content of a file in pieces of ``length`` bytes. Raises Reject behind the last for one of another digest."""
    sha = hashlib.sha256()
    with plain_files.opened(path) as file:
        while piece := file.read(length):
            sha.update(piece)
            yield piece
    if f"sha256:{sha.hexdigest()}" != digest:
        raise Reject([], f"the content of {path} is not what its digest says")
