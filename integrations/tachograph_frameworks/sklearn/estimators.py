"""What an estimator is, and which run recorded its last fit."""

from __future__ import annotations

import weakref
from typing import Any

from tachograph import guard
from tachograph.record.run import Run
from tachograph_frameworks.sklearn.series import Series

_fitted: dict[int, tuple[weakref.ref[Any], Run, Series | None]] = {}


def remember(estimator: Any, run: Run, series: Series | None = None) -> None:
    """Remember that ``estimator`` was fitted in ``run``: what is scored with it later belongs there.

    ``series`` are the calls of ``partial_fit`` that the fit is one of.
    """
    key = id(estimator)
    try:
        reference = weakref.ref(estimator, lambda _: _fitted.pop(key, None))
    except TypeError:  # a class with __slots__ and no place for weak references
        return
    _fitted[key] = (reference, run, series)


def run_of(estimator: Any) -> Run | None:
    """The run of the last fit of exactly this object, or None."""
    fit = _fitted.get(id(estimator))
    return fit[1] if fit is not None and fit[0]() is estimator else None


def series_of(estimator: Any) -> Series | None:
    """The calls of ``partial_fit`` that its run has; None where its last fit was another."""
    fit = _fitted.get(id(estimator))
    return fit[2] if fit is not None and fit[0]() is estimator else None


def predicts(estimator: Any) -> bool:
    """Whether fitting it is training a model; what only transforms is preprocessing."""
    return (
        is_search(estimator)
        or kind(estimator) in ("classifier", "regressor")  # some have a predict only once they are fitted
        or hasattr(estimator, "predict")
        or hasattr(estimator, "fit_predict")
        or (hasattr(estimator, "score_samples") and not hasattr(estimator, "transform"))
    )


def is_search(estimator: Any) -> bool:
    """Whether it tries candidates: a grid, randomized or halving search, or another package's with the same results."""
    return any(base.__name__ == "BaseSearchCV" for base in type(estimator).__mro__)


def kind(estimator: Any) -> str:
    """What it is: "classifier", "regressor", "clusterer", "outlier_detector", "density_estimator" or ""."""
    tags = getattr(estimator, "__sklearn_tags__", None)
    if callable(tags):
        try:
            return str(tags().estimator_type or "")
        except guard.FAULTS:  # what is inside of it is no estimator: its fit will say so
            return ""
    return {"DensityEstimator": "density_estimator"}.get(
        getattr(estimator, "_estimator_type", None) or "", getattr(estimator, "_estimator_type", None) or ""
    )


def final(estimator: Any) -> Any:
    """The estimator that does the learning: a pipeline's last step, a search's best, a wrapper's inner one."""
    for _ in range(10):
        inner = _inner(estimator)
        if inner is None:
            return estimator
        estimator = inner
    return estimator


def _inner(estimator: Any) -> Any:
    steps = getattr(estimator, "steps", None)
    if isinstance(steps, list) and steps and isinstance(steps[-1], tuple):
        return steps[-1][-1] if hasattr(steps[-1][-1], "fit") else None
    if is_search(estimator):
        return getattr(estimator, "best_estimator_", None)
    if type(estimator).__name__ == "Tracked":
        return getattr(estimator, "estimator_", None)
    return None


def title(estimator: Any) -> str:
    """A run's name: the class, or for a wrapper of ours the class inside."""
    if type(estimator).__name__ == "Tracked":
        return type(estimator.estimator).__name__
    return type(estimator).__name__


def params(estimator: Any) -> dict[str, Any]:
    """The parameters by scikit-learn's own names (``clf__C``); lists of steps only through their parts."""
    values = {str(name): value for name, value in estimator.get_params(deep=True).items()}  # a step may be named 213
    return {name: value for name, value in values.items() if name.rpartition("__")[2] not in ("steps", "transformers")}
