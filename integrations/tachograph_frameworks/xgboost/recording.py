"""One training, while it is recorded: its curve round by round, and what is known at its end."""

from __future__ import annotations

import weakref
from collections.abc import Mapping
from typing import Any

from xgboost import collective

from tachograph import active, guard, process, session, settings
from tachograph.run import Run
from tachograph.session import Session, options
from tachograph_frameworks.xgboost import models

NAME = "xgboost"

_recordings: weakref.WeakKeyDictionary[Any, Recording] = weakref.WeakKeyDictionary()  # by the model in training


class Recording:
    """Records one training. ``model`` is the booster, or in ``cv`` the pack of boosters."""

    def __init__(self, model: Any, run: Run, own: Session | None, keeps_model: bool) -> None:
        self.run = run
        self._own = own
        self._keeps_model = keeps_model
        self._best_before = _best(model)  # a model that is trained further may bring one along
        self._every = options.every_n_steps
        self._length = 0
        self._offset = 0
        self._last = -1
        self._skipped: dict[str, float] = {}

    @guard.shield
    def round(self, model: Any, epoch: int, history: Mapping[str, Mapping[str, Any]]) -> None:
        """Round ``epoch`` was evaluated: the newest entries of ``history`` are its points."""
        points, length = _newest(history)
        if length == self._length:
            return  # there is nothing to evaluate, or the evaluation failed
        if self._last < 0:
            self._offset = model.num_boosted_rounds() - 1 - epoch
        self._length, self._last = length, epoch
        if epoch % self._every == 0:
            self.run.log(points, epoch)
            self._skipped = {}
        else:
            self._skipped = points

    @guard.shield
    def end(self, model: Any) -> None:
        """The training is over, and ``model`` is what came out."""
        try:
            self._conclude(model)
        finally:
            if self._own is not None:
                self._own.end(None)

    def _conclude(self, model: Any) -> None:
        if self._skipped:
            self.run.log(self._skipped, self._last)
        best = _best(model)
        if best is not None and best != self._best_before:
            iteration, score = best
            stopped = self._offset + self._last
            self.run.log({"best_iteration": iteration, "best_score": score, "stopped_iteration": stopped})
        boosters = [fold.bst for fold in getattr(model, "cvfolds", ())] or [model]
        if self._keeps_model:
            config = boosters[0].save_config()
            self.run._keep_bytes(config.encode(), "config", "config", "config.json")
            if self._own is not None:  # nobody has seen the arguments
                self.run.log_params(models.configured(config))
        if boosters[0] is not model:
            return
        if importances := models.importances(model):
            self.run.log_table("feature_importance", importances)
        if self._keeps_model and options.models:
            models.save_booster(self.run, model)


@guard.shield
def begin(model: Any) -> Recording | None:
    """Record the training of ``model`` that begins here, unless it is recorded already or its curve isn't wanted.

    In a session the first training has the curve. Outside of one it goes to the user's run, or to one of its own.
    """
    if model in _recordings or settings.off():
        return None
    given = session.current()
    own = _own_session() if given is None else None
    at = given or own
    if at is None or at.run is None or at.many or "curve" in at.claimed:
        return None
    at.claimed.add("curve")
    recording = Recording(model, at.run, own, keeps_model=at.plugin == NAME)
    _recordings[model] = recording
    if own is not None:
        weakref.finalize(model, _abandoned, own).atexit = False
    return recording


def of(model: Any) -> Recording | None:
    """The recording of the training of ``model``."""
    return _recordings.get(model)


def is_first() -> bool:
    """Whether this process is to record: in a job that no known launcher has numbered, the first one only."""
    return process.job() is not None or collective.get_rank() == 0


def _own_session() -> Session:
    # A notebook keeps the frames of the last exception, and with them the model: a run of ours that is still open
    # here, though no training is on its way, belongs to a training that was ended by an exception.
    left = active.here()
    if left is not None and left.opener == NAME:
        left.finish("failed", _ABANDONED)
    return session._begin(NAME, NAME, is_first(), False, ())


def _abandoned(own: Session) -> None:
    """The model of a training is gone. If its run is still open, nobody has told us how the training ended."""
    if own.owned is not None:
        own.owned.finish("failed", _ABANDONED)


_ABANDONED = "the training was ended by an exception"


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
    """What early stopping has noted in the model."""
    iteration, score = model.attr("best_iteration"), model.attr("best_score")
    return None if iteration is None or score is None else (int(iteration), float(score))
