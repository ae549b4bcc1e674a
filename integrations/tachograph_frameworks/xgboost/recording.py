"""One training, while it is recorded: its curve round by round, and what is known at its end."""

from __future__ import annotations

import sys
import weakref
from collections.abc import Mapping
from functools import partial
from typing import Any

from xgboost import collective, training
from xgboost.callback import TrainingCallback

from tachograph import guard
from tachograph.hooks import Curve, Session, Trainings, options, session
from tachograph.record import launchers
from tachograph.record.run import Run
from tachograph.runtime import stack_frames
from tachograph.runtime.quiet import quietly
from tachograph_frameworks.xgboost import steps
from tachograph_frameworks.xgboost.model import configured, importances, save_booster

NAME = "xgboost"


class Recording(TrainingCallback):  # type: ignore[misc]
    """Records one training, as the first of its callbacks.

    ``model`` is the booster, or in ``cv`` the pack of boosters. :class:`LastCallback` reports the end,
    since callbacks may make another model of it.
    """

    def __init__(self, model: Any, run: Run, curve: Curve) -> None:
        super().__init__()
        self.run, self._curve = run, curve
        self._steps = steps.within(curve.session)  # the rounds, each a training, that this one continues
        self._first_step = 0 if self._steps is None else self._steps.next
        self._keeps_model = curve.session.plugin == NAME
        self._model = weakref.ref(model)
        self._best_before = _best(model)  # a model that is trained further may bring one along
        self._every = options.every_n_steps
        self._recorded_length = 0
        self._offset = 0
        self._last_step = -1
        self._skipped: dict[str, float] = {}

    def after_iteration(self, model: Any, epoch: int, evals_log: Mapping[str, Mapping[str, Any]]) -> bool:
        """A round was evaluated."""
        self.round(model, epoch, evals_log)
        return False

    @guard.shield
    def round(self, model: Any, epoch: int, history: Mapping[str, Mapping[str, Any]]) -> None:
        """Record the newest entries of ``history`` as the points of round ``epoch``, unless they are recorded."""
        points, length = _newest(history)
        if length == self._recorded_length:
            return
        step = self._first_step + epoch
        if self._last_step < 0:
            self._offset = model.num_boosted_rounds() - 1 - step
        self._recorded_length, self._last_step = length, step
        if step % self._every == 0:
            self.run.log(points, step)
            self._skipped = {}
        else:
            self._skipped = points

    @guard.shield
    @quietly()
    def end(self, model: Any) -> None:
        """The training has ended with ``model``."""
        try:
            self._conclude(model)
        finally:
            self._curve.end()

    def _conclude(self, model: Any) -> None:
        trained = self._model()  # without the rounds that early stopping may have cut off, some versions know no best
        best = _best(model if trained is None else trained)
        if best is not None and best != self._best_before:
            iteration, score = best
            stopped = self._offset + self._last_step
            self.run.log({"best_iteration": iteration, "best_score": score, "stopped_iteration": stopped})
        if self._steps is None:
            self._keep(model)
        else:
            self._steps.later("model", partial(self._keep, model))

    def _keep(self, model: Any) -> None:
        if self._skipped:
            self.run.log(self._skipped, self._last_step)
        boosters = [fold.bst for fold in getattr(model, "cvfolds", ())] or [model]
        if self._keeps_model:
            config = boosters[0].save_config()
            self.run.recorder.keep_bytes(config.encode(), "config", "config", "config.json")
            if self._curve.is_own:  # nobody has seen the arguments
                self.run.log_params(configured(config))
        if boosters[0] is not model:
            return
        if rows := importances(model):
            self.run.log_table("feature_importance", rows)
        if self._keeps_model and options.models:
            save_booster(self.run, model)


class LastCallback(TrainingCallback):  # type: ignore[misc]
    """The last callback of a training that is recorded: it gets the model that comes out."""

    def __init__(self, recording: Recording) -> None:
        super().__init__()
        self._recording = recording

    def after_training(self, model: Any) -> Any:
        """The training has ended."""
        self._recording.end(model)
        return model


TRAININGS: Trainings[Recording] = Trainings(NAME, lambda model, recording: _is_in_training(model))


@guard.shield
def begin(model: Any) -> Recording | None:
    """Record the training of ``model`` that begins here, unless it is recorded already or its curve isn't wanted.

    The run of a training that nobody saw end is ended when its model is gone. A notebook keeps the frames of the last
    exception, and the model with them.
    """
    curve = None if TRAININGS.of(model) is not None else TRAININGS.claim(NAME, is_first)
    if curve is None or curve.run is None:
        return None
    recording = Recording(model, curve.run, curve)
    TRAININGS.begin(model, recording)
    if curve.is_own:
        weakref.finalize(model, curve.abandon).atexit = False
    return recording


def is_first() -> bool:
    """Whether what begins here is to be recorded: in a job that no known launcher has numbered, by the first process
    only; and not a worker's part of a fit that this process records."""
    return (launchers.job() is not None or collective.get_rank() == 0) and not _is_part()


def _is_part() -> bool:
    """Whether a thread of Dask trains here, while another thread waits for it in a ``fit``."""
    if "xgboost.dask" not in sys.modules:
        return False
    if not any(isinstance(running, Session) and running.run for running in session.alive):
        return False
    return any(frame.f_globals.get("__name__") == "xgboost.dask" for frame in stack_frames.outward(sys._getframe(1)))


def record_history(run: Run, history: Mapping[str, Mapping[str, Any]]) -> None:
    """Record the curves of a training that went on elsewhere."""
    for data, metrics in history.items():
        for metric, values in metrics.items():
            for step, value in enumerate(values):
                run.log({f"{data}-{metric}": float(value)}, step)


def _is_in_training(model: Any) -> bool:
    """Whether a function of XGBoost is training it, further down in the stack of calls."""
    callers = stack_frames.outward(sys._getframe(1))
    training_frames = (frame for frame in callers if frame.f_globals.get("__name__") == training.__name__)
    return any(value is model for frame in training_frames for value in stack_frames.variables(frame).values())


def _newest(history: Mapping[str, Mapping[str, Any]]) -> tuple[dict[str, float], int]:
    """The newest value of each curve, under the name that XGBoost prints, and how many values there are in all."""
    points: dict[str, float] = {}
    length = 0
    for data, metrics in history.items():
        for metric, values in metrics.items():
            length += len(values)
            newest = values[-1]
            if type(newest) is tuple:
                points[f"{data}-{metric}-mean"] = float(newest[0])
                points[f"{data}-{metric}-std"] = float(newest[1])
            else:
                points[f"{data}-{metric}"] = float(newest)
    return points, length


def _best(model: Any) -> tuple[int, float] | None:
    """The best iteration and score, if early stopping has noted them in the model."""
    iteration, score = model.attr("best_iteration"), model.attr("best_score")
    if iteration is None or score is None:
        return None
    return int(iteration), float(score.strip("()").partition(",")[0])  # older versions note mean and deviation in cv
