"""One fit, as it is recorded: parameters and data before it, time, training metrics, curves and the model after it."""

from __future__ import annotations

import time
from collections.abc import Callable
from functools import partial
from typing import Any

from tachograph import guard
from tachograph.hooks import Call, Session, Watcher, options, session
from tachograph.record.run import Run
from tachograph.values import class_name
from tachograph_frameworks.sklearn import curves, estimators, searches, training_metrics, variable_names
from tachograph_frameworks.sklearn.model import keep_model
from tachograph_frameworks.sklearn.series import Series


def note_fit(call: Call, session_: Session) -> Watcher:
    """Watch an outermost training call of an estimator."""
    run, estimator = session_.run, call.instance
    assert run is not None
    if session_.further:
        yield from _note_further(call, session_)
        return
    if (partial_fits := estimators.series_of(estimator)) is not None:
        partial_fits.record_last()
    record_inputs(run, call)
    started = time.perf_counter()
    yield
    seconds = time.perf_counter() - started
    _after(run, call, seconds)
    estimators.remember(estimator, run)
    if type(estimator).__module__ == "xgboost.dask":
        _record_workers(run, estimator)
    if (rounds := _rounds(estimator)) is not None:
        rounds.done(estimator, rounds.Rounds(run))


def _record_workers(run: Run, estimator: Any) -> None:
    """Record the curves that workers have drawn, in other threads, processes or machines."""
    from tachograph_frameworks.xgboost import recording

    if hasattr(estimator, "evals_result_"):
        recording.record_history(run, estimator.evals_result())


def _note_further(call: Call, session_: Session) -> Watcher:
    """Watch a fit of XGBoost that goes on from another one."""
    run, rounds = session_.run, _rounds(call.instance)
    assert run is not None
    assert rounds is not None
    earlier, started = rounds.go_on(call.argument("xgb_model"), session_), time.perf_counter()
    yield
    seconds = time.perf_counter() - started
    run.log({"fit_seconds": seconds}, earlier.next)
    earlier.later("fit", partial(record_results, run, call, seconds, earlier.next))
    rounds.done(call.instance, earlier)
    estimators.remember(call.instance, run)


def _rounds(estimator: Any) -> Any:
    """What knows of fits of XGBoost that are a single round, each going on from another one; None for other fits."""
    if type(estimator).__module__.partition(".")[0] != "xgboost" or estimator.get_num_boosting_rounds() != 1:
        return None
    from tachograph_frameworks.xgboost import steps

    return steps


def _goes_on(call: Call) -> Run | None:
    rounds = _rounds(call.instance)
    return None if rounds is None else rounds.begin(call.argument("xgb_model"), is_single=True)


def record_inputs(run: Run, call: Call) -> None:
    """Record what is known before a training call: the estimator, its parameters and the data."""
    estimator = call.instance
    run.set_tags({"estimator": class_name(type(estimator))})
    log_params(run, estimator)
    if options.datasets and data(call) is not None:
        X = data(call)
        run.recorder.log_training_data(X, name=variable_names.name_of(X, "train"), role="train", target=target(call))


def log_params(run: Run, estimator: Any) -> None:
    """Record an estimator's parameters."""
    with guard.contained("sklearn: params", run):
        run.log_params(estimators.params(estimator))


def data(call: Call) -> Any:
    """The X of a training call, whatever the method calls it."""
    X = call.argument("X", None)
    return X if X is not None else (call.args[1] if len(call.args) > 1 else None)


def target(call: Call) -> Any:
    """The y of a training call, which some classes call Y."""
    y = call.argument("y", None)
    return y if y is not None else call.argument("Y", None)


def _after(run: Run, call: Call, seconds: float) -> None:
    run.log({"fit_seconds": seconds})
    record_results(run, call, seconds)


def record_results(run: Run, call: Call, seconds: float, step: int | None = None, series: Series | None = None) -> None:
    """Record what a training call has made of its estimator."""
    estimator = call.instance
    points = {} if series is None else series.points
    parts: list[tuple[str, Callable[[], None]]] = [
        ("curves", lambda: curves.record(run, estimators.final(estimator), step, points)),
        ("metrics", lambda: training_metrics.record(run, call, data(call), target(call), seconds, step)),
    ]
    if estimators.is_search(estimator):
        parts.insert(0, ("search", lambda: searches.record(run, estimator)))
    if options.models:
        parts.append(("model", lambda: _keep_model(run, call, step, series)))
    for part, record in parts:
        with guard.contained(f"sklearn: {part}", run), session.suppress():
            record()


def _keep_model(run: Run, call: Call, step: int | None, series: Series | None) -> None:
    estimator = model_to_keep(call.instance)
    if estimator is None:
        return
    digest = keep_model(run, estimator, step, data(call), target(call))
    if series is not None:
        series.kept(digest)


def model_to_keep(estimator: Any) -> Any:
    """What is kept as the model: of a search the refitted best estimator, and nothing where none was refitted."""
    if estimators.is_search(estimator):
        return getattr(estimator, "best_estimator_", None)
    return estimator


def training(note: Callable[[Call, Session], Watcher]) -> Callable[[Call], Watcher]:
    """A wrapper that gives the outermost training call its run, and lets ``note`` watch it."""
    return session.training(
        note,
        plugin="sklearn",
        name=lambda call: estimators.title(call.instance),
        records=lambda call: estimators.predicts(call.instance),
        many=lambda call: estimators.is_search(call.instance),
        goes_on=_goes_on,
    )


FIT = training(note_fit)
WRAPPERS = {"fit": FIT, "fit_transform": FIT, "fit_predict": FIT}
