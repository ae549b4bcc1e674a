"""Trainings that are known only through callbacks: which run takes a training's curve, and when that run ends.

A framework calls its callbacks when a training begins, at its steps and at its end, but not at an exception. So a run
that was opened for a training may be left open; it is ended where the next training of the framework begins.
"""

from __future__ import annotations

import weakref
from collections.abc import Callable
from typing import Any, Generic, Protocol, TypeVar

from tachograph import settings
from tachograph.hooks import session
from tachograph.hooks.session import Session
from tachograph.record import open_runs
from tachograph.record.run import Run


class Recorded(Protocol):
    """What records a training."""

    run: Run


Recording = TypeVar("Recording", bound=Recorded)
ABANDONED = "the training was ended by an exception"


class Curve:
    """The curve of one training, while that lasts. ``run`` takes its points; it is None in the ranks of a job that
    leave them to rank 0.

    ``session`` is the training call in which it lies, or one of its own where it lies in none (``is_own``).
    """

    def __init__(self, session: Session, is_own: bool) -> None:
        self.session, self.is_own = session, is_own
        self.run: Run | None = session.run

    def end(self, error: BaseException | None = None) -> None:
        """The training is over: a run that was opened for it ends as it did."""
        if self.is_own:
            self.session.end(error)

    def abandon(self) -> None:
        """Nobody has seen how the training ended: it can only have been by an exception."""
        if self.is_own and self.session.owned is not None:
            self.session.owned.finish("failed", ABANDONED)


class Trainings(Generic[Recording]):
    """The trainings of one framework that are recorded, each by its model.

    ``goes_on(model, recording)`` says whether a training that was not seen to end is running still. In the session of
    a training of its own the hooks of the plug-ins in ``silences`` do not listen.
    """

    def __init__(self, plugin: str, goes_on: Callable[[Any, Recording], bool], silences: tuple[str, ...] = ()) -> None:
        self.plugin, self.silences, self._goes_on = plugin, silences, goes_on
        self._recordings: weakref.WeakKeyDictionary[Any, Recording] = weakref.WeakKeyDictionary()

    def claim(self, name: str, records: Callable[[], bool] = lambda: True) -> Curve | None:
        """The curve of a training that begins here; None where it is claimed already, or nothing is to be recorded.

        In a session the first training has it. Outside of one it goes to the user's run, or to one of its own, which
        is called ``name``; where ``records()`` is false, to none.
        """
        around = session.current()
        if around is None:
            if settings.off():
                return None
            self.end_left()
            return Curve(session.begin(self.plugin, name, records(), False, self.silences), is_own=True)
        if around.run is None or around.many or "curve" in around.claimed:
            return None
        around.claimed.add("curve")
        return Curve(around, is_own=False)

    def begin(self, model: Any, recording: Recording) -> None:
        """``model`` is in training from now on, recorded by ``recording``."""
        self._recordings[model] = recording

    def of(self, model: Any) -> Recording | None:
        """The recording of the training that ``model`` is in."""
        return None if model is None else self._recordings.get(model)

    def end(self, model: Any) -> None:
        """``model`` is not in training any more."""
        self._recordings.pop(model, None)

    def end_left(self) -> None:
        """End the run that was left open here by an exception in its training, if there is one."""
        run = open_runs.here()
        if run is None or run.opener != self.plugin or session.current() is not None:
            return
        recorded = [(model, recording) for model, recording in list(self._recordings.items()) if recording.run is run]
        if not any(self._goes_on(model, recording) for model, recording in recorded):
            run.finish("failed", ABANDONED)
