"""Scores that are computed after a fit: they land on the run of that fit, under the name of the user's variable.

``model.score(X_test, y_test)`` is recorded as ``score_X_test``. For ``accuracy_score(y_test, model.predict(X_test))``
each prediction is remembered with what it was made from: it is recorded as ``accuracy_score_X_test``.
"""

from __future__ import annotations

import inspect
import threading
import weakref
from collections import OrderedDict
from typing import Any

import numpy as np

from tachograph.hooks import Call, Hooks, Watcher, session
from tachograph.record.run import Run
from tachograph_frameworks.sklearn import estimators, variable_names

REMEMBERED = 256
_PREDICTED = ("y_pred", "y_score", "y_prob", "y_proba", "pred_decision", "labels_pred", "labels")

_predictions: OrderedDict[int, tuple[weakref.ref[Any], Run, str]] = OrderedDict()
_inside = threading.local()


def note_score(call: Call) -> Watcher:
    """Watch ``score``."""
    run = None if session.current() else estimators.run_of(call.instance)
    if run is None or getattr(_inside, "busy", False):
        yield
        return
    name = variable_names.name_of(call.argument("X", None), "data")
    _inside.busy = True
    try:
        result = yield
    finally:
        _inside.busy = False
    _record(run, f"score_{name}", result)


def note_predict(call: Call) -> Watcher:
    """Watch ``predict`` and its relatives."""
    run = None if session.current() else estimators.run_of(call.instance)
    if run is None:
        yield
        return
    name = variable_names.name_of(call.argument("X", None), "data")
    result = _memory_owner((yield))
    try:
        reference = weakref.ref(result)
    except TypeError:  # a list has no place for weak references
        return
    _predictions[id(result)] = (reference, run, name)
    while len(_predictions) > REMEMBERED:
        _predictions.popitem(last=False)


def _memory_owner(value: Any) -> Any:
    """The array that owns the memory of ``value``, which may be a view of it such as ``probabilities[:, 1]``."""
    while isinstance(getattr(value, "base", None), np.ndarray):
        value = value.base
    return value


def note_metric(call: Call) -> Watcher:
    """Watch a function of ``sklearn.metrics``; those that it calls in turn are its own affair."""
    if getattr(_inside, "busy", False) or session.current() is not None:
        yield
        return
    _inside.busy = True
    try:
        result = yield
    finally:
        _inside.busy = False
    for argument in _PREDICTED:
        prediction = _made_by(call.argument(argument, None))
        if prediction is not None:
            run, name = prediction
            _record(run, f"{call.function.__name__}_{name}", result)
            return


def _made_by(value: Any) -> tuple[Run, str] | None:
    """The run whose model predicted ``value``, and the name of the data; None where it is no known prediction."""
    owner = _memory_owner(value)
    prediction = _predictions.get(id(owner))
    return prediction[1:] if prediction is not None and prediction[0]() is owner else None


def _record(run: Run, name: str, result: Any) -> None:
    if isinstance(result, float | int | np.floating | np.integer) and not isinstance(result, bool):
        run.log({name: float(result)})


def hook_metrics(hooks: Hooks) -> None:
    """Hook the functions of ``sklearn.metrics`` that take predictions."""
    import sklearn.metrics as module

    if not hooks.on:
        return
    for name in module.__all__:
        function = getattr(module, name)
        if inspect.isfunction(function) and not set(_PREDICTED).isdisjoint(inspect.signature(function).parameters):
            hooks.around(module, name, note_metric)


WRAPPERS = {
    "score": note_score,
    "predict": note_predict,
    "predict_proba": note_predict,
    "predict_log_proba": note_predict,
    "decision_function": note_predict,
}
