"""A writer's segments in a bucket, added to its journal in the mirror: each sequence number once, in growing files.

A file is written first, then what is known of it: what is behind the size that is known was written by a process that
was killed, and is cut off.
"""

from __future__ import annotations

import gzip
import io
import os
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

from tachograph import events, journal
from tachograph.bucket.mirror.listing import Listed
from tachograph.bucket.mirror.state import MirroredWriter
from tachograph.journal import changes

FILE_BYTES = 64 << 20  # from here on a new one is begun
PIECE = 1 << 20
END = b"\n" + events.beginning(events.RunEnd)


class Lost(Exception):
    """What was there of a writer is no longer there: somebody deleted it."""


def add(writer: MirroredWriter, folder: Path, listed: Listed, content: bytes) -> None:
    """Add what an object holds to the journal of ``writer`` in ``folder``, and note it. Raises :class:`Lost`."""
    segment = listed.segment
    if not writer.file or (writer.size >= FILE_BYTES and segment.first > writer.file):
        writer.file, writer.size = segment.first, 0
    folder.mkdir(parents=True, exist_ok=True)
    path = Path(journal.segment(folder, writer.file))
    pieces = _unpacked(content) if segment.is_packed else iter([content])
    with _opened(path, writer.size) as target:
        if segment.last and writer.is_new(segment.first, segment.last):
            _copy(writer, pieces, target)
        else:
            _copy(writer, (line + b"\n" for line in _lines(pieces) if _is_new(writer, line)), target)
        writer.size = target.tell()
    if segment.last:
        writer.add(segment.first, segment.last)
    os.utime(path, (listed.object.changed, listed.object.changed))  # when it came there: readers go by that
    changes.announce(folder)


def _opened(path: Path, size: int) -> BinaryIO:
    """A journal's file, to be gone on with at ``size``."""
    try:
        file = open(path, "r+b" if size else "wb")  # noqa: SIM115 - closed by the caller
    except FileNotFoundError:
        raise Lost from None
    if file.seek(0, os.SEEK_END) < size:
        file.close()
        raise Lost
    file.truncate(size)
    file.seek(size)
    return file


def _unpacked(content: bytes) -> Iterator[bytes]:
    """What was compressed, piece by piece. Behind what can be read of it is a line that tells of damage."""
    try:
        with gzip.open(io.BytesIO(content)) as packed:
            while piece := packed.read(PIECE):
                yield piece
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        yield f"\nwhat was compressed is damaged: {error}\n".encode()


def _lines(pieces: Iterator[bytes]) -> Iterator[bytes]:
    """Whole lines, without their ends. Of a last one that lacks its end, the rest is to come."""
    rest = b""
    for piece in pieces:
        *whole, rest = (rest + piece).split(b"\n")
        yield from whole


def _is_new(writer: MirroredWriter, line: bytes) -> bool:
    """Whether a line is not there yet; from now on it is. A damaged one is kept for its reader."""
    try:
        number = events.sequence_number(line)
    except ValueError:
        return True
    if writer.holds(number, number):
        return False
    writer.add(number, number)
    return True


def _copy(writer: MirroredWriter, pieces: Iterator[bytes], target: BinaryIO) -> None:
    before = b"\n"
    for piece in pieces:
        target.write(piece)
        before += piece
        writer.has_ended |= END in before
        before = before[-len(END) :]
