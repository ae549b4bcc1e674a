"""Calls of ``partial_fit`` on one object: steps of one run.

Each call is noted with the time it took. What takes longer than that (parameters, training metrics, curves, the model)
is recorded after the calls 1, 2, 4, 8 ..., as long as it takes no more than a thirtieth of their time, and for the last
one: at the end of the cell or of the process, before another object's first call, and before this process reads what it
has recorded. Only the latest model is kept. As long as a call is not on record in full, the run is tagged
``partial_fit=going on``: where a process was killed in between, the model's step tells from which call it is.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from typing import TypeAlias

from tachograph import cells, ending, guard
from tachograph.events import Release
from tachograph.patch import Call
from tachograph.run import Run

ALWAYS_SECONDS = 0.01
SHARE = 0.03

Conclude: TypeAlias = Callable[["Series", Call, float, int], None]

_behind: dict[int, Series] = {}


class Series:
    """The calls on one object. ``conclude`` records one in full."""

    def __init__(self, run: Run, conclude: Conclude) -> None:
        self.run = run
        self.calls = 0
        self.points: dict[str, int] = {}  # how far each curve was recorded
        self._model: str | None = None
        self._conclude = conclude
        self._fitted = self._spent = self._cost = 0.0
        self._last: tuple[Call, float] | None = None

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
        if due and self._spent + self._cost <= max(ALWAYS_SECONDS, SHARE * self._fitted):
            self.settle()

    def settle(self, error: BaseException | None = None) -> None:
        """Record the last call in full."""
        last, self._last = self._last, None
        _behind.pop(id(self), None)
        if last is None:
            return
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
            self.run._journal.append(Release(digests=[str(self._model)], reason="a later call of partial_fit"))
        self._model = digest or self._model

    def _note(self, seconds: float) -> None:
        self.run.log({"fit_seconds": seconds}, step=self.calls)
        self.calls += 1
        self._fitted += seconds

    def _record(self, call: Call, seconds: float) -> None:
        started = time.perf_counter()
        with guard.timed(self.run):
            self._conclude(self, call, seconds, self.calls - 1)
        self._cost = time.perf_counter() - started
        self._spent += self._cost

    def _fall_behind(self) -> None:
        _behind[id(self)] = self
        ending.put_off(catch_up)
        cells.at_end(catch_up)
        if self.run.ended:
            self.run._journal.reopen()
        else:
            self.run._before_end(self.settle)
        self.run.set_tags({"partial_fit": "going on"})


def catch_up(error: BaseException | None = None) -> None:
    """Record in full what was not yet."""
    for series in list(_behind.values()):
        with guard.contained("sklearn: partial_fit", series.run):
            series.settle()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_behind.clear)  # the parent does that
