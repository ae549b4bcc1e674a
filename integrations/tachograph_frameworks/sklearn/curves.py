"""Loss curves and staged scores, of the estimators that keep them."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from tachograph.events import Metrics, written_number
from tachograph.record.run import Run

# What an attribute is called in the record. A curve's step is the iteration, from 0.
_CURVES = {
    "loss_curve_": "loss",
    "validation_scores_": "validation_score",
    "train_score_": "train_score",
    "validation_score_": "validation_score",
    "oob_scores_": "oob_score",
    "estimator_errors_": "estimator_error",
    "lower_bounds_": "lower_bound",
}
_FIGURES = ("n_iter_", "best_loss_", "best_validation_score_", "inertia_", "lower_bound_", "oob_score_", "alpha_")


def record(run: Run, estimator: Any, step: int | None = None, points: dict[str, int] | None = None) -> None:
    """Record the curves of a fitted ``estimator``, and single figures on how its training went.

    ``points`` holds how many points of each curve are on record already.
    """
    drawn = set()
    recorded = {} if points is None else points
    for attribute, name in _CURVES.items():
        values = _numbers(vars(estimator).get(attribute))
        if len(values) > 1:
            name = _name_of(estimator, attribute, name)
            drawn.add(name)
            _record_points(run, name, values, recorded.get(name, 0))
            recorded[name] = len(values)
    figures = {}
    for attribute in _FIGURES:
        values, name = _numbers(vars(estimator).get(attribute)), attribute.rstrip("_")
        if len(values) == 1 and name not in drawn:  # else it is the curve's last value
            figures[name] = values[0]
    if figures:
        run.log(figures, step=step)


def _name_of(estimator: Any, attribute: str, name: str) -> str:
    # Gradient boosting calls the training loss of each stage its score.
    if attribute == "train_score_" and type(estimator).__name__.startswith("GradientBoosting"):
        return "loss"
    return name


def _record_points(run: Run, name: str, values: list[float], start: int) -> None:
    for step, value in enumerate(values[start:], start):
        run.recorder.append(Metrics(0, 0, 0.0, step, {name: written_number(value)}))


def _numbers(value: Any) -> list[float]:
    """A scalar, a list or a one-dimensional array as floats; [] for anything else."""
    if isinstance(value, int | float) and not isinstance(value, bool):
        return [float(value)]
    if hasattr(value, "ndim"):
        return [float(item) for item in value.reshape(-1)] if value.ndim <= 1 and value.dtype.kind in "fiu" else []
    if isinstance(value, Iterable) and not isinstance(value, str | bytes):
        items = list(value)
        return [float(item) for item in items] if all(isinstance(item, int | float) for item in items) else []
    return []
