"""Appending events to a writer's folder, as a server does with those that it receives.

    <root>/runs/<run>/<writer>/.received    the lock, and a note: which segment was begun by a server, and where in it
                                            the append begins that is going on, or was when the server was killed

An append notes where it begins, writes, forces that to disk, adds the checksum, and takes the note back. An append that
was cut off is undone by the next one: a batch is there whole or not at all. After a power failure the note may be older
than what is on disk, so then every whole line is kept. Each batch is forced to disk once; where several writers do that
at the same time, the file system shares the work.

Servers only write to segments that servers have begun: those that a local process wrote stay as they are. A segment
that was not written to for an hour is left as it is, since somebody may be compressing it; a new one is begun.
"""

from __future__ import annotations

import io
import os
import time
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import msgspec
from msgspec import Struct

from tachograph import events, journal
from tachograph.journal import Checksum
from tachograph.runtime import plain_files, process
from tachograph.runtime.locks import locked, sync_folder
from tachograph.server.storage import Batch, Gap

SEGMENT_BYTES = 64 << 20
REST_SECONDS = 3600.0
TAIL_BYTES = 1 << 16
NOTE = ".received"
_NOTE_BYTES = 256  # written as a whole, so that no part of an older one is left
_FLAGS = os.O_RDWR | os.O_CREAT | os.O_APPEND | getattr(os, "O_CLOEXEC", 0) | getattr(os, "O_BINARY", 0)


class DraftNote(Struct, omit_defaults=True):
    """The content of ``.received``. ``segment`` is the first sequence number of the newest segment that a server has
    begun, 0 where there is none; ``start`` is where the append begins that is going on, -1 where none is."""

    segment: int = 0
    start: int = -1
    boot: str = ""


def position(folder: Path) -> int:
    """The number of a writer's last event that is kept for good; 0 where there is none."""
    note = _read_note(folder / NOTE)
    for path in reversed(journal.segments(folder)):
        is_appending = note.start >= 0 and int(path.stem) == note.segment
        if last := _last_number(path, _good_end(path, note) if is_appending else None):
            return last
    return 0


def append(folder: Path, after: int, batch: Batch) -> tuple[int, int]:
    """:meth:`tachograph.server.storage.Storage.append`, in a writer's folder."""
    if after and not folder.is_dir():
        raise Gap(0)
    folder.mkdir(parents=True, exist_ok=True)
    with locked(folder / NOTE) as fd:
        note = _decoded(os.read(fd, _NOTE_BYTES))
        if note.segment:
            _repair(Path(journal.segment(folder, note.segment)), note)
        if note.start >= 0:
            note = DraftNote(note.segment)
            _write_note(fd, note)
        last = position(folder)
        if after > last:
            raise Gap(last)
        new = batch.after(last)
        if not new.seqs:
            return last, 0
        _write(fd, folder, _segment(folder, note, new.seqs[0]), new)
    return new.seqs[-1], len(new.seqs)


def _segment(folder: Path, note: DraftNote, first: int) -> int:
    """The segment to write to: the newest one, if a server began it, it is not too long and was written to lately; else
    a new one, which begins with number ``first``."""
    newest = max((int(path.stem) for path in journal.segments(folder)), default=0)
    if newest and newest == note.segment:
        try:
            status = os.stat(journal.segment(folder, newest))
        except FileNotFoundError:  # compressed
            return first
        if status.st_size < SEGMENT_BYTES and status.st_mtime > time.time() - REST_SECONDS:
            return newest
    return first


def _write(note: int, folder: Path, segment: int, batch: Batch) -> None:
    path = Path(journal.segment(folder, segment))
    with _opened(path) as fd:
        start = os.fstat(fd).st_size
        _write_note(note, DraftNote(segment, start, process.this().boot))
        try:
            _write_all(fd, b"\n".join(batch.lines) + b"\n")
            os.fsync(fd)
        except OSError:
            os.ftruncate(fd, start)
            _write_note(note, DraftNote(segment))
            raise
        if start == 0:
            for parent in (folder, *folder.parents[:3]):
                sync_folder(parent)
        _add_sum(path, fd)
    _write_note(note, DraftNote(segment))


def _write_all(fd: int, content: bytes) -> None:
    remaining = memoryview(content)
    while remaining:
        remaining = remaining[os.write(fd, remaining) :]


@contextmanager
def _opened(path: Path) -> Iterator[int]:
    fd = plain_files.descriptor(path, _FLAGS)
    try:
        yield fd
    finally:
        os.close(fd)


# -- what was cut off --


def _repair(path: Path, note: DraftNote) -> None:
    """Cut off what an append has left that did not come to its end."""
    if not path.exists():
        return
    with _opened(path) as fd:
        size = os.fstat(fd).st_size
        end = _good_end(path, note) if note.start >= 0 else _whole_lines(path, _last_line(path, size))
        if max(end, _checksummed_end(path)) < size:
            os.ftruncate(fd, end)


def _good_end(path: Path, note: DraftNote) -> int:
    """Up to where a segment is good whose last append is going on or was cut off, as ``note`` says."""
    summed = _checksummed_end(path)
    if summed > note.start:  # the append came to its end, but for taking back the note
        return summed
    is_same_boot = bool(note.boot) and note.boot == process.this().boot
    return note.start if is_same_boot else _whole_lines(path, note.start)


def _whole_lines(path: Path, start: int) -> int:
    """Up to where the lines from ``start`` on can be read."""
    end = start
    with journal.opened(path) as file:
        file.seek(start)
        for line in file:
            if not line.endswith(b"\n") or not _number(line):
                break
            end += len(line)
    return end


def _last_line(path: Path, size: int) -> int:
    """Where the last line begins, be it whole or not."""
    with plain_files.opened(path) as file:
        begin, tail = size, b""
        while begin and b"\n" not in tail[:-1]:
            begin = max(0, begin - TAIL_BYTES)
            file.seek(begin)
            tail = file.read(size - begin)
    return begin + tail[:-1].rfind(b"\n") + 1


def _last_number(path: Path, end: int | None) -> int:
    """The number of the last whole line of a segment that can be read, up to ``end``; 0 where there is none."""
    for tail in journal.tails(path, end):
        whole = tail.data[: tail.data.rfind(b"\n") + 1]
        for line in reversed(list(io.BytesIO(whole))):
            if seq := _number(line):
                return seq
    return 0


def _number(line: bytes) -> int:
    """The sequence number of the event in a line; 0 where it can't be read."""
    try:
        return events.decode(line).seq
    except ValueError:
        return 0


# -- notes and checksums --


def _read_note(path: Path) -> DraftNote:
    try:
        return _decoded(plain_files.content(path))
    except FileNotFoundError:
        return DraftNote()


def _decoded(content: bytes) -> DraftNote:
    try:
        return msgspec.json.decode(content, type=DraftNote)
    except ValueError:  # new, or from before a power failure: then a new segment is begun
        return DraftNote()


def _write_note(fd: int, note: DraftNote) -> None:
    os.lseek(fd, 0, os.SEEK_SET)
    os.write(fd, msgspec.json.encode(note).ljust(_NOTE_BYTES))


def _add_sum(path: Path, fd: int) -> None:
    """Add a checksum for the end of the segment that has none yet."""
    to = os.fstat(fd).st_size
    start = min(_checksummed_end(path), to)
    crc, at = 0, os.lseek(fd, start, os.SEEK_SET)
    while at < to and (block := os.read(fd, min(1 << 20, to - at))):
        crc, at = zlib.crc32(block, crc), at + len(block)
    with _opened(path.with_suffix(".sums")) as sums:
        _write_all(sums, msgspec.json.encode(Checksum(start, to, f"{crc:08x}")) + b"\n")


def _checksummed_end(path: Path) -> int:
    """Up to where a segment has checksums."""
    try:
        with plain_files.opened(path.with_suffix(".sums")) as file:
            file.seek(max(0, os.fstat(file.fileno()).st_size - 512))
            lines = file.read().splitlines()
        return msgspec.json.decode(lines[-1], type=Checksum).to
    except (FileNotFoundError, IndexError, ValueError):
        return 0
