"""Cross-validation and its relatives: one run with the scores of the folds, not one for each fold."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import numpy as np

from tachograph import guard
from tachograph.hooks import Call, Hooks, Session, Watcher, options, session
from tachograph.record.run import Run
from tachograph.values import class_name
from tachograph_frameworks.sklearn import estimators, variable_names


def hook(hooks: Hooks) -> None:
    """Hook the functions of ``sklearn.model_selection``."""
    import sklearn.model_selection as module

    if not hooks.on:
        return
    for name, record in _RECORDERS.items():
        if hasattr(module, name):
            hooks.around(module, name, _training(record))


def _training(record: Callable[[Run, Call, Any], None]) -> Callable[[Call], Watcher]:
    def note(call: Call, session_: Session) -> Watcher:
        run = session_.run
        assert run is not None
        _record_inputs(run, call)
        started = time.perf_counter()
        result = yield
        run.log({"seconds": time.perf_counter() - started})
        with session.suppress():
            record(run, call, result)

    return session.training(note, plugin="sklearn", name=_title, many=lambda call: True)


def _title(call: Call) -> str:
    return f"{call.function.__name__} {estimators.title(call.argument('estimator'))}"


def _record_inputs(run: Run, call: Call) -> None:
    estimator, X = call.argument("estimator"), call.argument("X")
    run.set_tags({"estimator": class_name(type(estimator)), "function": call.function.__name__})
    with guard.contained("sklearn: params", run):
        if hasattr(estimator, "get_params"):
            run.log_params(estimators.params(estimator))
        settings = {name: call.argument(name, None) for name in ("cv", "scoring", "param_name", "train_sizes")}
        run.log_params({name: value for name, value in settings.items() if value is not None})
    if options.datasets and X is not None:
        run.recorder.log_training_data(
            X, name=variable_names.name_of(X, "train"), role="train", target=call.argument("y", None)
        )


def _folds(run: Run, call: Call, result: dict[str, Any]) -> None:
    """The result of ``cross_validate``: times and scores, one value for each fold."""
    columns = {name: values for name, values in result.items() if name not in ("estimator", "indices")}
    for fold in range(min(len(values) for values in columns.values())):
        run.log({name: float(values[fold]) for name, values in columns.items()}, step=fold)
    scores = {name: values for name, values in columns.items() if name.startswith(("test_", "train_"))}
    run.log({f"{name}_mean": float(np.mean(values)) for name, values in scores.items()})
    run.log({f"{name}_std": float(np.std(values)) for name, values in scores.items()})


def _scores(run: Run, call: Call, result: Any) -> None:
    _folds(run, call, {"test_score": result})


def _no_scores(run: Run, call: Call, result: Any) -> None:
    """``cross_val_predict`` gives predictions, and no scores."""


def _learning_curve(run: Run, call: Call, result: Any) -> None:
    sizes, train, test = result[:3]
    for size, train_scores, test_scores in zip(sizes, train, test, strict=True):
        run.log(
            {"train_score": float(np.mean(train_scores)), "test_score": float(np.mean(test_scores))}, step=int(size)
        )


def _validation_curve(run: Run, call: Call, result: Any) -> None:
    rows = []
    for value, train, test in zip(call.argument("param_range"), *result, strict=True):
        rows.append({call.argument("param_name"): value, "train_score": np.mean(train), "test_score": np.mean(test)})
        run.log({"train_score": float(np.mean(train)), "test_score": float(np.mean(test))})
    run.log_table("validation_curve", rows)


def _permutations(run: Run, call: Call, result: Any) -> None:
    score, scores, p_value = result
    run.log({"score": float(score), "p_value": float(p_value), "permutation_score_mean": float(np.mean(scores))})


_RECORDERS: dict[str, Callable[[Run, Call, Any], None]] = {
    "cross_validate": _folds,
    "cross_val_score": _scores,
    "cross_val_predict": _no_scores,
    "learning_curve": _learning_curve,
    "validation_curve": _validation_curve,
    "permutation_test_score": _permutations,
}
