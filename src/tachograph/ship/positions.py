"""How far each run got on its way to a sink, and what that sink rejected.

    <root>/sinks/<sink>/<run>.json             a run of which something may be left to send
    <root>/sinks/<sink>/<run>.rejected.jsonl   what the sink will never take, and why
    <root>/sinks/<sink>/sent/<run>.json        a run that has ended and is there
    <root>/sinks/<sink>/last-error             why nothing gets there at the moment

They are hints: the sink itself knows what it holds. Without them journals are read from their start.
"""

from __future__ import annotations

import contextlib
import os
import re
import time
import zlib
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import msgspec
from msgspec import Struct

from tachograph.runtime import plain_files, whole_files

SENT = "sent"
LAST_ERROR = "last-error"
_SUFFIX = ".json"
_REJECTED = ".rejected.jsonl"


class SinkPosition(Struct, frozen=True):
    """Where a reader of a writer's journal stands: up to number ``seq``, at ``offset`` of the segment ``first``.

    0 for a segment that is not known.
    """

    seq: int = 0
    first: int = 0
    offset: int = 0


class Position(Struct):
    """The content of a position's file."""

    sink: str
    run: str
    writers: dict[str, SinkPosition] = {}


class Rejected(Struct, omit_defaults=True):
    """A line, or (``digest``) a file, that a sink will never take."""

    why: str
    at: float
    writer: str = ""
    seq: int = 0
    line: str = ""
    digest: str = ""

    @property
    def identity(self) -> tuple[str, int, str]:
        return self.writer, self.seq, self.digest


class LastError(Struct):
    """Why the sink took nothing at that time, in seconds since 1970."""

    at: float
    why: str


class Positions:
    """The positions of all runs on their way to the sink ``name`` from the store in ``root``."""

    def __init__(self, root: Path, name: str) -> None:
        self.root, self.name = root, name
        self.folder = root / "sinks" / _folder_name(name)

    def begin(self, run: str) -> None:
        """Note that there is something to send."""
        if not self._path(run).exists():
            self.save(run, {})
            (self.folder / SENT / f"{run}{_SUFFIX}").unlink(missing_ok=True)

    def load(self, run: str) -> dict[str, SinkPosition]:
        """The positions of a run by writer; empty where there is no file, or none that can be read."""
        for path in (self._path(run), self.folder / SENT / f"{run}{_SUFFIX}"):
            with contextlib.suppress(OSError, ValueError):
                return msgspec.json.decode(plain_files.content(path), type=Position).writers
        return {}

    def save(self, run: str, writers: Mapping[str, SinkPosition]) -> None:
        """Add the positions of some ``writers`` to the file; other processes add those of others."""
        position = Position(self.name, run, {**self.load(run), **writers})
        self._write(self._path(run), msgspec.json.encode(position))

    def mark_sent(self, run: str) -> None:
        """Note that the run is over and all of it is there."""
        with contextlib.suppress(FileNotFoundError):  # somebody else did, or has deleted the store
            (self.folder / SENT).mkdir(exist_ok=True)
            os.replace(self._path(run), self.folder / SENT / f"{run}{_SUFFIX}")

    def forget(self, run: str) -> None:
        """The run is no longer in the store."""
        self._path(run).unlink(missing_ok=True)

    def unsent(self) -> list[str]:
        """The runs of which something may be left to send, oldest first."""
        return sorted(path.name.removesuffix(_SUFFIX) for path in self.folder.glob(f"*{_SUFFIX}"))

    def sent(self) -> list[str]:
        """The runs that were over and all there when they were last looked at."""
        return sorted(path.name.removesuffix(_SUFFIX) for path in (self.folder / SENT).glob(f"*{_SUFFIX}"))

    def runs_with_rejects(self) -> list[str]:
        """The runs of which something was rejected."""
        return sorted(path.name.removesuffix(_REJECTED) for path in self.folder.glob(f"*{_REJECTED}"))

    def rejected(self, run: str) -> list[Rejected]:
        """What was rejected of a run."""
        return list(self._read_rejected(run))

    def reject(self, run: str, rejected: Sequence[Rejected]) -> None:
        """Set something aside, unless it is there already."""
        there = {each.identity for each in self._read_rejected(run)}
        new = [each for each in rejected if each.identity not in there]
        self.folder.mkdir(parents=True, exist_ok=True)
        flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT
        with open(plain_files.descriptor(self.rejects_path(run), flags), "ab") as file:
            file.write(b"".join(msgspec.json.encode(each) + b"\n" for each in new))

    def offer_again(self, run: str, held: Mapping[str, int]) -> None:
        """Take back what was rejected behind all that the sink holds (``held``, by writer), and files: they are sent
        once more, since the sink can still take them."""
        rejected = list(self._read_rejected(run))
        kept = [each for each in rejected if each.writer and each.seq < held.get(each.writer, 0)]
        if kept:
            if len(kept) < len(rejected):
                self._write(self.rejects_path(run), b"".join(msgspec.json.encode(each) + b"\n" for each in kept))
        elif rejected:
            self.rejects_path(run).unlink(missing_ok=True)

    def note_error(self, why: str) -> None:
        """The sink could not be reached, or takes nothing now; "" where it does again."""
        path = self.folder / LAST_ERROR
        with contextlib.suppress(OSError):  # a full disk may be what is wrong
            if why:
                self._write(path, msgspec.json.encode(LastError(time.time(), why)))
            else:
                path.unlink(missing_ok=True)

    def last_error(self) -> LastError | None:
        """What was noted last; None where the sink takes what it is given."""
        try:
            return msgspec.json.decode(plain_files.content(self.folder / LAST_ERROR), type=LastError)
        except (OSError, ValueError):
            return None

    def _path(self, run: str) -> Path:
        return self.folder / f"{run}{_SUFFIX}"

    def rejects_path(self, run: str) -> Path:
        """The file of what was rejected of a run."""
        return self.folder / f"{run}{_REJECTED}"

    def _read_rejected(self, run: str) -> Iterator[Rejected]:
        try:
            content = plain_files.content(self.rejects_path(run))
        except FileNotFoundError:
            return
        for line in content.splitlines():
            with contextlib.suppress(ValueError):  # torn by a kill: it will be rejected again
                yield msgspec.json.decode(line, type=Rejected)

    def _write(self, path: Path, content: bytes) -> None:
        if not self.root.is_dir():
            return  # the store was deleted
        self.folder.mkdir(parents=True, exist_ok=True)
        whole_files.write(path, content)


def of_store(root: Path) -> list[Positions]:
    """The positions of every sink to which something of this store was sent, or is to be."""
    names = {_sink_of(folder) for folder in (root / "sinks").glob("*") if folder.is_dir()}
    return [Positions(root, name) for name in sorted(names) if name]


def begin_again(root: Path, run: str) -> None:
    """Have a run sent again to the sinks that had all of it: there is more of it now."""
    for positions in of_store(root):
        if run in positions.sent():
            positions.begin(run)


def rejected_line(writer: str, seq: int, line: bytes, why: str) -> Rejected:
    """A line that is set aside now."""
    return Rejected(why, time.time(), writer, seq, line.decode("utf-8", "replace"))


def rejected_file(digest: str, why: str) -> Rejected:
    """A file that is set aside now."""
    return Rejected(why, time.time(), digest=digest)


def _sink_of(folder: Path) -> str:
    """The name of the sink whose folder this is; "" where no file says it."""
    for path in (*folder.glob(f"*{_SUFFIX}"), *(folder / SENT).glob(f"*{_SUFFIX}")):
        with contextlib.suppress(OSError, ValueError):
            return msgspec.json.decode(plain_files.content(path), type=Position).sink
    return ""


def _folder_name(name: str) -> str:
    readable = re.sub(r"[^A-Za-z0-9.]+", "-", name).strip("-.")[:60]
    return f"{readable}-{zlib.crc32(name.encode()):08x}"
