"""The sink ``file:///path``: another store, in a folder that this machine can reach, such as a network share.

The folder itself is made where it is missing, not those above it: a share that is not mounted is waited for. What lies
there is what lies in any store. No locks are needed for several senders at once: each line's place in its file follows
from the lines before it, so that they write the same bytes at the same place.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple
from urllib.parse import unquote

from tachograph import addresses, journal
from tachograph.events import sequence_number
from tachograph.journal import changes
from tachograph.journal.blobs import Blobs, digest_of
from tachograph.redaction import redact_url
from tachograph.runtime import plain_files
from tachograph.sinks import Reject

SEGMENT_BYTES = 64 << 20


class End(NamedTuple):
    """Where a writer's lines end: the last number, the segment, and the size of that. No segment (0): in a new one."""

    seq: int = 0
    first: int = 0
    offset: int = 0


class FolderSink:
    """A store in a folder. ``url`` is ``file:///absolute/path``; raises ValueError for another one."""

    def __init__(self, url: str) -> None:
        self.name = redact_url(url)
        self.root = _folder(url)
        self._blobs = Blobs(self.root)
        self._ends: dict[tuple[str, str], End] = {}

    def resume(self, run: str) -> Mapping[str, int]:
        held = {}
        for folder in journal.writers(self.root / "runs" / _plain(run)):
            end = self._ends[run, folder.name] = _end(folder)
            held[folder.name] = end.seq
        return {writer: seq for writer, seq in held.items() if seq}

    def write(self, run: str, writer: str, lines: Sequence[bytes]) -> None:
        folder = self.root / "runs" / _plain(run) / _plain(writer)
        end = self._ends.pop((run, writer), None) or _end(folder)  # looked up anew where this fails
        self._make()
        folder.mkdir(parents=True, exist_ok=True)
        changes.announce(folder)
        for start, block in _pieces(lines, end):
            _write(folder, start, block)
            end = End(sequence_number(block[-1]), start.first, start.offset + _size(block))
        self._ends[run, writer] = end
        changes.announce(folder)  # again: whoever looked meanwhile may have seen nothing yet

    def missing(self, digests: Sequence[str]) -> Sequence[str]:
        return [digest for digest in digests if not self._blobs.touch(digest)]

    def put(self, digest: str, path: Path) -> None:
        self._make()
        draft = self._blobs.copy(path)
        try:
            if digest_of(draft) != digest:
                raise Reject([], f"the content of {path} is not what its digest says")
            self._blobs.publish(draft, digest)
        finally:
            draft.unlink(missing_ok=True)

    def close(self) -> None:
        self._ends.clear()

    def _make(self) -> None:
        self.root.mkdir(exist_ok=True)


def _folder(url: str) -> Path:
    parts = addresses.split(url, "a folder is written file:///absolute/path")
    path = unquote(parts.path)
    host = "" if parts.netloc == "localhost" else parts.netloc
    if os.name == "nt":
        path = f"//{host}{path}" if host else re.sub(r"^/(?=[A-Za-z]:)", "", path)
    elif host:
        raise ValueError(f"a folder is written file:///absolute/path, got {url!r}")
    if not Path(path).is_absolute():
        raise ValueError(f"a folder is written file:///absolute/path, got {url!r}")
    return Path(path)


def _plain(name: str) -> str:
    """``name`` as that of one folder."""
    if name in ("", ".", "..") or re.search(r"[/\\:\0]", name):
        raise ValueError(f"{name!r} can't be a folder's name")
    return name


def _end(folder: Path) -> End:
    """Where the whole lines of a writer end. What comes behind them, of a sender that was killed, is written over."""
    for path in reversed(journal.segments(folder)):
        last = _last(path)
        if last is not None:
            seq, offset = last
            return End(seq, int(path.stem), offset) if path.exists() else End(seq)  # a compressed one is not added to
    return End()


def _last(path: Path) -> tuple[int, int] | None:
    """The number of a segment's last good line and where that ends; None where there is none."""
    for tail in journal.tails(path):
        last = _last_of(tail.data)
        if last is not None:
            return last[0], tail.offset + last[1]
    return None


def _last_of(lines: bytes) -> tuple[int, int] | None:
    """The same within some of its ``lines``."""
    end = lines.rfind(b"\n") + 1
    while end:
        begin = lines.rfind(b"\n", 0, end - 1) + 1
        try:
            return sequence_number(lines[begin:end]), end
        except ValueError:
            end = begin
    return None


def _pieces(lines: Sequence[bytes], end: End) -> Iterator[tuple[End, list[bytes]]]:
    """The new ones of ``lines``, as they go into segments: where each piece begins, and its lines.

    Where a segment ends depends on the lines alone, not on how they come.
    """
    start, offset, seq, piece = end, end.offset, end.seq, list[bytes]()
    for line in lines:
        number = sequence_number(line)
        if number <= seq:
            continue
        if not start.first or offset >= SEGMENT_BYTES:
            if piece:
                yield start, piece
            start, offset, piece = End(seq, number, 0), 0, []
        piece.append(line)
        seq, offset = number, offset + len(line) + 1
    if piece:
        yield start, piece


def _size(lines: Sequence[bytes]) -> int:
    return sum(map(len, lines)) + len(lines)


def _write(folder: Path, start: End, lines: Sequence[bytes]) -> None:
    flags = os.O_RDWR | getattr(os, "O_BINARY", 0) | (0 if start.offset else os.O_CREAT)
    with open(plain_files.descriptor(journal.segment(folder, start.first), flags), "r+b") as file:
        if os.fstat(file.fileno()).st_size < start.offset:
            raise OSError(f"{file.name} has become shorter")
        file.seek(start.offset)
        file.writelines(line + b"\n" for line in lines)
        file.flush()
        os.fsync(file.fileno())
