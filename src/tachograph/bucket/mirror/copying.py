"""Copies a writer's segments from a bucket to its journal in the mirror: each sequence number once, in growing files.

A file is written first, and then its size is noted. What a file has beyond that size was written by a process that was
killed, and is cut off.
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

FILE_BYTES = 64 << 20  # a file that is longer is not added to: a new one is begun
PIECE = 1 << 20
END = b"\n" + events.beginning(events.RunEnd)


class Lost(Exception):
    """A writer's file in the mirror is gone or was cut: somebody deleted it."""


def add(writer: MirroredWriter, folder: Path, listed: Listed, content: bytes) -> None:
    """Add the lines of an object to the journal of ``writer`` in ``folder``, and note that in ``writer``. Raises
    :class:`Lost`."""
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
    """The content, decompressed, piece by piece. Where that fails, the last line says that it is damaged."""
    try:
        with gzip.open(io.BytesIO(content)) as packed:
            while piece := packed.read(PIECE):
                yield piece
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        yield f"\nwhat was compressed is damaged: {error}\n".encode()


def _lines(pieces: Iterator[bytes]) -> Iterator[bytes]:
    """Whole lines, without their ends. A last one that lacks its end is left out: the rest of it is to come."""
    rest = b""
    for piece in pieces:
        *whole, rest = (rest + piece).split(b"\n")
        yield from whole


def _is_new(writer: MirroredWriter, line: bytes) -> bool:
    """Whether a line is not in the mirror yet; it is noted to be there now. A damaged one is always copied, so that
    readers find it."""
    try:
        number = events.sequence_number(line)
    except ValueError:
        return True
    if writer.holds(number, number):
        return False
    writer.add(number, number)
    return True


def _copy(writer: MirroredWriter, pieces: Iterator[bytes], target: BinaryIO) -> None:
    tail = b"\n"
    for piece in pieces:
        target.write(piece)
        tail += piece
        writer.has_ended |= END in tail
        tail = tail[-len(END) :]
