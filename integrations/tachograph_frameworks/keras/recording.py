"""One training, while it is recorded: a point for each epoch, what its callbacks did, and the model at the end."""

from __future__ import annotations

import sys
import weakref
from collections.abc import Mapping
from typing import Any

from tachograph import guard
from tachograph.hooks import Curve, Trainings, options
from tachograph.record import active_run
from tachograph.record.run import Run
from tachograph.runtime import stack_frames
from tachograph.runtime.quiet import quietly
from tachograph_frameworks.keras import callback_settings, settings, steps
from tachograph_frameworks.keras.model import keep_model, keep_summary

NAME = "keras"
SILENCES = ("torch",)  # on that back end a plain loop runs inside

_runs: weakref.WeakKeyDictionary[Any, Run] = weakref.WeakKeyDictionary()  # by the model that was trained in them


class Recording:
    """Records the training of one model.

    ``whole`` says that the run is of this model, and not of something larger in which it is trained.
    ``added_callbacks`` are those that autolog has put into the container.
    """

    def __init__(self, model: Any, run: Run, curve: Curve, container: Any) -> None:
        self.run, self._curve = run, curve
        self._before = steps.of(model) if curve.session.further else None  # the fits that this is a further step of
        self.whole = curve.session.plugin == NAME
        self.added_callbacks: tuple[Any, ...] = ()
        self.checkpoint: callback_settings.Checkpoint | None = None  # the one that is being written
        self._container = None if container is None else weakref.ref(container)
        self._rates: dict[str, float] = {}  # in the epoch that was recorded last
        self._shown: dict[str, Any] | None = None  # the values of an epoch, until all callbacks have been told of it
        self.last: int | None = None  # the last epoch that was recorded
        self._in_fit = _is_in_fit(model, container)  # else in a loop of the user's own

    @property
    def container(self) -> Any:
        """The list of callbacks, or None where it isn't known."""
        return None if self._container is None else self._container()

    @property
    def _callbacks(self) -> list[Any]:
        return list(getattr(self.container, "callbacks", ()))

    def started(self, model: Any, params: Mapping[str, Any]) -> None:
        """Record the settings: the model is built, and the other callbacks have prepared it."""
        if not self.whole or self._before is not None:
            return
        with guard.timed(self.run), guard.contained("keras: params", self.run), quietly():
            values = {
                "steps_per_epoch": params.get("steps"),
                "resumed_epoch": callback_settings.resumed_epoch(model, self._callbacks),
            }
            values = {name: value for name, value in values.items() if value is not None}
            values |= settings.compiled(model) | settings.size(model) | callback_settings.settings(self._callbacks)
            self.run.log_params(values)
        with guard.timed(self.run), guard.contained("keras: summary", self.run), quietly():
            keep_summary(self.run, model)

    @guard.shield
    @quietly()
    def epoch(self, model: Any, epoch: int, logs: Mapping[str, Any]) -> None:
        """Record an epoch that has ended: what Keras shows of it, and the learning rate that was in force.

        Keras has waited for the device to get at ``logs``; reading the rate is no further stall.
        """
        self._rates = {}
        with guard.contained("keras: learning rate", self.run):
            self._rates = settings.rates(model)
        self._shown, _ = numbers(logs)
        self.last = self.step(epoch)
        self.run.log({**self._shown, **self._rates}, self.last)

    @guard.shield
    @quietly()
    def told(self, model: Any, epoch: int, logs: Mapping[str, Any]) -> None:
        """Record what callbacks have added to an epoch since it ended; all of it where nobody has told of its end."""
        if self._shown is None:
            self.epoch(model, epoch, logs)
        shown, self._shown = self._shown or {}, None
        points, others = numbers(logs)
        added = {
            name: value
            for name, value in points.items()
            if name not in self._rates and (name not in shown or shown[name] is not value)
        }
        if added:
            self.run.log(added, self.step(epoch))
        for name in others:
            self.run.recorder.remark(f"{name} was not recorded: it is not a number in the values of an epoch")

    def step(self, epoch: int) -> int:
        """The epoch as it is counted in the run, in which others may have come before."""
        return epoch if self._before is None else max(epoch, self._before.next)

    @quietly()
    def end(self, model: Any) -> None:
        """Record the end of the training, and end a run that was opened for it."""
        try:
            with guard.timed(self.run), guard.contained("keras: callbacks", self.run):
                self._record_outcomes()
            if self.whole and options.models:
                with guard.timed(self.run), guard.contained("keras: model", self.run):
                    self._keep(model)
        finally:
            if not self.added_callbacks:  # else the call of ``fit`` takes our callbacks out first
                TRAININGS.end(model)
            self._curve.end()

    def _keep(self, model: Any) -> None:
        if self._before is None:
            keep_model(self.run, model)
        else:
            self._before.fitted(model)

    def _record_outcomes(self) -> None:
        points, params = callback_settings.outcomes(self._callbacks)
        if points:
            self.run.log(points, self.last)
        if params:
            self.run.log_params(params)

    def goes_on(self, model: Any) -> bool:
        """Whether the training is still running: its ``fit``, or the loop of the user's that holds the callbacks."""
        return _is_in_fit(model, self.container) if self._in_fit else self.container is not None


TRAININGS: Trainings[Recording] = Trainings(NAME, lambda model, recording: recording.goes_on(model), SILENCES)


@guard.shield
def begin(model: Any, container: Any) -> Recording | None:
    """Record the training of ``model`` that begins here, unless it is recorded already or its curve isn't wanted."""
    curve = TRAININGS.claim(model.name)
    if curve is None or curve.run is None:
        return None
    recording = Recording(model, curve.run, curve, container)
    TRAININGS.begin(model, recording)
    if recording.whole:
        _runs[model] = curve.run
    return recording


def remember(model: Any, run: Run) -> None:
    """Remember that ``model`` is trained in ``run``."""
    _runs[model] = run


def run_of(model: Any) -> Run | None:
    """The run in which ``model`` was trained; for one that came from elsewhere the user's open run."""
    run = _runs.get(model)
    if run is None:
        open_run = active_run.find_for_training()
        is_users = open_run is not None and open_run.opener == "user" and open_run.rank == 0
        run = open_run if is_users else None
    return run


def _is_in_fit(model: Any, container: Any) -> bool:
    """Whether a ``fit`` of ``model`` with those callbacks is running, further down in the stack of calls."""
    callers = stack_frames.outward(sys._getframe(1))
    fits = (stack_frames.variables(frame) for frame in callers if frame.f_code.co_name == "fit")
    return any(fit.get("self") is model and fit.get("callbacks") is container for fit in fits)


def numbers(logs: Mapping[str, Any]) -> tuple[dict[str, Any], list[str]]:
    """The values that are numbers, and the names of the others, which callbacks of the user's may have added."""
    points = {name: value for name, value in logs.items() if _is_number(value)}
    return points, [name for name in logs if name not in points]


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) or tuple(getattr(value, "shape", "?")) == ()
