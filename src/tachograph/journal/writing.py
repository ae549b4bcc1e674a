"""Appends events. Neither threads nor signal handlers mix up their lines, or wait for each other for ever."""

from __future__ import annotations

import errno
import os
import sys
import threading
import time
import zlib
from bisect import insort
from collections import deque
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from time import time as _now
from types import FrameType
from typing import Any, ParamSpec, TypeVar

import msgspec

from tachograph import events, guard
from tachograph.events import Event, Metrics, Note, encode, sequence_number
from tachograph.journal import changes
from tachograph.journal.reading import Checksum
from tachograph.journal.steps import StepCounts
from tachograph.runtime import plain_files
from tachograph.runtime.background import background

P = ParamSpec("P")
R = TypeVar("R")
Pending = tuple[int, bytes, int]  # its number, the line, how much of it is in the file already

SEGMENT_BYTES = 64 << 20
PENDING_BYTES = 16 << 20
RETRY_SECONDS = 0.1
_LEAST, _MOST = -(1 << 62), 1 << 62  # beyond these whole numbers are left to the careful way

# Whether taking a thing out of an attribute is one step that no other thread comes into.
_SWAPS = bool(getattr(sys, "_is_gil_enabled", lambda: True)())
_write = os.write
_encode_into = msgspec.json.Encoder().encode_into
_encode_lines = msgspec.json.Encoder().encode_lines
_FLAGS = os.O_WRONLY | os.O_CREAT | os.O_APPEND | getattr(os, "O_CLOEXEC", 0) | getattr(os, "O_BINARY", 0)


class Journal:
    """Appends one writer's events. Safe to use from several threads, and from a signal handler at any instruction.

    ``header`` makes the writer's first event. It goes out before the first append, and again if the folder was
    deleted and had to be made anew. ``unusual`` records points that ``log`` doesn't take as they are.

    One thing says who may append: the buffer. ``log`` takes it out for as long as it appends. Everybody else comes
    through :meth:`alone`: they take turns, by a lock, to wait for the buffer, and keep it while they append. Two rules
    make that safe for a signal handler, which comes on top of whatever its thread is doing and must not wait for it:
    a thread that has the buffer already, further down its stack, appends without waiting for anything; and who has it
    waits for nothing but the disk.
    """

    def __init__(self, folder: Path, header: Callable[[], Event], unusual: Callable[[Any, Any], None]) -> None:
        self.folder = folder
        self.unusual = unusual
        self.steps = StepCounts()
        self._cells = self.steps.cells
        self._header = header
        self._turn = threading.RLock()  # to wait for the buffer; reentrant, since a handler may come while we wait
        self._buffer: bytearray | None = None  # ``log`` takes it out while it appends; there from the header on
        self._kept: bytearray | None = bytearray(512)  # the same one, while it is not there for ``log``
        self._owner = 0  # the thread that has it by ``alone``
        self._putting = False
        self._wanted = False  # by a thread that waits for it
        self._seq = 0
        self.careful = 0  # how many events did not take the way of ``log``
        self._fd = -1  # open, healthy and not closed; or -1, and then appending takes the careful way
        self._file = -1
        self._first = 0
        self._headed = False
        self._closed = False
        self._pending: deque[Pending] = deque()
        self._pending_bytes = 0
        self._top = 0  # the highest number in the file that did not get there by ``log``
        self._lost = 0
        self._draining = False
        self._retry_at = 0.0
        self._unsynced: list[int] = []  # segments that are sealed but not synced to their end
        self._sync_lock = threading.RLock()  # who has it waits for the disk alone
        self._synced: tuple[int, int] = (0, 0)  # segment, bytes

    # -- appending: what a training thread does --

    def append(self, event: Event) -> None:
        """Number ``event``, date it where it has no date, and write it."""
        self.append_all([event])

    def append_all(self, events: Sequence[Event]) -> None:
        """:meth:`append` for several, with nothing else in between."""
        self.alone(self._append, events)

    def log(self, values: dict[str, float], step: int | None = None) -> None:
        """:meth:`append` for points, written out in one function, since here a tenth of a microsecond counts.

        Takes a dict of finite Python floats and ints as it is. Anything else, and any fault, is handed to ``unusual``,
        which may take its time. Without ``step`` each name counts for itself, from 0.
        """
        buffer = None
        try:
            # No call is made between these two steps, so no thread and no signal handler comes in between.
            buffer, self._buffer = self._buffer, None
            if buffer is None:
                raise ValueError
            for value in values.values():
                if type(value) is float:
                    if value - value != 0.0:
                        raise ValueError
                elif type(value) is not int or not _LEAST < value < _MOST:
                    raise ValueError
            if step is None:
                cell = self._cells[tuple(values)]
                count = cell[0]
                if count < 0:
                    count = self.steps.take_one(tuple(values))
                else:
                    cell[0] = count + 1
                step = count
            elif type(step) is not int or not _LEAST < step < _MOST or "" in values:
                raise ValueError
            seq = self._seq + 1
            _encode_into(Metrics(1, seq, _now(), step, values), buffer)  # type: ignore[arg-type]
            buffer.append(10)
            if self._seq != seq - 1:  # a signal handler took this number; from here to the write it can't come in
                raise ValueError
            self._seq = seq
            fd = self._fd  # a handler that comes after a write that failed may set it anew
            try:
                written = _write(fd, buffer)
            except OSError as error:
                self._trouble(bytes(buffer), 0, error if fd >= 0 else None)
                if self._wanted:
                    self._kept, buffer = buffer, None
            else:
                if written != len(buffer):
                    self._trouble(bytes(buffer), written)
            return
        except guard.FAULTS:
            pass  # not here, with the buffer in hand: whoever shows its warnings may take locks of their own
        finally:
            if buffer is not None:
                self._buffer, buffer = buffer, None
        self.unusual(values, step)

    def alone(self, work: Callable[P, R], *args: P.args, **kwargs: P.kwargs) -> R:
        """Do ``work`` while no other thread appends, and ``log`` takes the careful way.

        That costs ``log`` no lock: who wants to be alone waits until the buffer is back, and keeps it. Works within
        itself, also for a signal handler or a finalizer that comes while its own thread is appending.
        """
        if self.is_ours():
            return work(*args, **kwargs)
        with self._turn:
            try:
                self._take_buffer()
                return work(*args, **kwargs)
            finally:
                # No call is made here, so that nothing comes in between: not even an exception from a signal handler.
                self._owner = 0
                if self._kept is not None and self._headed and _SWAPS:
                    self._buffer, self._kept = self._kept, None

    def is_ours(self) -> bool:
        """Whether this thread has the buffer, further down its stack: then we are in a signal handler or a finalizer
        that came while it was appending, and no other thread can append, or sync, before we are done."""
        if self._owner == threading.get_ident():
            return True
        return self._buffer is None and self._kept is None and self._logging_below()

    def _take_buffer(self) -> None:
        """Wait for the buffer. A handler that comes meanwhile may take it and give it back."""
        me, pause = threading.get_ident(), 10e-6
        while True:
            # No call is made from here on to the return, so that taking it and saying who has it is one step.
            if self._kept is None:
                self._kept, self._buffer = self._buffer, None
            if self._kept is not None:
                self._owner, self._wanted = me, False
                return
            # A thread that logs and logs gives way to others while it writes, with the buffer in its hand: we could
            # wait for long. Without a file its ``log`` takes the careful way, which hands us the buffer.
            self._wanted, self._fd = True, -1
            time.sleep(pause)
            pause = min(2 * pause, 1e-3)

    def _logging_below(self) -> bool:
        """Whether a call of ``log`` that has the buffer is on the stack of this thread."""
        frame: FrameType | None = sys._getframe()
        while frame is not None:
            if frame.f_code is _LOG and frame.f_locals["self"] is self and frame.f_locals.get("buffer") is not None:
                return True
            frame = frame.f_back
        return False

    def begin(self) -> None:
        """Open the file and write the header now, not with the first event."""
        self.alone(self._append, [])

    def close(self) -> None:
        """Close the file. An event that is appended later still gets there: the file is opened and closed again for
        it."""
        self.alone(self._shut)

    def _shut(self) -> None:
        self._drain(insist=True)
        self._closed = True
        self._close_file()

    def reopen(self) -> None:
        """Keep the file open again between events."""
        self._closed = False

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

    def _append(self, events: Sequence[Event]) -> None:
        if not self._headed:
            self._put([], headed=False)
        if events:
            self._put(events)

    def _put(self, events: Sequence[Event], headed: bool = True) -> None:
        lines = self._numbered(events, headed)
        if not lines:  # a signal handler has written the header
            return
        before, self._putting = self._putting, True
        if before or self._kept is None:  # another append of this thread, interrupted, may have written half a line
            lines = b"\n" + lines
        seq, fd = self._seq, self._fd
        try:
            written = os.write(fd, lines)
        except OSError as error:
            self._trouble(lines, 0, error if fd >= 0 else None)
        else:
            if written != len(lines):
                self._trouble(lines, written)
            else:
                self._top = max(self._top, seq)
        finally:
            self._putting = before

    def _numbered(self, coming: Sequence[Event], headed: bool = True) -> bytes:
        """Events as the next lines, after the header where it is not there and is to come first.

        Numbers are taken last, with no call and no new object from there to the write, so that a signal handler (or a
        finalizer) that logs while its own thread is in here takes others, and is written in its place."""
        while True:
            seq = before = self._seq
            whole = coming if headed or self._headed else [self._header(), *coming]
            for event in whole:
                seq += 1
                event.v, event.seq, event.at = events.VERSION, seq, event.at or _now()
            lines = _encoded(whole)
            if self._seq == before:
                self._seq = seq
                self._headed |= not headed
                self.careful += seq - before
                return lines

    # -- trouble: what the disk did not take --

    def _trouble(self, lines: bytes, written: int, error: OSError | None = None) -> None:
        self._fd = -1
        for line in _split_lines(lines):
            if written < len(line):
                self._hold(line, written)
            else:
                self._top = max(self._top, sequence_number(line))
            written = max(0, written - len(line))
        if error is not None and error.errno != errno.EFBIG:
            self._refused(error)
        self._drain()

    def _hold(self, line: bytes, written: int = 0) -> None:
        if self._pending and self._pending_bytes + len(line) > PENDING_BYTES:
            self._lost += 1
            return
        held: Pending = (sequence_number(line), line, written)
        if self._overtaken(held):
            held = self._renewed(line)
        # In order of their numbers, by one call: a signal handler's line may come before or after, but not in between.
        insort(self._pending, held)
        size = len(held[1])  # a call, after which a handler may come: not in the middle of the sum
        self._pending_bytes += size

    def _overtaken(self, held: Pending) -> bool:
        """Whether a signal handler had its own line written, after this one was refused and before it was held."""
        return held[0] < self._top

    def _renewed(self, line: bytes) -> Pending:
        """An overtaken line with a new number: readers take a lower one than the last for a line that came again."""
        line = self._numbered([events.decode(line)])
        return (sequence_number(line), line, 0)

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
        seq, line, written = self._pending[0]
        if self._overtaken(self._pending[0]):
            self._pending[0] = self._renewed(line)
            longer = len(self._pending[0][1]) - len(line)
            self._pending_bytes += longer
            self._pending.rotate(-1)
            return
        try:
            written += os.write(self._file, line[written:])
        except OSError as error:
            if error.errno != errno.EFBIG or self._first >= seq:
                raise
            self._next_segment()
            return
        if written < len(line):
            self._pending[0] = (seq, line, written)
            return
        self._top = max(self._top, seq)
        self._pending.popleft()
        size = len(line)
        self._pending_bytes -= size

    def _report_of_loss(self) -> bytes:
        lost, self._lost = self._lost, 0
        return self._numbered([Note(text=f"{lost} events were lost while the disk took none", source="tachograph")])

    # -- files --

    def _open(self) -> None:
        is_old = changes.make_folder(self.folder)
        first = self._first or self._pending[0][0]
        self._file = plain_files.descriptor(self.folder / f"{first}.jsonl", _FLAGS)
        self._first = first
        if is_old:
            changes.announce(self.folder)

    def _close_file(self) -> None:
        # First it is nobody's: what a signal handler wrote to a file that is closed could land in another one.
        file, self._file, self._fd = self._file, -1, -1
        if file >= 0:
            os.close(file)

    def _next_segment(self) -> None:
        """Go on in a new file. A line that was begun in the old one is taken back there and written whole here."""
        if self._pending and self._pending[0][2]:
            seq, line, written = self._pending[0]
            os.ftruncate(self._file, os.fstat(self._file).st_size - written)
            self._pending[0] = (seq, line, 0)
        self._close_file()
        self._unsynced.append(self._first)
        self._first = 0

    # -- syncing: the background thread --

    def sync(self) -> None:
        """Force what was appended to disk and write its checksum. Appending goes on meanwhile."""
        segments = self.alone(self._to_sync)
        try:
            with self._sync_lock:
                for first in segments:
                    self._sync_segment(first)
        except FileNotFoundError:
            self.alone(self._start_anew)
        except OSError as error:
            guard.warn(f"journal:{error.errno}", f"cannot sync {self.folder} ({error.strerror}); recording goes on")
        if self._synced[1] > SEGMENT_BYTES:
            self.alone(self._seal, self._synced[0])

    def _to_sync(self) -> list[int]:
        if self._pending or self._lost:
            self._drain(insist=True)  # this comes once a second, and at the end
        # A line that is written in part may yet be taken back.
        whole = not (self._pending and self._pending[0][2])
        segments = [*self._unsynced, *([self._first] if self._first and whole else [])]
        self._unsynced.clear()
        return segments

    def _sync_segment(self, first: int) -> None:
        start = self._synced[1] if self._synced[0] == first else 0
        path = self.folder / f"{first}.jsonl"
        fd = plain_files.descriptor(path, os.O_RDWR)
        try:
            to = os.fstat(fd).st_size
            if to == start:
                return
            os.fsync(fd)
            crc = _crc(fd, start, to)
        finally:
            os.close(fd)
        line = encode(Checksum(start, to, f"{crc:08x}")) + b"\n"
        sums = plain_files.descriptor(path.with_suffix(".sums"), _FLAGS)
        try:
            os.write(sums, line)
        finally:
            os.close(sums)
        self._synced = (first, to)

    def _seal(self, first: int) -> None:
        if self._first == first and not self._pending:
            self._next_segment()

    def _start_anew(self) -> None:
        """Begin a new folder: somebody deleted ours while we wrote. What comes from now on is still recorded."""
        self._close_file()
        self._first = 0
        self._headed = False  # so that the next points take the way that writes the header first


_LOG = Journal.log.__code__


def _encoded(coming: Sequence[Event]) -> bytes:
    """Events as lines; what can't be written as UTF-8 (a byte of a file's name, say) is replaced."""
    try:
        return _encode_lines(coming)
    except UnicodeEncodeError:
        return _encode_lines([_writable(msgspec.to_builtins(event)) for event in coming])


def _writable(value: Any) -> Any:
    if isinstance(value, str):
        return value.encode("utf-8", "replace").decode()
    if isinstance(value, dict):
        return {_writable(name): _writable(item) for name, item in value.items()}
    return [_writable(item) for item in value] if isinstance(value, list) else value


def _split_lines(lines: bytes) -> list[bytes]:
    """Each line by itself; a line end that comes first belongs to the first of them."""
    each = lines.splitlines(keepends=True)
    return [each[0] + each[1], *each[2:]] if each[0] == b"\n" else each


def _crc(fd: int, start: int, to: int) -> int:
    crc, os_offset = 0, os.lseek(fd, start, os.SEEK_SET)
    while os_offset < to:
        block = os.read(fd, min(1 << 20, to - os_offset))
        if not block:
            break
        crc = zlib.crc32(block, crc)
        os_offset += len(block)
    return crc
