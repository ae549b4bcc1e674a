"""Values that are still on a device when they are logged: read when they have arrived, without making anybody wait.

Reading a number from an accelerator stops the thread that asks until all earlier work there is done. So the copy is
only asked for, with the work that makes the number, and the point is written a few hundredths of a second after it has
come, dated when it was logged.

How a copy is asked for is a framework's own affair. The entry-point group ``tachograph.devices`` names a function for
the package that a value's type is from: given the value, it gives a :class:`Copy`, or None for a value on the host.
"""

from __future__ import annotations

import importlib
import os
import threading
import time
from collections import deque
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, Protocol

import msgspec

from tachograph import events, guard
from tachograph.events import Metrics

if TYPE_CHECKING:
    from tachograph.run import Run

GROUP = "tachograph.devices"
PERIOD = 0.05  # seconds between looks; each takes the interpreter away from the training for some microseconds
SETTLE = 30.0  # seconds that the end of a run waits for a device

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
        return all(copy.ready() for copy in self.copies.values())

    def complete(self) -> Metrics:
        """The event with its values."""
        for name, copy in self.copies.items():
            self.event.values[name] = events.written_number(copy.value())
        return self.event


def start(points: Any) -> tuple[Any, dict[str, Copy]]:
    """``points`` without those on a device, and these as copies."""
    if not isinstance(points, Mapping):
        return points, {}
    copies = {}
    for name, value in points.items():
        ask = _asking(type(value))
        copy = ask(value) if ask is not None else None
        if copy is not None and isinstance(name, str) and name:
            copies[name] = copy
    return ({name: value for name, value in points.items() if name not in copies} if copies else points), copies


_known: dict[type, Start | None] = {}


def _asking(kind: type) -> Start | None:
    if kind not in _known:
        _known[kind] = _find(kind)
    return _known[kind]


def _find(kind: type) -> Start | None:
    from tachograph.plugin import _entry_points

    packages = {base.__module__.partition(".")[0] for base in kind.__mro__} - {"builtins"}
    if not packages:
        return None
    for name, target in _entry_points(GROUP):
        if name in packages:
            module, _, function = target.partition(":")
            found: Start = getattr(importlib.import_module(module), function)
            return found
    return None


class Waiting:
    """The points that wait, in the order in which they were logged, and the thread that looks after them."""

    def __init__(self) -> None:
        self._points: deque[Late] = deque()
        self._lock = threading.Lock()  # one at a time takes points out, so that they are written in their order
        self._thread: threading.Thread | None = None
        self._wake = threading.Event()

    def add(self, run: Run, step: int, copies: dict[str, Copy], beside: Metrics | None = None) -> None:
        """Write the points ``copies`` of ``step`` to ``run`` when they have arrived, with those ``beside`` them."""
        self._points.append(Late(run, beside or Metrics(0, 0, time.time(), step, {}), copies))
        if self._thread is None:
            self._thread = threading.Thread(target=self._look, name="tachograph-late", daemon=True)
            self._thread.start()
        if not self._wake.is_set():
            self._wake.set()

    def settle(self, run: Run, timeout: float = SETTLE) -> None:
        """Wait for the points of ``run``, for a bounded time."""
        until = time.monotonic() + timeout
        self._write_ready()
        while any(late.run is run for late in list(self._points)):
            if time.monotonic() > until:
                run._remark("the last values from a device did not arrive in time and were not recorded")
                return
            time.sleep(0.001)
            self._write_ready()

    def _look(self) -> None:
        guard.untimed_thread()
        while True:
            self._wake.wait()
            time.sleep(PERIOD)
            self._write_ready()
            self._wake.clear()
            if self._points:
                self._wake.set()

    def _write_ready(self) -> None:
        with self._lock:
            while self._points and self._points[0].ready():
                run, ready = self._points[0].run, []
                while self._points and self._points[0].run is run and self._points[0].ready():
                    ready.append(self._points.popleft().complete())
                with guard.contained("values from a device", run):
                    run._journal.append_all(ready)

    def _forked(self) -> None:
        self.__init__()  # type: ignore[misc]  # the parent's thread writes what it logged


waiting = Waiting()
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=waiting._forked)
