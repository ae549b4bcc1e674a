"""One fit, as it is recorded: parameters and data before it, time, training metrics, curves and the model after it."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

from tachograph import active, guard, session
from tachograph.patch import Call, Watcher
from tachograph.run import Run
from tachograph.session import Session, options
from tachograph_frameworks.sklearn import callers, curves, estimators, models, quality, searches


def note_fit(call: Call, session_: Session) -> Watcher:
    """Watch an outermost training call of an estimator."""
    run, estimator = session_.run, call.instance
    assert run is not None
    _before(run, call)
    started = time.perf_counter()
    yield
    seconds = time.perf_counter() - started
    _after(run, call, seconds)
    estimators.remember(estimator, run)


def _before(run: Run, call: Call) -> None:
    estimator = call.instance
    run.set_tags({"estimator": estimators.class_name(estimator)})
    with guard.contained("sklearn: params", run):
        run.log_params(estimators.params(estimator))
    if options.datasets and data(call) is not None:
        X = data(call)
        run.log_dataset(X, name=callers.name_of(X, "train"), role="train", target=call.argument("y"))


def data(call: Call) -> Any:
    """The X of a training call, whatever the method calls it."""
    X = call.argument("X")
    return X if X is not None else (call.args[1] if len(call.args) > 1 else None)


def _after(run: Run, call: Call, seconds: float, step: int | None = None) -> None:
    estimator = call.instance
    run.log({"fit_seconds": seconds}, step=step)
    steps: list[tuple[str, Callable[[], None]]] = [
        ("curves", lambda: curves.record(run, estimators.final(estimator))),
        ("metrics", lambda: quality.record(run, call, data(call), seconds, step)),
    ]
    if estimators.is_search(estimator):
        steps.insert(0, ("search", lambda: searches.record(run, estimator)))
    if options.models:
        X, y = data(call), call.argument("y")
        steps.append(("model", lambda: models.keep_model(run, model(estimator), step, X, y)))
    for what, record in steps:
        with guard.contained(f"sklearn: {what}", run), session.suppress():
            record()


def model(estimator: Any) -> Any:
    """What is kept as the model: of a search the refitted best estimator, where there is one."""
    if estimators.is_search(estimator):
        return getattr(estimator, "best_estimator_", estimator)
    return estimator


def note_partial_fit(call: Call) -> Watcher:
    """Watch ``partial_fit``: all calls on one object add to one run, each a step of it."""
    known, count = estimators.run_of(call.instance), estimators.partial_fits(call.instance)
    if session.current() is not None or known is None or not count or active.given() not in (None, known):
        yield from _TRAINING_PARTIAL(call)
        return
    reopened = known.reopen()
    started = time.perf_counter()
    try:
        yield
        _after(known, call, time.perf_counter() - started, count)
        estimators.remember(call.instance, known, count + 1)
    finally:
        if reopened:
            known.finish()


def _note_first_partial_fit(call: Call, session_: Session) -> Watcher:
    run = session_.run
    assert run is not None
    _before(run, call)
    started = time.perf_counter()
    yield
    _after(run, call, time.perf_counter() - started, 0)
    estimators.remember(call.instance, run, 1)


def _training(note: Callable[[Call, Session], Watcher]) -> Callable[[Call], Watcher]:
    return session.training(
        note,
        plugin="sklearn",
        name=lambda call: estimators.title(call.instance),
        records=lambda call: estimators.predicts(call.instance),
        many=lambda call: estimators.is_search(call.instance),
    )


_TRAINING_PARTIAL = _training(_note_first_partial_fit)
FIT = _training(note_fit)
WRAPPERS = {"fit": FIT, "fit_transform": FIT, "fit_predict": FIT, "partial_fit": note_partial_fit}
