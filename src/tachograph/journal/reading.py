"""Reading segments, whole or from where reading stopped, plain or compressed."""

from __future__ import annotations

import contextlib
import errno
import io
import os
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO, cast

import msgspec

from tachograph import events
from tachograph.events import Event, RunEnd, RunStart, beginning
from tachograph.runtime import plain_files, process

TAIL_BYTES = 1 << 16
AFTER_END_BYTES = 2 << 20  # what may come after an end: facts that were being looked up, with the changes of the code
SEARCHED_RUNS = 200
BLOCK_BYTES = 8 << 20
PACKED_LIMIT = 1 << 32  # from here on gzip doesn't tell the size of the content


class Checksum(msgspec.Struct, rename={"start": "from"}):
    """A line of the sums: the checksum of the bytes from ``start`` up to ``to`` of the segment."""

    start: int
    to: int
    crc32: str


def _packed(path: str | Path) -> str:
    return f"{path}.gz"


class Unreadable(OSError):
    """A compressed segment that is damaged."""


class Damage(msgspec.Struct, frozen=True):
    """A line that can't be read. ``torn`` is the harmless kind: the last line, cut off when its writer died."""

    path: Path
    line: int
    offset: int
    reason: str
    torn: bool = False

    def __str__(self) -> str:
        return f"{self.path}:{self.line}: {self.reason}"


def newest(folder: Path) -> list[Path]:
    """The folders of runs in ``folder`` that changed last, newest first; at most two hundred."""
    try:
        entries = sorted(os.scandir(folder), key=lambda entry: entry.stat().st_mtime_ns, reverse=True)
    except OSError:
        return []
    return [Path(entry.path) for entry in entries[:SEARCHED_RUNS]]


def writers(run_folder: Path) -> list[Path]:
    """The folders of a run's writers, by name."""
    try:
        return sorted(path for path in run_folder.iterdir() if path.is_dir())
    except (FileNotFoundError, NotADirectoryError):
        return []


def segments(writer_folder: Path) -> list[Path]:
    """A writer's segments in their order. Files with other names are not ours and are left out."""
    try:
        with os.scandir(writer_folder) as entries:
            firsts = {_first(entry.name) for entry in entries if entry.is_file()}
    except (FileNotFoundError, NotADirectoryError):
        return []
    return [Path(segment(writer_folder, first)) for first in sorted(first for first in firsts if first is not None)]


def _first(name: str) -> int | None:
    """The sequence number with which the segment of that file name begins; None for a file that is not ours."""
    plain = name.removesuffix(".gz")
    first = plain.removesuffix(".jsonl")
    if first == plain or not (first.isascii() and first.isdigit()) or first.startswith("0"):
        return None
    return int(first) if len(first) < len(str(events.MAX_INT)) else None


def segment(writer_folder: str | Path, first: int) -> str:
    """The path of the segment that begins with sequence number ``first``."""
    return f"{writer_folder}/{first}.jsonl"


def sizes(writer_folder: str | Path) -> tuple[dict[int, int], float]:
    """The size of each of a writer's segments by its first sequence number, in order, and when one last changed.

    The time is in seconds since 1970, that of the folder where there are no segments. Quick, for those who look often.
    """
    by_first, changed = {}, 0.0
    with os.scandir(writer_folder) as entries:
        for entry in entries:
            first = _first(entry.name)
            if first is not None and entry.is_file():
                by_first[first] = size(segment(writer_folder, first))
                with contextlib.suppress(FileNotFoundError):  # compressed just now: it did not change
                    changed = max(changed, entry.stat().st_mtime)
    return dict(sorted(by_first.items())), changed or os.stat(writer_folder).st_mtime


def size(path: str | Path) -> int:
    """The size of a segment's content."""
    try:
        return os.stat(path).st_size
    except FileNotFoundError:
        with plain_files.opened(_packed(path)) as file:
            file.seek(max(0, os.fstat(file.fileno()).st_size - 4))
            return int.from_bytes(file.read(), "little")  # gzip has it there


@contextlib.contextmanager
def opened(path: Path) -> Iterator[BinaryIO]:
    """Open a segment, compressed or not. Where its compressed form is damaged, reading raises :class:`Unreadable`."""
    try:
        plain = plain_files.opened(path)
    except FileNotFoundError:
        with _unpacked(path) as packed:
            yield packed
        return
    with plain:
        yield plain


@contextlib.contextmanager
def _unpacked(path: Path) -> Iterator[BinaryIO]:
    import gzip  # takes a while to import, and is seldom needed

    with plain_files.opened(_packed(path)) as file, gzip.open(file, "rb") as packed:
        try:
            if os.fstat(file.fileno()).st_size == 0:  # which gzip takes for no damage
                raise EOFError("it is empty")
            yield cast(BinaryIO, packed)
        except (EOFError, zlib.error, gzip.BadGzipFile) as error:
            raise Unreadable(errno.EIO, f"its compressed content is damaged ({error})", _packed(path)) from error


def read(path: Path) -> Iterator[Event | Damage]:
    """The events of a segment, in their order, with a :class:`Damage` in place of each line that can't be read."""
    offset = 0
    with opened(path) as file:
        for number, line in enumerate(file, start=1):
            item = _read_line(path, number, offset, line)
            if item is not None:
                yield item
            offset += len(line)


def _read_line(path: Path, number: int, offset: int, line: bytes) -> Event | Damage | None:
    if not line.strip():
        return None
    try:
        return events.decode(line)
    except ValueError as error:
        if not line.endswith(b"\n"):
            return Damage(path, number, offset, "the last line is torn", torn=True)
        return Damage(path, number, offset, " ".join(str(error).split()))


class Block(msgspec.Struct, frozen=True):
    """Whole lines of a segment: bytes ``offset`` to ``end``, the first of them line number ``line``."""

    path: Path
    offset: int
    line: int
    data: bytes

    @property
    def end(self) -> int:
        return self.offset + len(self.data)

    @property
    def next_line(self) -> int:
        return self.line + self.data.count(b"\n")

    def items(self) -> list[Event | Damage | None]:
        """One item for each line, as :func:`read` gives them, and None for a blank line."""
        with contextlib.suppress(ValueError):  # something is damaged: find out what, line by line
            return list(events.decode_lines(self.data))
        return self._items_one_by_one()

    def _items_one_by_one(self) -> list[Event | Damage | None]:
        items, offset = [], self.offset
        for number, line in enumerate(io.BytesIO(self.data), start=self.line):
            items.append(_read_line(self.path, number, offset, line))
            offset += len(line)
        return items


def read_block(path: Path, offset: int = 0, line: int = 1, final: bool = False, limit: int = BLOCK_BYTES) -> Block:
    """The lines from ``offset`` on, about ``limit`` bytes of them; no bytes where there is no whole line yet.

    A last line without its end is left for later: it is still being written. Once nobody writes any more
    (``final``), it is read as it is.
    """
    with opened(path) as file:
        file.seek(offset)
        data = file.read(limit)
        while (last := data.rfind(b"\n")) < 0 and (more := file.read(limit)):
            data += more
    whole = final and (last < 0 or len(data) < limit)
    return Block(path, offset, line, data if whole else data[: last + 1])


def read_writer(folder: Path) -> Iterator[Event | Damage]:
    """All that a writer recorded. An event that was written twice, because the first write only seemed to fail, is
    given once. Numbers are not trusted beyond that: a damaged one must not hide the lines after it."""
    last: Event | Damage | None = None
    for path in segments(folder):
        for item in read(path):
            if item != last:
                yield item
            last = item


def check_sums(path: Path) -> list[Damage]:
    """The blocks of a segment that no longer match their checksums, and checksums that can't be right."""
    sums = path.with_suffix(".sums")
    if not sums.is_file():
        return []
    damages, covered = [], 0
    with opened(path) as file:
        for number, line in enumerate(plain_files.content(sums).splitlines(), start=1):
            try:
                block = msgspec.json.decode(line, type=Checksum)
            except ValueError:
                damages.append(Damage(sums, number, 0, "a checksum that can't be read"))
                continue
            if not 0 <= block.start <= min(covered, block.to):
                damages.append(Damage(sums, number, 0, "a checksum that doesn't follow the one before"))
                continue
            covered = max(covered, block.to)
            file.seek(block.start)
            content = file.read(block.to - block.start)
            if len(content) != block.to - block.start or f"{zlib.crc32(content):08x}" != block.crc32:
                reason = f"bytes {block.start} to {block.to} do not match their checksum"
                damages.append(Damage(path, 0, block.start, reason))
    return damages


def has_ended(writer_folder: Path, since: int = 0) -> bool:
    """Whether the writer wrote its end. Only the last events are read. With ``since``: whether it did so after that
    byte of its last segment."""
    paths = segments(writer_folder)
    begin = max(0, since - len(_END))  # it may have been half there
    is_near = not since and any(_ends_in(path, 0, TAIL_BYTES) for path in reversed(paths))
    return is_near or any(_ends_in(path, begin, AFTER_END_BYTES) for path in paths[-1:])


_END = b"\n" + beginning(RunEnd)


def _ends_in(path: Path, begin: int, length: int) -> bool:
    """Whether an end is among the last bytes of a segment."""
    with opened(path) as file:
        file.seek(max(begin, size(path) - length))
        return _END in b"\n" + file.read()


def tails(path: Path, end: int | None = None) -> Iterator[Block]:
    """The lines before byte ``end`` of a segment (its size, if left out), the last few first, then more and more of
    them, at last all. The last line may lack its end; their numbers in the file are not known."""
    end = size(path) if end is None else end
    begin = end
    while begin:
        begin = max(0, begin - max(TAIL_BYTES, 7 * (end - begin)))  # eight times as much as before
        with opened(path) as file:
            file.seek(begin)
            content = file.read(end - begin)
        whole = 0 if begin == 0 else (content.find(b"\n") + 1 or len(content))  # a first line may lack its beginning
        yield Block(path, begin + whole, 1, content[whole:])


def last(writer_folder: Path) -> tuple[int, float]:
    """The number of a writer's last event, and its time; 0 where there is none. Only the last events are read."""
    for path in reversed(segments(writer_folder)):
        for tail in tails(path):
            last_events = [item for item in tail.items() if isinstance(item, Event)]
            if last_events:
                return max(event.seq for event in last_events), max(event.at for event in last_events)
    return 0, 0.0


def is_gone(header: RunStart | None) -> bool:
    """Whether the process that a writer's header names provably no longer runs; False where there is no header."""
    return header is not None and process.is_gone(process.of(header))


def header(writer_folder: Path) -> RunStart | None:
    """A writer's first event, which says who it is; None where that can't be read."""
    for path in segments(writer_folder)[:1]:
        for item in read(path):
            return item if isinstance(item, RunStart) else None
    return None
