"""The journal: an append-only record for each writer. The only module that knows the disk format.

    <root>/runs/<run id>/<writer>/<first seq>.jsonl    a segment: events, one line each, each appended with one write
    <root>/runs/<run id>/<writer>/<first seq>.jsonl.gz the same, once it was compressed: readers take either of them
    <root>/runs/<run id>/<writer>/<first seq>.sums     checksums of what was synced of it, block by block

Appending is all that happens on a training thread. Once a second, on the background thread, what was appended is
forced to disk (``fsync``) and a line ``{"from":0,"to":8192,"crc32":"9ae1bc02"}`` is added to the sums. A segment is
sealed, that is never written again, when a later one exists or its writer is gone. Sealed ones may be compressed, which
changes nothing for readers: a segment goes by the path of its plain form, and sizes, offsets and checksums are those of
its content.

A write that fails (full disk, size limit, folder gone) keeps the lines in memory, within a bound, and tries again. It
goes on where it stopped, so that even a half-written line is completed, not torn.
"""

from __future__ import annotations

import contextlib
import errno
import io
import os
import threading
import time
import zlib
from bisect import insort
from collections import deque
from collections.abc import Callable, Iterator
from functools import partial
from itertools import islice
from pathlib import Path
from time import time as _now
from typing import Any, BinaryIO, cast

import msgspec

from tachograph import events, guard
from tachograph.background import background
from tachograph.events import Event, Metrics, Note, RunStart, encode
from tachograph.steps import Steps

SEGMENT_BYTES = 64 << 20
PENDING_BYTES = 16 << 20
RETRY_SECONDS = 0.1
TAIL_BYTES = 1 << 16
_LARGE = 1 << 62  # whole numbers that are left to the careful way
BLOCK_BYTES = 8 << 20
PACKED_LIMIT = 1 << 32  # from here on gzip doesn't tell the size of the content
DRAFT = ".draft-"

_write = os.write
_encode_into = msgspec.json.Encoder().encode_into
_decode_lines = msgspec.json.Decoder(events.Known).decode_lines
_FLAGS = os.O_WRONLY | os.O_CREAT | os.O_APPEND | getattr(os, "O_CLOEXEC", 0) | getattr(os, "O_BINARY", 0)


class Journal:
    """Appends one writer's events. Safe to use from several threads, and from a signal handler.

    ``header`` makes the writer's first event. It goes out before the first append, and again if the folder was
    deleted and had to be made anew. ``unusual`` records points that ``log`` doesn't take as they are.
    """

    def __init__(self, folder: Path, header: Callable[[], Event], unusual: Callable[[Any, Any], None]) -> None:
        self.folder = folder
        self.unusual = unusual
        self.steps = Steps()
        self._cells, self._alone = self.steps.cells, self.steps.alone
        self._header = header
        # Reentrant, since a signal handler or a finalizer may log while its own thread is appending.
        self._lock = threading.RLock()
        self._acquire, self._release_lock = self._lock.acquire, self._lock.release
        self._buffer: bytearray | None = None
        self._seq = 0
        self.careful = 0  # how many events did not take the way of ``log``
        self._fd = -1  # open, healthy and not closed; or -1, and then appending takes the careful way
        self._file = -1
        self._first = 0
        self._headed = False
        self._closed = False
        self._pending: deque[tuple[int, bytes]] = deque()
        self._written = 0  # bytes of the first pending line that are in the file already
        self._pending_bytes = 0
        self._lost = 0
        self._draining = False
        self._retry_at = 0.0
        self._left: list[int] = []  # segments that are sealed but not synced to their end
        self._sync_lock = threading.Lock()
        self._synced: tuple[int, int] = (0, 0)  # segment, bytes

    # -- appending: what a training thread does --

    def append(self, event: Event) -> None:
        """Number and date ``event``, and write it."""
        with self._lock:
            self._begin()
            self._put(event)

    def log(self, values: dict[str, float], step: int | None = None) -> None:
        """:meth:`append` for points, written out in one function, since here a tenth of a microsecond counts.

        Takes a dict of finite Python floats and ints as it is. Anything else, and any fault, is handed to ``unusual``,
        which may take its time. Without ``step`` each name counts for itself, from 0.
        """
        try:
            self._acquire()
            for name, value in values.items():
                if type(value) is float:
                    if value - value != 0.0:
                        raise ValueError
                elif type(value) is not int or not -_LARGE < value < _LARGE:
                    raise ValueError
                if not name:
                    raise ValueError
            if step is None:
                cell = self._alone[name] if len(values) == 1 else self._cells[tuple(values)]
                step = cell[0]
                if step < 0:
                    step = self.steps.take_one(tuple(values))
                else:
                    cell[0] = step + 1
            elif type(step) is not int or not -_LARGE < step < _LARGE:
                raise ValueError
            buffer, self._buffer = self._buffer, None  # a signal handler that logs meanwhile takes the careful way
            seq = self._seq + 1
            _encode_into(Metrics(1, seq, _now(), step, values), buffer)  # type: ignore[arg-type]
            buffer.append(10)  # type: ignore[union-attr]
            if self._seq != seq - 1:  # it did, and took this number; from here to the write it can't come in between
                raise ValueError
            self._seq = seq
            try:
                written = _write(self._fd, buffer)  # type: ignore[arg-type]
            except OSError as error:
                self._trouble(bytes(buffer), 0, error if self._fd >= 0 else None)  # type: ignore[arg-type]
            else:
                if written != len(buffer):  # type: ignore[arg-type]
                    self._trouble(bytes(buffer), written)  # type: ignore[arg-type]
            self._buffer = buffer
        except guard.FAULTS:
            self.unusual(values, step)
        finally:
            try:  # noqa: SIM105 - a suppress() costs more than all of the above
                self._release_lock()
            except RuntimeError:  # Ctrl-C came before the lock was ours
                pass

    def begin(self) -> None:
        """Open the file and write the header now, not with the first event."""
        with self._lock:
            self._begin()

    def close(self) -> None:
        """Give the file back. What is appended later still gets there, each event with its own opening and closing."""
        with self._lock:
            self._drain(insist=True)
            self._closed = True
            self._close_file()

    @property
    def begun(self) -> bool:
        """Whether anything was recorded yet."""
        return self._headed

    @property
    def fast(self) -> int:
        """How many events ``log`` wrote by itself."""
        return self._seq - self.careful

    @property
    def unwritten(self) -> int:
        """How many events wait in memory or were lost, because the disk takes none."""
        return len(self._pending) + self._lost

    def _begin(self) -> None:
        if self._buffer is None:
            self._buffer = bytearray(512)
        if not self._headed:
            self._headed = True
            self._put(self._header())

    def _put(self, event: Event) -> None:
        line = self._numbered(event)
        try:
            written = os.write(self._fd, line)
        except OSError as error:
            self._trouble(line, 0, error if self._fd >= 0 else None)
        else:
            if written != len(line):
                self._trouble(line, written)

    def _numbered(self, event: Event) -> bytes:
        """The event as the next line. Its number is taken last, with no call in between, so that a signal handler that
        logs while its own thread is in here takes another one, and is written in its place."""
        while True:
            seq = self._seq + 1
            event.v, event.seq, event.at = events.VERSION, seq, _now()
            line = encode(event) + b"\n"
            if self._seq == seq - 1:
                self._seq = seq
                self.careful += 1
                return line

    # -- trouble: what the disk did not take --

    def _trouble(self, line: bytes, written: int, error: OSError | None = None) -> None:
        self._fd = -1
        self._hold(line)
        if written:
            self._written = written
        if error is not None and error.errno != errno.EFBIG:
            self._refused(error)
        self._drain()

    def _hold(self, line: bytes) -> None:
        if self._pending and self._pending_bytes + len(line) > PENDING_BYTES:
            self._lost += 1
            return
        item = (msgspec.json.decode(line, type=Numbered).seq, line)
        self._pending.append(item)
        self._pending_bytes += len(line)
        if len(self._pending) > 1 and self._pending[-2] > item:  # a signal handler came in between
            # Each of these is one call, so that a handler's own line can't fall between two copies of the list.
            self._pending.remove(item)
            insort(self._pending, item)

    def _refused(self, error: OSError) -> None:
        self._retry_at = time.monotonic() + RETRY_SECONDS
        # Not here: whoever shows warnings may take locks, and somebody who holds those may be waiting to record.
        text = (
            f"cannot write to {self.folder} ({error.strerror}): what is recorded waits in memory, up to 16 MB, and is "
            "lost if that does not change before the process ends; TACHOGRAPH_DIR names another folder"
        )
        background.soon(partial(guard.warn, f"journal:{error.errno}", text))

    def _drain(self, insist: bool = False) -> None:
        """Open the file if need be and write what is pending."""
        if self._draining or (time.monotonic() < self._retry_at and not insist):
            return
        self._draining = True  # a signal handler that logs meanwhile leaves its line to this loop
        try:
            while self._pending or self._lost:
                if not self._pending:
                    self._hold(self._report_of_loss())
                if self._file < 0:
                    self._open()
                self._write_pending()
        except OSError as error:
            self._refused(error)
            return
        finally:
            self._draining = False
        self._retry_at = 0.0
        if self._closed:
            self._close_file()
        elif not self._pending:
            self._fd = self._file

    def _write_pending(self) -> None:
        seq, line = self._pending[0]
        try:
            self._written += os.write(self._file, line[self._written :])
        except OSError as error:
            if error.errno != errno.EFBIG or self._first >= seq:
                raise
            self._next_segment()
            return
        if self._written == len(line):
            self._pending.popleft()
            self._pending_bytes -= len(line)
            self._written = 0

    def _report_of_loss(self) -> bytes:
        lost, self._lost = self._lost, 0
        return self._numbered(Note(text=f"{lost} events were lost while the disk took none", source="tachograph"))

    # -- files --

    def _open(self) -> None:
        if not self._first:
            self._first = self._pending[0][0]
        self.folder.mkdir(parents=True, exist_ok=True)
        self._file = os.open(self._path(), _FLAGS, 0o666)

    def _path(self, suffix: str = "jsonl") -> Path:
        return self.folder / f"{self._first}.{suffix}"

    def _close_file(self) -> None:
        if self._file >= 0:
            os.close(self._file)
        self._file = self._fd = -1

    def _next_segment(self) -> None:
        """Go on in a new file. A line that was begun in the old one is taken back there and written whole here."""
        if self._written:
            os.ftruncate(self._file, os.fstat(self._file).st_size - self._written)
            self._written = 0
        self._close_file()
        self._left.append(self._first)
        self._first = 0

    # -- syncing: the background thread --

    def sync(self) -> None:
        """Force what was appended to disk and write its checksum. Appending goes on meanwhile."""
        with self._sync_lock:
            with self._lock:
                if self._pending:
                    self._drain()
                # A line that is written in part may yet be taken back.
                found = [*self._left, *([self._first] if self._first and not self._written else [])]
                self._left.clear()
            try:
                for first in found:
                    self._sync_segment(first)
            except FileNotFoundError:
                self._start_anew()
            except OSError as error:
                guard.warn(f"sync:{error.errno}", f"cannot sync {self.folder} ({error.strerror}); recording goes on")

    def _sync_segment(self, first: int) -> None:
        start = self._synced[1] if self._synced[0] == first else 0
        path = self.folder / f"{first}.jsonl"
        fd = os.open(path, os.O_RDWR | getattr(os, "O_CLOEXEC", 0) | getattr(os, "O_BINARY", 0))
        try:
            to = os.fstat(fd).st_size
            if to == start:
                return
            os.fsync(fd)
            crc = _crc(fd, start, to)
        finally:
            os.close(fd)
        line = encode(Sum(start, to, f"{crc:08x}")) + b"\n"
        sums = os.open(path.with_suffix(".sums"), _FLAGS, 0o666)
        try:
            os.write(sums, line)
        finally:
            os.close(sums)
        self._synced = (first, to)
        if to > SEGMENT_BYTES:
            with self._lock:
                if self._first == first and not self._pending:
                    self._next_segment()

    def _start_anew(self) -> None:
        """Somebody deleted the folder while we wrote: what comes from now on is still recorded."""
        with self._lock:
            self._close_file()
            self._first = 0
            self._headed = False
            self._buffer = None  # so that the next points take the way that writes the header first


class Numbered(msgspec.Struct):
    """Of a line, its number."""

    seq: int


class Sum(msgspec.Struct, rename={"start": "from"}):
    """A line of the sums: the checksum of the bytes from ``start`` up to ``to`` of the segment."""

    start: int
    to: int
    crc32: str


def _crc(fd: int, start: int, to: int) -> int:
    crc, os_offset = 0, os.lseek(fd, start, os.SEEK_SET)
    while os_offset < to:
        block = os.read(fd, min(1 << 20, to - os_offset))
        if not block:
            break
        crc = zlib.crc32(block, crc)
        os_offset += len(block)
    return crc


# -- compressing --


def sealed(writer_folder: Path, gone: bool, before: float) -> Iterator[Path]:
    """A writer's segments that are sealed and not compressed, and were last changed before then.

    ``gone`` says that the writer's process is provably gone; else its last segment may still be written.
    """
    found = segments(writer_folder)
    for path in found if gone else found[:-1]:
        with contextlib.suppress(FileNotFoundError):  # compressed already
            status = path.stat()
            if status.st_mtime < before and status.st_size < PACKED_LIMIT:
                yield path


def compress(path: Path) -> int:
    """Compress a sealed segment; how many bytes that frees. Where it is interrupted, the next time begins anew.

    The plain file goes only once the other one is known to hold the same and is on disk under its name.
    """
    draft = path.with_name(f"{DRAFT}{os.getpid()}-{os.urandom(6).hex()}")
    try:
        _pack(path, draft)
        if not _holds(draft, path):
            return 0  # it was written meanwhile
        status = path.stat()
        freed = status.st_size - draft.stat().st_size
        os.replace(draft, _packed(path))
        os.utime(_packed(path), ns=(status.st_atime_ns, status.st_mtime_ns))  # when the events were written
    finally:
        draft.unlink(missing_ok=True)
    _sync_folder(path.parent)
    path.unlink(missing_ok=True)  # somebody else may be at it, too
    return freed


def abandoned(writer_folder: Path, before: float) -> Iterator[Path]:
    """Drafts whose makers died."""
    for path in writer_folder.glob(f"{DRAFT}*"):
        if path.stat().st_mtime < before:
            yield path


def _packed(path: str | Path) -> str:
    return f"{path}.gz"


def _pack(path: Path, draft: Path) -> None:
    import gzip
    from shutil import copyfileobj

    status = path.stat()
    with open(path, "rb") as source, open(draft, "xb") as file:
        with gzip.GzipFile("", "wb", fileobj=file, mtime=status.st_mtime) as packed:
            copyfileobj(source, packed, 1 << 20)
        file.flush()
        os.fsync(file.fileno())
    os.chmod(draft, status.st_mode)


def _holds(draft: Path, path: Path) -> bool:
    """Whether ``draft`` gives all of ``path`` back."""
    import gzip

    with open(path, "rb") as plain, gzip.open(draft) as packed:
        while block := plain.read(1 << 20):
            if packed.read(len(block)) != block:
                return False
        return not packed.read(1)


def _sync_folder(folder: Path) -> None:
    if os.name == "nt":
        return  # a folder can't be opened there
    fd = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


# -- reading --


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


def writers(run_folder: Path) -> list[Path]:
    """The folders of a run's writers, by name."""
    try:
        return sorted(path for path in run_folder.iterdir() if path.is_dir())
    except (FileNotFoundError, NotADirectoryError):
        return []


def segments(writer_folder: Path) -> list[Path]:
    """A writer's segments in their order. Files with other names are not ours and are left out."""
    try:
        firsts = {_first(entry.name) for entry in os.scandir(writer_folder) if entry.is_file()}
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
    found, changed = {}, 0.0
    with os.scandir(writer_folder) as entries:
        for entry in entries:
            first = _first(entry.name)
            if first is not None and entry.is_file():
                found[first] = size(segment(writer_folder, first))
                with contextlib.suppress(FileNotFoundError):  # compressed just now: it did not change
                    changed = max(changed, entry.stat().st_mtime)
    return dict(sorted(found.items())), changed or os.stat(writer_folder).st_mtime


def size(path: str | Path) -> int:
    """The size of a segment's content."""
    try:
        return os.stat(path).st_size
    except FileNotFoundError:
        with open(_packed(path), "rb") as file:
            file.seek(max(0, os.fstat(file.fileno()).st_size - 4))
            return int.from_bytes(file.read(), "little")  # gzip has it there


@contextlib.contextmanager
def opened(path: Path) -> Iterator[BinaryIO]:
    """A segment's content. Where that is damaged in its compressed form, reading raises :class:`Unreadable`."""
    try:
        plain = open(path, "rb")  # noqa: SIM115 - closed below
    except FileNotFoundError:
        with _unpacked(path) as packed:
            yield packed
        return
    with plain:
        yield plain


@contextlib.contextmanager
def _unpacked(path: Path) -> Iterator[BinaryIO]:
    import gzip  # takes a while to import, and is seldom needed

    with gzip.open(_packed(path), "rb") as packed:
        try:
            if os.path.getsize(_packed(path)) == 0:  # which gzip takes for no damage
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
        with contextlib.suppress(ValueError, RecursionError):  # something is damaged: find out what, line by line
            found: list[Any] = _decode_lines(self.data)
            if len(found) == self.data.count(b"\n") and all(0 < event.seq <= events.MAX_INT for event in found):
                return found
        return self._items_one_by_one()

    def _items_one_by_one(self) -> list[Event | Damage | None]:
        items, offset = [], self.offset
        for number, line in enumerate(io.BytesIO(self.data), start=self.line):
            items.append(_read_line(self.path, number, offset, line))
            offset += len(line)
        return items

    def damage(self, index: int, reason: str) -> Damage:
        """The ``index``-th line (from 0) as one that can't be used, for a reason that only its reader knows."""
        before = sum(len(line) for line in islice(io.BytesIO(self.data), index))
        return Damage(self.path, self.line + index, self.offset + before, reason)


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
    """The blocks of a segment that no longer match their checksums."""
    sums = path.with_suffix(".sums")
    if not sums.exists():
        return []
    found = []
    with opened(path) as file:
        for number, line in enumerate(sums.read_bytes().splitlines(), start=1):
            try:
                block = msgspec.json.decode(line, type=Sum)
            except msgspec.DecodeError:
                found.append(Damage(sums, number, 0, "a checksum that can't be read"))
                continue
            file.seek(block.start)
            if f"{zlib.crc32(file.read(block.to - block.start)):08x}" != block.crc32:
                found.append(
                    Damage(path, 0, block.start, f"bytes {block.start} to {block.to} do not match their checksum")
                )
    return found


def has_ended(writer_folder: Path) -> bool:
    """Whether the writer wrote its end; a look at the last events alone."""
    for path in reversed(segments(writer_folder)):
        with opened(path) as file:
            file.seek(max(0, size(path) - TAIL_BYTES))
            tail = file.read()
        if b'\n{"kind":"run.end"' in b"\n" + tail:
            return True
    return False


def header(writer_folder: Path) -> RunStart | None:
    """What a writer said of itself first; None where that can't be read."""
    for path in segments(writer_folder)[:1]:
        for item in read(path):
            return item if isinstance(item, RunStart) else None
    return None
