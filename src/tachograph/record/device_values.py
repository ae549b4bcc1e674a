"""Values that are still on a device when they are logged: copied to the host without making the training wait.

Reading a number from an accelerator stops the reading thread until all earlier work there is done. So a copy is only
queued, behind the work that makes the number. The point is written a few hundredths of a second after the copy has
arrived, with the time at which it was logged.

How a copy is queued depends on the framework. The entry-point group ``tachograph.devices`` names a function for the
package that a value's type is from: called with the value, it returns a :class:`Copy`, or None for a value on the host.
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
LONGEST_WAIT = 30.0  # seconds that the end of a run waits for a device
_ON_THE_HOST = {"builtins", "numpy"}

Start = Callable[[Any], "Copy | None"]


class Copy(Protocol):
    """A number on its way to the host."""

    def ready(self) -> bool:
        """Whether it has arrived."""

    def value(self) -> float:
        """The number, once it is ready; it is asked for once."""


class Pending(msgspec.Struct, eq=False):
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
    """Whether there is something to read; what is wrong with a copy shows when it is read."""
    try:
        return copy.ready()
    except guard.FAULTS:
        return True


def _unread(name: object, error: Exception) -> str:
    shown = guard.shown(error).partition("\n")[0]
    return f"metric {guard.shown(name)[:80]!r} can't be read from its device ({shown[:200]}): it was not recorded"


def start(points: Any) -> tuple[Any, dict[str, Copy], list[str]]:
    """The points on the host, copies of those on a device, and a complaint for each that can't be copied."""
    if not isinstance(points, Mapping):
        return points, {}, []
    rest, copies, complaints = {}, {}, []
    for name, value in points.items():
        start_copy = _starter(type(value))
        try:
            copy = start_copy(value) if start_copy is not None else None
        except guard.FAULTS as error:
            complaints.append(_unread(name, error))
            continue
        if copy is not None and isinstance(name, str) and name:
            copies[name] = copy
        else:
            rest[name] = value
    return rest, copies, complaints


_starters: dict[type, Start | None] = {}


def _starter(kind: type) -> Start | None:
    """What asks for copies of values of this type; None where they are on the host."""
    if kind not in _starters:
        _starters[kind] = _find(kind)
    return _starters[kind]


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
    """The points that wait, in the order in which they were logged, and the thread that writes them when they arrive.

    One thread at a time takes points out and writes them, so that they are written in their order. There is no lock to
    wait for: the thread that writes may itself wait to append, for a thread in whose signal handler a run ends.
    """

    def __init__(self) -> None:
        self.reset()

    def reset(self) -> None:
        """Begin anew, as a forked child does."""
        self._points: deque[Pending] = deque()
        self._writer = 0  # the thread that is writing
        self._writing: Run | None = None  # the run that it writes to
        self._thread: threading.Thread | None = None
        self._wake = Wake()

    def add(self, run: Run, step: int, copies: dict[str, Copy], beside: Metrics | None = None) -> None:
        """Write the points ``copies`` of ``step`` to ``run`` when they have arrived, with those ``beside`` them."""
        self._points.append(Pending(run, beside or Metrics(0, 0, time.time(), step, {}), copies))
        if self._thread is None:
            self._start()
        self._wake.wake()

    def wait_for(self, run: Run, timeout: float = LONGEST_WAIT) -> None:
        """Wait for the points of ``run``, for a bounded time."""
        until = time.monotonic() + timeout
        while any(pending.run is run for pending in self._points.copy()) or self._writer:
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
        """Whether the thread that writes can't go on before this one does: this is a signal handler on top of that
        thread, or of the one that it waits for."""
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
        """Write what has arrived, up to the first that has not; False if another thread does, or nothing arrived."""
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
                pending = self._points.popleft()
                complaints += pending.complete()
                arrived.append(pending.event)
            run._journal.append_all([event for event in arrived if event.values])
            run.recorder.complain(complaints)


waiting = Waiting()
forks.in_child("device values", waiting.reset)  # the parent's thread writes what it logged
