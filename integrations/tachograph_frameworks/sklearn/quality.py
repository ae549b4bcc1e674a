"""How well the model fits its training data, at a bounded price.

The price is one more ``predict`` over the training data, and where it is cheap one ``predict_proba``. A few rows are
tried first: where all of them would cost more than a twentieth of the fit (and more than 10 ms), an even sample of the
rows is used, and the run says so.
"""

from __future__ import annotations

import time
from typing import Any

import numpy as np

from tachograph import guard
from tachograph.patch import Call
from tachograph.run import Run
from tachograph_frameworks.sklearn import estimators

SHARE = 0.05
ALWAYS_SECONDS = 0.01
TRIED_ROWS = 256
MOST_CLASSES = 1000


def record(run: Run, call: Call, X: Any, seconds: float, step: int | None = None) -> None:
    """Record ``train_*`` metrics of the estimator that ``call`` fitted, on the data that it was fitted to."""
    estimator, y = call.instance, call.argument("y")
    kind = estimators.kind(estimator)
    if kind == "clusterer":
        _clusters(run, estimator, step)
    if kind not in ("classifier", "regressor") or y is None or X is None or not hasattr(estimator, "predict"):
        return
    state = np.random.get_state()  # some estimators draw random numbers when they predict: not the user's
    try:
        _score(run, estimator, kind, X, y, _weights(call), max(ALWAYS_SECONDS, SHARE * seconds), step)
    except guard.FAULTS as error:  # the estimator's own predict, or a metric that its output doesn't fit
        run._remark(f"there are no training metrics: {type(error).__name__}: {error}")
    finally:
        np.random.set_state(state)


def _weights(call: Call) -> Any:
    weights = call.argument("sample_weight")
    return weights if weights is not None else call.kwargs.get("sample_weight")


def _score(run: Run, estimator: Any, kind: str, X: Any, y: Any, weights: Any, budget: float, step: int | None) -> None:
    rows = _length(y)
    if rows < 1 or _length(X) != rows:
        return
    chosen, seconds = _affordable(estimator, X, rows, budget)
    if chosen is not None:
        X, y, weights = _take(X, chosen), _take(y, chosen), None if weights is None else _take(weights, chosen)
        run._remark(f"the training metrics are those of {len(chosen)} of {rows} rows, evenly spaced")
    truth = np.asarray(y)
    predicted = np.asarray(estimator.predict(X))
    if truth.ndim == 2 and truth.shape[1] == 1:
        truth = truth.ravel()
    if predicted.ndim == 2 and predicted.shape[1] == 1:
        predicted = predicted.ravel()
    weights = None if weights is None else np.asarray(weights, dtype=float)
    if kind == "regressor":
        found = _regression(truth, predicted, weights)
    else:
        found = _classification(truth, predicted, weights)
        if truth.ndim == 1 and seconds * 3 < budget:
            found.update(_probabilities(estimator, X, truth, weights))
    run.log({f"train_{name}": float(value) for name, value in found.items()}, step=step)


def _affordable(estimator: Any, X: Any, rows: int, budget: float) -> tuple[Any, float]:
    """Which rows to predict (None: all), and what that will cost in seconds."""
    if rows <= TRIED_ROWS:
        return None, 0.0
    sample = _take(X, _even(rows, TRIED_ROWS))
    started = time.perf_counter()
    estimator.predict(sample)
    a_row = (time.perf_counter() - started) / TRIED_ROWS
    if a_row * rows <= budget:
        return None, a_row * rows
    count = max(TRIED_ROWS, int(budget / a_row))
    return (None, a_row * rows) if count >= rows else (_even(rows, count), a_row * count)


def _even(rows: int, count: int) -> Any:
    return np.linspace(0, rows - 1, count).astype(np.intp)


def _length(data: Any) -> int:
    """How many rows; -1 where the data doesn't say."""
    shape = getattr(data, "shape", None)
    if shape:
        return int(shape[0])
    return len(data) if hasattr(data, "__len__") else -1


def _take(data: Any, rows: Any) -> Any:
    from sklearn.utils import _safe_indexing

    return _safe_indexing(data, rows)


def _classification(truth: Any, predicted: Any, weights: Any) -> dict[str, float]:
    """Accuracy, and precision, recall and F1: of the greater label where there are two, else weighted by class size."""
    from sklearn.metrics import accuracy_score, precision_recall_fscore_support

    found = {"accuracy": accuracy_score(truth, predicted, sample_weight=weights)}
    labels = np.unique(truth) if truth.ndim == 1 else None
    if labels is not None and len(labels) > MOST_CLASSES:
        return found
    binary = labels is not None and len(labels) == 2 and bool(np.isin(predicted, labels).all())
    how: dict[str, Any] = {"average": "binary", "pos_label": labels[1]} if binary else {"average": "weighted"}
    precision, recall, f1, _ = precision_recall_fscore_support(
        truth, predicted, sample_weight=weights, zero_division=0, **how
    )
    return {**found, "precision": precision, "recall": recall, "f1": f1}


def _probabilities(estimator: Any, X: Any, truth: Any, weights: Any) -> dict[str, float]:
    """Log loss, and the area under the ROC curve of two classes, where the estimator gives probabilities."""
    if not hasattr(estimator, "predict_proba"):
        return {}
    from sklearn.metrics import log_loss, roc_auc_score

    probabilities = np.asarray(estimator.predict_proba(X))
    labels = getattr(estimator, "classes_", None)
    if labels is None or probabilities.ndim != 2 or len(labels) != probabilities.shape[1] or len(labels) < 2:
        return {}
    found = {"log_loss": log_loss(truth, probabilities, labels=labels, sample_weight=weights)}
    if len(labels) == 2 and len(np.unique(truth)) == 2:
        found["roc_auc"] = roc_auc_score(truth, probabilities[:, 1], sample_weight=weights)
    return found


def _regression(truth: Any, predicted: Any, weights: Any) -> dict[str, float]:
    from sklearn.metrics import mean_absolute_error, mean_squared_error, r2_score

    found = {
        "rmse": mean_squared_error(truth, predicted, sample_weight=weights) ** 0.5,
        "mae": mean_absolute_error(truth, predicted, sample_weight=weights),
    }
    if len(truth) > 1:
        found["r2"] = r2_score(truth, predicted, sample_weight=weights)
    return found


def _clusters(run: Run, estimator: Any, step: int | None) -> None:
    labels = getattr(estimator, "labels_", None)
    if labels is not None:
        found = np.unique(np.asarray(labels))
        run.log({"clusters": float(len(found[found >= 0]))}, step=step)
