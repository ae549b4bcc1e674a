"""How well the model fits its training data, at a bounded price.

The price is one more ``predict`` over the training data, and where it is cheap one ``predict_proba``. Beyond 2,000 rows
those are tried first: where all would cost more than a twentieth of the fit (and more than 10 ms), an even sample of
the rows is used, and a tag of the run says so. The figures are those of ``sklearn.metrics``, computed here because its
functions take milliseconds each to check what this module has just got from the estimator.
"""

from __future__ import annotations

import time
from typing import Any

import numpy as np

from tachograph import guard
from tachograph.hooks import Call
from tachograph.record.run import Run
from tachograph_frameworks.sklearn import estimators

SHARE = 0.05
ALWAYS_SECONDS = 0.01
TRIED_ROWS = 2000


def record(run: Run, call: Call, X: Any, y: Any, seconds: float, step: int | None = None) -> None:
    """Record ``train_*`` metrics of the estimator that ``call`` fitted, on the data that it was fitted to."""
    estimator = call.instance
    kind = estimators.kind(estimator)
    if kind == "clusterer":
        _clusters(run, estimator, step)
    if kind not in ("classifier", "regressor") or y is None or X is None or not hasattr(estimator, "predict"):
        return
    state = np.random.get_state()  # some estimators draw random numbers when they predict: not the user's
    try:
        _score(run, estimator, kind, X, y, _weights(call), max(ALWAYS_SECONDS, SHARE * seconds), step)
    except guard.FAULTS as error:  # the estimator's own predict, or a metric that its output doesn't fit
        run.recorder.remark(f"there are no training metrics: {type(error).__name__}: {error}")
    finally:
        np.random.set_state(state)


def _weights(call: Call) -> Any:
    weights = call.argument("sample_weight", None)
    return weights if weights is not None else call.kwargs.get("sample_weight")


def _score(run: Run, estimator: Any, kind: str, X: Any, y: Any, weights: Any, budget: float, step: int | None) -> None:
    rows = _length(y)
    if rows < 1 or _length(X) != rows:
        return
    chosen, seconds = _affordable(estimator, X, rows, budget)
    if chosen is not None:
        X, y, weights = _take(X, chosen), _take(y, chosen), None if weights is None else _take(weights, chosen)
        run.set_tags({"train_metrics": f"of {len(chosen)} of {rows} rows, evenly spaced"})
    truth, predicted = _array(y), _array(estimator.predict(X))
    weights = None if weights is None else np.asarray(weights, dtype=float)
    if kind == "regressor":
        metrics = _regression(truth, predicted, weights)
    else:
        metrics = _classification(truth, predicted, weights)
        if truth.ndim == 1 and seconds * 3 < budget:
            metrics.update(_probabilities(estimator, X, truth, weights))
    run.log({f"train_{name}": float(value) for name, value in metrics.items()}, step=step)


def _affordable(estimator: Any, X: Any, rows: int, budget: float) -> tuple[Any, float]:
    """Which rows to predict (None: all), and what that will cost in seconds."""
    if rows <= TRIED_ROWS:
        return None, 0.0
    sample = _take(X, _even(rows, TRIED_ROWS))
    started = time.perf_counter()
    estimator.predict(sample)
    row_seconds = (time.perf_counter() - started) / TRIED_ROWS
    if row_seconds * rows <= budget:
        return None, row_seconds * rows
    count = max(TRIED_ROWS, int(budget / row_seconds))
    return (None, row_seconds * rows) if count >= rows else (_even(rows, count), row_seconds * count)


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
    if truth.ndim != 1 or predicted.ndim != 1:
        return _several_outputs(truth, predicted, weights)
    weights = np.ones(len(truth)) if weights is None else weights
    labels, codes = np.unique(np.concatenate([truth, predicted]), return_inverse=True)
    true, guess = codes[: len(truth)], codes[len(truth) :]
    hits = np.bincount(true, weights * (true == guess), len(labels))
    of_truth, of_guess = np.bincount(true, weights, len(labels)), np.bincount(guess, weights, len(labels))
    metrics = {"accuracy": hits.sum() / weights.sum()}
    by_class = {
        "precision": _ratio(hits, of_guess),
        "recall": _ratio(hits, of_truth),
        "f1": _ratio(2 * hits, of_truth + of_guess),
    }
    for name, values in by_class.items():
        metrics[name] = values[1] if len(labels) == 2 else np.average(values, weights=of_truth)
    return metrics


def _ratio(part: Any, whole: Any) -> Any:
    """``part / whole``, 0 where the whole is."""
    return np.divide(part, whole, out=np.zeros(len(part)), where=whole > 0)


def _array(values: Any) -> Any:
    """An array, of one dimension where it has one column; a sparse matrix stays one, since it may be far too large."""
    if hasattr(values, "tocsr"):
        return values.tocsr()
    values = np.asarray(values)
    return values.ravel() if values.ndim == 2 and values.shape[1] == 1 else values


def _several_outputs(truth: Any, predicted: Any, weights: Any) -> dict[str, float]:
    """The share of rows in which every output is right."""
    if hasattr(truth, "tocsr") or hasattr(predicted, "tocsr"):
        matrix = type(truth) if hasattr(truth, "tocsr") else type(predicted)
        right = np.diff((matrix(truth) != matrix(predicted)).tocsr().indptr) == 0
    else:
        right = (truth == predicted).all(axis=-1)
    return {"accuracy": float(np.average(right, weights=weights))}


def _probabilities(estimator: Any, X: Any, truth: Any, weights: Any) -> dict[str, float]:
    """Log loss, and the area under the ROC curve of two classes, where the estimator gives probabilities."""
    labels = getattr(estimator, "classes_", None)
    if not hasattr(estimator, "predict_proba") or labels is None or np.ndim(labels) != 1 or len(labels) < 2:
        return {}
    probabilities = np.asarray(estimator.predict_proba(X), dtype=float)
    if probabilities.shape != (len(truth), len(labels)):
        return {}
    of_truth = probabilities[np.arange(len(truth)), np.searchsorted(labels, truth)]
    tiny = np.finfo(float).eps
    metrics = {"log_loss": -np.average(np.log(np.clip(of_truth, tiny, 1 - tiny)), weights=weights)}
    positive = truth == labels[-1]
    if len(labels) == 2 and 0 < positive.sum() < len(truth):
        metrics["roc_auc"] = _roc_auc(positive, probabilities[:, 1], weights)
    return metrics


def _roc_auc(positive: Any, scores: Any, weights: Any) -> float:
    """The area under the curve of the true over the false positive rate, by trapezoids between distinct scores
    (Fawcett, "An introduction to ROC analysis", 2006, algorithm 2)."""
    weights = np.ones(len(scores)) if weights is None else weights
    order = np.argsort(-scores, kind="stable")
    last_of_each = np.append(np.flatnonzero(np.diff(scores[order])), len(scores) - 1)
    hits = np.append(0, np.cumsum((weights * positive)[order])[last_of_each])
    misses = np.append(0, np.cumsum((weights * ~positive)[order])[last_of_each])
    area = (np.diff(misses) * (hits[1:] + hits[:-1])).sum() / 2
    return float(area / (hits[-1] * misses[-1]))


def _regression(truth: Any, predicted: Any, weights: Any) -> dict[str, float]:
    """R2, root mean squared error and mean absolute error; of several outputs the plain mean."""
    truth, predicted = truth.astype(float), predicted.astype(float)
    error = np.average((truth - predicted) ** 2, axis=0, weights=weights)
    metrics = {
        "rmse": np.sqrt(np.mean(error)),
        "mae": np.mean(np.average(np.abs(truth - predicted), axis=0, weights=weights)),
    }
    spread = np.average((truth - np.average(truth, axis=0, weights=weights)) ** 2, axis=0, weights=weights)
    if len(truth) > 1 and np.all(spread > 0):
        metrics["r2"] = np.mean(1 - error / spread)
    return metrics


def _clusters(run: Run, estimator: Any, step: int | None) -> None:
    labels = getattr(estimator, "labels_", None)
    if labels is not None:
        distinct = np.unique(np.asarray(labels))  # -1 is noise, no cluster
        run.log({"clusters": float(len(distinct[distinct >= 0]))}, step=step)
