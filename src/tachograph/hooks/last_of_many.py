"""Trainings that are steps of one run: what is costly is recorded for the last of them only.

A loop that trains a little at a time (a round of boosting, an epoch, a ``partial_fit``) would pay for a model and its
measures with each. They are recorded for the first one and for the last. Which one is the last shows at the end of the
process, of a pool's task, of a notebook's cell or of the user's run, or when this thread reads what was recorded.
"""

from __future__ import annotations

from typing import Generic, Protocol, TypeVar

from tachograph import guard
from tachograph.record import process_end
from tachograph.record.run import Run
from tachograph.runtime import forks, notebooks
from tachograph.runtime.quiet import quietly


class Series(Protocol):
    """Trainings that are steps of ``run``. ``record_last()`` records the last one in full."""

    run: Run

    def record_last(self) -> None:
        """Record the last training in full, unless that is done."""


Kind = TypeVar("Kind", bound=Series)


class LastOfMany(Generic[Kind]):
    """Series of trainings of which the last one still has to be recorded in full, oldest first.

    Where there are more than ``most`` of them, the oldest is recorded now: each may hold a model. Any thread may call
    this.
    """

    def __init__(self, plugin: str, most: int | None = None) -> None:
        self._plugin, self._most = plugin, most
        self._series: dict[int, Kind] = {}  # by their id
        forks.in_child("plug-ins", self._series.clear)  # the parent does that

    def __contains__(self, series: Kind) -> bool:
        return id(series) in self._series

    def add(self, series: Kind) -> None:
        """Let the newest training of ``series`` be recorded in full if no other one comes after it."""
        if series in self:
            return
        self._series[id(series)] = series
        if series.run.ended:
            series.run.recorder.keep_open()
        elif series.run.opener == "user":
            series.run.recorder.before_end(series.record_last)
        process_end.put_off(self.record_all)
        notebooks.at_end(self.record_all)
        if self._most is not None and len(self._series) > self._most:
            self._record(next(iter(self._series.values())))

    def discard(self, series: Kind) -> None:
        """``series`` is on record in full: forget it."""
        self._series.pop(id(series), None)

    def record_all(self, error: BaseException | None = None) -> None:
        """Record the last one of each."""
        for series in list(self._series.values()):
            self._record(series)

    def _record(self, series: Kind) -> None:
        with guard.contained(f"{self._plugin}: the last training", series.run), quietly():
            series.record_last()
        self.discard(series)
