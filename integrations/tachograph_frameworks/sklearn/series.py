"""Calls of ``partial_fit`` on one object: steps of one run.

Each call is noted with the time it took, which is written in the background a little later. What takes longer than
that (parameters, training metrics, curves, the model) is recorded after the calls 1, 2, 4, 8 ..., as long as it takes
no more than a hundredth of their time, and for the last one: at the end of the cell or of the process, before another
object's first call, and before this process reads what it has recorded. Only the latest model is kept. As long as a
call is not on record in full, the run is tagged ``partial_fit=going on``: where a process was killed in between, the
model's step tells from which call it is.
"""

from __future__ import annotations

import time
import weakref
from collections import deque
from collections.abc import Callable
from typing import TypeAlias

from tachograph import guard
from tachograph.events import Metrics, Release
from tachograph.hooks import Call, LastOfMany, Session, session
from tachograph.record import open_runs
from tachograph.record.run import Run
from tachograph.runtime import deferred, forks

ALWAYS_SECONDS = 0.005
SHARE = 0.01
LOOK_AGAIN_SECONDS = 0.5
WRITE_SECONDS = 0.1

Conclude: TypeAlias = Callable[["Series", Call, float, int], None]

_all_series: weakref.WeakSet[Series] = weakref.WeakSet()


class Series:
    """The calls on one object. ``conclude`` records one in full."""

    def __init__(self, run: Run, conclude: Conclude) -> None:
        self.run = run
        self.calls = 0
        self.points: dict[str, int] = {}  # how far each curve was recorded
        self._model: str | None = None
        self._conclude = conclude
        self._timed: deque[tuple[float, int, float]] = deque()  # when each call was, its step, its seconds
        self._fit_seconds = self._spent = self._cost = 0.0
        self._last: tuple[Call, float] | None = None
        self._inside = Session("sklearn", None, open=False)
        self._stack: object = None
        self._changes = -1
        self._look_again_at = self._write_at = 0.0
        _all_series.add(self)

    def is_as_before(self) -> bool:
        """Whether nothing has changed since :meth:`look_around`, and no training or ``suppress()`` lasts anywhere."""
        return (
            not session.alive
            and self._stack is open_runs.stack()
            and self._changes == open_runs.changes()
            and time.perf_counter() < self._look_again_at
        )

    def look_around(self) -> None:
        """A call made here now adds to the run; the next ones do too, as long as nothing is seen to change.

        A run that a parent process opens is not seen, so that has to be looked at from time to time.
        """
        self._stack, self._changes = open_runs.stack(), open_runs.changes()
        self._look_again_at = time.perf_counter() + LOOK_AGAIN_SECONDS

    def inside(self) -> Session:
        """A session for a further call: what is trained inside of it is a part of it."""
        return Session("sklearn", None, open=False) if self._inside.open else self._inside  # another thread is in it

    def begin(self, call: Call, seconds: float) -> None:
        """The first call, while its run is open."""
        self._note(seconds)
        self._record(call, seconds)

    def add(self, call: Call, seconds: float) -> None:
        """A further call."""
        if self._last is None:
            self._fall_behind()
        self._last = (call, seconds)
        self._note(seconds)
        due = self.calls & (self.calls - 1) == 0
        if due and self._spent + self._cost <= max(ALWAYS_SECONDS, SHARE * self._fit_seconds):
            self.record_last()

    def record_last(self, error: BaseException | None = None) -> None:
        """Record the last call in full."""
        last, self._last = self._last, None
        LAST_OF_MANY.discard(self)
        if last is None:
            return
        deferred.do_now(self.run)
        self._write()
        reopened = self.run.reopen()
        try:
            self._record(*last)
            self.run.set_tags({"partial_fit": "recorded"})
        finally:
            if reopened:
                self.run.finish()

    def kept(self, digest: str | None) -> None:
        """A model was kept: the one before it is no longer needed."""
        if digest is not None and self._model not in (None, digest):
            self.run.recorder.append(Release(digests=[str(self._model)], reason="a later call of partial_fit"))
        self._model = digest or self._model

    def _note(self, seconds: float) -> None:
        now = time.time()
        self._timed.append((now, self.calls, seconds))
        self.calls += 1
        if not 0 < self._write_at - now < WRITE_SECONDS:  # also where the clock was set back
            self._write_at = now + WRITE_SECONDS
            deferred.record(self._write, self.run, WRITE_SECONDS)
        self._fit_seconds += seconds

    def _write(self) -> None:
        self._write_at = 0.0  # what is noted from now on may come too late for this time
        taken: list[tuple[float, int, float]] = []
        try:
            while self._timed:  # another thread may be at it
                taken.append(self._timed.popleft())
            self.run.recorder.append(*(Metrics(0, 0, at, step, {"fit_seconds": took}) for at, step, took in taken))
        except BaseException:  # from a signal handler
            self._timed.extendleft(reversed(taken))
            raise

    def forked(self) -> None:
        """In a forked child: what is not on record yet is the parent's, and so is its journal."""
        self._timed.clear()
        self._last, self._write_at = None, 0.0
        self._inside.open = False
        if self.run.ended:
            self.run.recorder.forked()

    def _record(self, call: Call, seconds: float) -> None:
        started = time.perf_counter()
        with guard.timed(self.run):
            self._conclude(self, call, seconds, self.calls - 1)
        self._cost = time.perf_counter() - started
        self._spent += self._cost

    def _fall_behind(self) -> None:
        LAST_OF_MANY.add(self)
        self.run.set_tags({"partial_fit": "going on"})


LAST_OF_MANY: LastOfMany[Series] = LastOfMany("sklearn")


def _forked() -> None:
    for series in list(_all_series):
        series.forked()


forks.in_child("plug-ins", _forked)
