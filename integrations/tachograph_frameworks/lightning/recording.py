"""The recording of one call of a trainer, while the call lasts."""

from __future__ import annotations

import weakref
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from tachograph.hooks import options
from tachograph.record.run import Run
from tachograph_frameworks.lightning import packages, trainer_hooks
from tachograph_frameworks.lightning.learning_rates import LearningRates
from tachograph_frameworks.lightning.logger import TachographLogger

_recordings: weakref.WeakKeyDictionary[Any, Recording] = weakref.WeakKeyDictionary()  # by the trainer


class Recording:
    """One call of a trainer. ``run`` is None in the processes that leave recording to the first one of their job.

    ``finish`` is what a callback of ours has to do at the end; None where autolog sees to that.
    """

    def __init__(self, run: Run | None, finish: Callable[[BaseException | None], None] | None, described: bool) -> None:
        self.run, self.finish, self.described = run, finish, described
        self.quiet = 0
        self.data: set[str] = set()  # which is on record already
        self.rates: LearningRates | None = None
        self._waiting: tuple[Mapping[str, Any], int] | None = None

    def log_step(self, points: Mapping[str, Any], step: int) -> None:
        """Record what belongs to a single step, together with what waits for it."""
        if self._waiting is not None and self._waiting[1] == step:
            points, self._waiting = {**self._waiting[0], **points}, None
        self.log_waiting()
        self._log(points, step)

    def log_with_step(self, points: Mapping[str, Any], step: int) -> None:
        """Record this together with the metrics of the step, which come at its end: one event takes half the time."""
        self.log_waiting()
        self._waiting = (points, step)

    def log_waiting(self) -> None:
        """Record what waits for the metrics of its step: none will come."""
        waiting, self._waiting = self._waiting, None
        if waiting is not None:
            self._log(*waiting)

    def _log(self, points: Mapping[str, Any], step: int) -> None:
        if self.run is not None and step % options.every_n_steps == 0:
            self.run.log(points, step)

    @contextmanager
    def silenced(self) -> Iterator[None]:
        """Record nothing of what happens inside: a search for a setting, not the training."""
        self.quiet += 1
        try:
            yield
        finally:
            self.quiet -= 1


def begin(
    trainer: Any,
    run: Run | None,
    finish: Callable[[BaseException | None], None] | None = None,
    described: bool = False,
) -> None:
    """Record what ``trainer`` does from now on. ``described``: its settings are on record already."""
    _recordings[trainer] = Recording(run, finish, described)
    if run is None:
        return
    trainer_hooks.hold(packages.name_of(trainer))
    for logger in trainer.loggers:
        if isinstance(logger, TachographLogger):
            logger.follow(run)


def end(trainer: Any) -> Recording | None:
    """End the recording of ``trainer``, which is done or was stopped."""
    recording = _recordings.pop(trainer, None)
    if recording is not None:
        recording.log_waiting()
    if recording is not None and recording.run is not None:
        trainer_hooks.release(packages.name_of(trainer))
    return recording


def begun(trainer: Any) -> Recording | None:
    """The recording of ``trainer``, also in a process that leaves it to another."""
    return _recordings.get(trainer)


def of(trainer: Any) -> Recording | None:
    """The recording that what ``trainer`` does at this moment belongs to; None where that is not wanted."""
    recording = _recordings.get(trainer)
    if recording is None or recording.run is None or recording.quiet or not trainer.is_global_zero:
        return None
    return recording
