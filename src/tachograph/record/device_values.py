"""Values that are still on a device when they are logged: read when they have arrived, without making anybody wait.

Reading a number from an accelerator stops the thread that asks until all earlier work there is done. So the copy is
only asked for, with the work that makes the number, and the point is written a few hundredths of a second after it has
come, dated when it was logged.

How a copy is asked for is a framework's own affair. The entry-point group ``tachograph.devices`` names a function for
the package that a value's type is from: given the value, it gives a :class:`Copy`, or None for a value on the host.
"""

from __future__ import annotations

import functools
import importlib
import threading
import time
from collections import deque
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, Protocol

import msgspec

from tachograph import events, guard
from tachograph.events import Metrics
from tachograph.runtime import forks
from tachograph.runtime.wake import Wake

if TYPE_CHECKING:
    from tachograph.record.run import Run

GROUP = "tachograph.devices"
PERIOD = 0.05  # seconds between looks; each takes the interpreter away from the training for some microseconds
SETTLE = 30.0  # seconds that the end of a run waits for a device
_ON_THE_HOST = {"builtins", "numpy"}

Start = Callable[[Any], "Copy | None"]


class Copy(Protocol):
    """A number on its way to the host."""

    def ready(self) -> bool:
        """Whether it has arrived."""

    def value(self) -> float:
        """The number, once it is ready; it is asked for once."""


class Late(msgspec.Struct, eq=False):
    """Points that wait for their values."""

    run: Run
    event: Metrics
    copies: dict[str, Copy]

    def ready(self) -> bool:
        return all(map(_has_arrived, self.copies.values()))

    def complete(self) -> list[str]:
        """Put the values into the event; a complaint for each that can't be read."""
        complaints = []
        for name, copy in self.copies.items():
            try:
                self.event.values[name] = events.written_number(copy.value())
            except guard.FAULTS as error:
                complaints.append(_unread(name, error))
        return complaints


def _has_arrived(copy: Copy) -> bool:
    """Whether there is something to read, which may be what is wrong with it."""
    try:
        return copy.ready()
    except guard.FAULTS:
        return True


def _unread(name: object, error: Exception) -> str:
    shown = guard.shown(error).partition("\n")[0]
    return f"metric {guard.shown(name)[:80]!r} can't be read from its device ({shown[:200]}): it was not recorded"


def start(points: Any) -> tuple[Any, dict[str, Copy], list[str]]:
    """``points`` without those on a device, these as copies, and a complaint for each that can't be copied."""
    if not isinstance(points, Mapping):
        return points, {}, []
    rest, copies, complaints = {}, {}, []
    for name, value in points.items():
        ask = _asking(type(value))
        try:
            copy = ask(value) if ask is not None else None
        except guard.FAULTS as error:
            complaints.append(_unread(name, error))
            continue
        if copy is not None and isinstance(name, str) and name:
            copies[name] = copy
        else:
            rest[name] = value
    return rest, copies, complaints


_known: dict[type, Start | None] = {}


def _asking(kind: type) -> Start | None:
    if kind not in _known:
        _known[kind] = _find(kind)
    return _known[kind]


def _find(kind: type) -> Start | None:
    packages = {base.__module__.partition(".")[0] for base in kind.__mro__} - _ON_THE_HOST
    for name in sorted(packages & _targets().keys() if packages else ()):
        module, _, function = _targets()[name].partition(":")
        start_copy: Start = getattr(importlib.import_module(module), function)
        return start_copy
    return None


@functools.cache
def _targets() -> dict[str, str]:
    """The functions that ask for copies, by package; looked up once, as that reads a file of each distribution."""
    from tachograph.runtime.entry_points import entry_points

    return dict(entry_points(GROUP))


class Waiting:
    """The points that wait, in the order in which they were logged, and the thread that looks after them.

    One thread at a time takes points out and writes them, so that they are written in their order. Nobody waits for
    that by a lock: who is at it may be waiting to append, and that for a thread in whose signal handler a run ends.
    """

    def __init__(self) -> None:
        self.reset()

    def reset(self) -> None:
        """Begin anew, as a forked child does."""
        self._points: deque[Late] = deque()
        self._writer = 0  # the thread that is at it
        self._writing: Run | None = None
        self._thread: threading.Thread | None = None
        self._wake = Wake()

    def add(self, run: Run, step: int, copies: dict[str, Copy], beside: Metrics | None = None) -> None:
        """Write the points ``copies`` of ``step`` to ``run`` when they have arrived, with those ``beside`` them."""
        self._points.append(Late(run, beside or Metrics(0, 0, time.time(), step, {}), copies))
        if self._thread is None:
            self._start()
        self._wake.wake()

    def settle(self, run: Run, timeout: float = SETTLE) -> None:
        """Wait for the points of ``run``, for a bounded time."""
        until = time.monotonic() + timeout
        while any(late.run is run for late in self._points.copy()) or self._writer:
            if self._write_ready():
                pause = 0.0
            elif self._waits_for_us():
                return  # they are written, but not before we are done
            else:
                pause = 0.001
            if time.monotonic() > until:
                run.recorder.remark("the last values from a device did not arrive in time and were not recorded")
                return
            time.sleep(pause)

    def _waits_for_us(self) -> bool:
        """Whether who writes can't go on before this thread does: we are in a signal handler on top of it, or of what
        it waits for."""
        writing = self._writing
        return self._writer == threading.get_ident() or (writing is not None and writing._journal.is_ours())

    def _start(self) -> None:
        thread = threading.Thread(target=self._look, name="tachograph-late", daemon=True)
        if self._thread is None:  # a signal handler may have come first
            self._thread = thread
            try:
                thread.start()
            except RuntimeError:  # the interpreter is shutting down: they are written when their run ends
                self._thread = None

    def _look(self) -> None:
        guard.untimed_thread()
        try:
            while True:
                self._wake.wait(0 if self._points else -1)
                time.sleep(PERIOD)
                self._write_ready()
        finally:  # in strict mode a fault ends it
            self._thread = None

    def _write_ready(self) -> bool:
        """Write what has arrived, up to the first that has not; False where somebody is at it, or nothing came."""
        me = threading.get_ident()
        if self._writer:
            return False
        self._writer = me  # no call is made between the two
        try:
            count = len(self._points)
            while self._points and self._points[0].ready():
                self._write_next()
            return len(self._points) < count
        finally:
            self._writer, self._writing = 0, None

    def _write_next(self) -> None:
        """Write the first points that are of one run and have arrived."""
        self._writing = run = self._points[0].run
        with guard.contained("values from a device", run):
            arrived, complaints = [], []
            while self._points and self._points[0].run is run and self._points[0].ready():
                late = self._points.popleft()
                complaints += late.complete()
                arrived.append(late.event)
            run._journal.append_all([event for event in arrived if event.values])
            run.recorder.complain(complaints)


waiting = Waiting()
forks.in_child("device values", waiting.reset)  # the parent's thread writes what it logged
