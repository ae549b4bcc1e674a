"""Fitted estimators that are kept, with what goes into them and what comes out.

By joblib: that is quick and keeps every estimator as it is, but reading it back takes trust. skops does not, for simple
estimators; its import alone takes more than a second of the first fit, and a forest becomes five times as large, takes
five times as long, and needs trust all the same.
"""

from __future__ import annotations

import importlib.util
import io
import pickle
from typing import Any

import joblib
import sklearn

from tachograph.data.signature import classes, example, signature
from tachograph.hooks import options
from tachograph.record.run import Run
from tachograph.values import class_name
from tachograph_frameworks.sklearn import estimators

_FILES = {"joblib": "model.joblib", "pickle": "model.pkl"}


def keep_model(run: Run, estimator: Any, step: int | None = None, X: Any = None, y: Any = None) -> str | None:
    """Keep the fitted estimator: an XGBoost model in its own format, anything else by joblib.

    Returns the digest of what joblib wrote; None for XGBoost's, or where nothing was kept.

    ``X`` and ``y`` are what it was fitted on, for its signature. Real data in it are the classes and an example
    of a few rows: they are left out with ``autolog(datasets=False)``.
    """
    if _keep_natively(run, estimator):
        return None
    try:
        content, format = _dumped(estimator)
    except (pickle.PicklingError, TypeError, AttributeError, RecursionError) as error:
        run.recorder.remark(f"the model was not kept: {type(estimator).__name__} can't be pickled ({error})")
        return None
    meta = {"format": format, "class": class_name(type(estimator)), "scikit-learn": sklearn.__version__}
    meta |= _signature_of(estimator, X, y)
    return run.recorder.keep_bytes(content, "model", "model", _FILES[format], step, meta)


def _dumped(estimator: Any) -> tuple[bytes, str]:
    """The estimator as bytes, and their format: joblib's, else (for a lambda) cloudpickle's, where it is installed."""
    content = io.BytesIO()
    try:
        joblib.dump(estimator, content)
        return content.getvalue(), "joblib"
    except (pickle.PicklingError, TypeError, AttributeError):
        if importlib.util.find_spec("cloudpickle") is None:
            raise
        import cloudpickle

        return cloudpickle.dumps(estimator), "pickle"


def _keep_natively(run: Run, estimator: Any) -> bool:
    if type(estimator).__module__.partition(".")[0] != "xgboost":
        return False
    from tachograph_frameworks import xgboost

    return xgboost.save_estimator(run, estimator)


def _signature_of(estimator: Any, X: Any, y: Any) -> dict[str, Any]:
    inputs, rows = signature(X), example(X) if options.datasets else None
    described = {"signature": {"inputs": inputs, "outputs": _outputs(estimator, y)}} if inputs else {}
    return {**described, **({"example": rows} if rows else {})}


def _outputs(estimator: Any, y: Any) -> dict[str, Any]:
    """What ``predict`` gives, as far as the fitted estimator and its target say so; the classes in their order."""
    labels: Any = getattr(estimator, "classes_", None)
    if hasattr(labels, "dtype") and labels.ndim == 1:
        shown = classes(labels, y) if options.datasets else None
        return {"prediction": {"shape": [None], "dtype": str(labels.dtype), **({"classes": shown} if shown else {})}}
    if estimators.kind(estimator) == "regressor":
        return {"prediction": {"shape": [None, *getattr(y, "shape", (0,))[1:]], "dtype": "float64"}}
    if estimators.kind(estimator) == "clusterer" and hasattr(estimator, "labels_"):
        return {"prediction": {"shape": [None], "dtype": str(estimator.labels_.dtype)}}
    return {}
