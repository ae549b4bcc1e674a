"""One training, while it is recorded: a point for each epoch, what its callbacks did, and the model at the end."""

from __future__ import annotations

import sys
import weakref
from collections.abc import Mapping
from types import FrameType
from typing import Any

from tachograph import guard, settings
from tachograph.hooks import Session, options, session
from tachograph.record import open_runs
from tachograph.record.run import Run
from tachograph.runtime import stack_frames
from tachograph_frameworks.keras import describe, facts, models, steps
from tachograph_frameworks.keras.steps import Steps

NAME = "keras"
SILENCES = ("torch",)  # on that back end a plain loop runs inside

_recordings: weakref.WeakKeyDictionary[Any, Recording] = weakref.WeakKeyDictionary()  # by the model in training
_runs: weakref.WeakKeyDictionary[Any, Run] = weakref.WeakKeyDictionary()  # by the model that was trained in them


class Recording:
    """Records the training of one model.

    ``whole`` says that the run is of this model, and not of something larger in which it is trained. ``joined`` are
    the callbacks that autolog has put into the container. ``in_fit`` is false in a loop of the user's own. ``before``
    are the fits that this one is a further step of.
    """

    def __init__(
        self, run: Run, own: Session | None, whole: bool, container: Any, in_fit: bool, before: Steps | None = None
    ) -> None:
        self.run = run
        self._before = before
        self.whole = whole
        self.joined: tuple[Any, ...] = ()
        self.checkpoint: facts.Checkpoint | None = None  # the one that is being written
        self._own = own
        self._container = None if container is None else weakref.ref(container)
        self._rates: dict[str, float] | None = None
        self.last: int | None = None  # the last epoch that was recorded
        self._in_fit = in_fit

    @property
    def container(self) -> Any:
        """The list of callbacks, or None where it isn't known."""
        return None if self._container is None else self._container()

    @property
    def _callbacks(self) -> list[Any]:
        return list(getattr(self.container, "callbacks", ()))

    def started(self, model: Any, params: Mapping[str, Any]) -> None:
        """The model is built, and the other callbacks have prepared it."""
        if not self.whole or self._before is not None:
            return
        with guard.timed(self.run), guard.contained("keras: params", self.run):
            found = {"steps_per_epoch": params.get("steps"), "resumed_epoch": facts.resumed(model, self._callbacks)}
            found = {name: value for name, value in found.items() if value is not None}
            found |= describe.compiled(model) | describe.size(model) | facts.settings(self._callbacks)
            self.run.log_params(found)
        with guard.timed(self.run), guard.contained("keras: summary", self.run):
            models.keep_summary(self.run, model)

    def note_rates(self, model: Any) -> None:
        """Remember the learning rates of the epoch that has ended, before a callback sets those of the next."""
        with guard.contained("keras: learning rate", self.run):
            self._rates = describe.rates(model)

    @guard.shield
    def epoch(self, model: Any, epoch: int, logs: Mapping[str, Any]) -> None:
        """Record an epoch: what Keras shows of it, and the learning rate that was in force.

        Keras has waited for the device to get at ``logs``; reading the rate is no further stall.
        """
        points, others = numbers(logs)
        if self._rates is None:
            self.note_rates(model)
            if self._rates is not None and "learning_rate" in points:
                self._rates["lr"] = points["learning_rate"]  # noted by a callback before it sets the next one
        step = self.step(epoch)
        self.run.log({**points, **(self._rates or {})}, step)
        self._rates, self.last = None, step
        for name in others:
            self.run.recorder.remark(f"{name} was not recorded: it is not a number in the values of an epoch")

    def step(self, epoch: int) -> int:
        """The epoch as it is counted in the run, in which others may have come before."""
        return epoch if self._before is None else max(epoch, self._before.next)

    def end(self, model: Any) -> None:
        """The training is over."""
        try:
            with guard.timed(self.run), guard.contained("keras: callbacks", self.run):
                self._record_outcomes()
            if self.whole and options.models:
                with guard.timed(self.run), guard.contained("keras: model", self.run):
                    self._keep(model)
        finally:
            if not self.joined:  # else the call of ``fit`` takes our callbacks out first
                forget(model)
            if self._own is not None:
                self._own.end(None)

    def _keep(self, model: Any) -> None:
        if self._before is None:
            models.keep(self.run, model)
        else:
            self._before.fitted(model)

    def _record_outcomes(self) -> None:
        points, params = facts.outcomes(self._callbacks)
        if points:
            self.run.log(points, self.last)
        if params:
            self.run.log_params(params)

    def goes_on(self, model: Any) -> bool:
        """Whether the training is still running: its ``fit``, or the loop of the user's that holds the callbacks."""
        return _is_in_fit(model) if self._in_fit else self.container is not None


@guard.shield
def begin(model: Any, container: Any) -> Recording | None:
    """Record the training of ``model`` that begins here, unless it is recorded already or its curve isn't wanted.

    In a session the first training has the curve. Outside of one it goes to the user's run, or to one of its own.
    """
    given = session.current()
    if given is None and settings.off():
        return None
    own = _own_session(model) if given is None else None
    at = given or own
    if at is None or at.run is None or at.many or "curve" in at.claimed:
        return None
    at.claimed.add("curve")
    before = steps.of(model) if at.further else None
    recording = Recording(at.run, own, at.plugin == NAME, container, _is_in_fit(model), before)
    _recordings[model] = recording
    if recording.whole:
        _runs[model] = at.run
    return recording


def of(model: Any) -> Recording | None:
    """The recording of the training that ``model`` is in."""
    return None if model is None else _recordings.get(model)


def forget(model: Any) -> None:
    """``model`` is not in training any more."""
    _recordings.pop(model, None)


def remember(model: Any, run: Run) -> None:
    """``model`` is trained in ``run``."""
    _runs[model] = run


def run_of(model: Any) -> Run | None:
    """The run in which ``model`` was trained; for one that came from elsewhere the user's open run."""
    found = _runs.get(model)
    if found is None:
        given = open_runs.given()
        found = given if given is not None and given.opener == "user" and given.rank == 0 else None
    return found


def end_left() -> None:
    """End a run of ours that an exception in its training has left open: a callback is not told of one."""
    left = open_runs.here()
    if left is None or left.opener != NAME or session.current() is not None:
        return
    if not any(recording.run is left and recording.goes_on(model) for model, recording in list(_recordings.items())):
        left.finish("failed", "the training was ended by an exception")


def _is_in_fit(model: Any) -> bool:
    """Whether a ``fit`` of ``model`` is running, further down in the stack of calls."""
    frame: FrameType | None = sys._getframe()
    while frame is not None:
        if frame.f_code.co_name == "fit" and stack_frames.variables(frame).get("self") is model:
            return True
        frame = frame.f_back
    return False


def _own_session(model: Any) -> Session:
    end_left()
    return session.begin(NAME, model.name, True, False, SILENCES)


def numbers(logs: Mapping[str, Any]) -> tuple[dict[str, Any], list[str]]:
    """The values that are numbers, and the names of the others, which callbacks of the user's may have added."""
    good = {name: value for name, value in logs.items() if _is_number(value)}
    return good, [name for name in logs if name not in good]


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) or tuple(getattr(value, "shape", "?")) == ()
