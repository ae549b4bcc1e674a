"""Wrappers of XGBoost's calls: ``train`` and ``cv`` with their arguments, the container that calls the callbacks."""

from __future__ import annotations

import inspect
import os
from collections.abc import Callable, Iterable, Mapping
from contextvars import ContextVar
from typing import Any

from xgboost import DMatrix
from xgboost.callback import EarlyStopping

from tachograph import guard
from tachograph.hooks import Call, Session, Watcher, options, session
from tachograph.record.run import Run
from tachograph_frameworks.xgboost import data, recording, steps
from tachograph_frameworks.xgboost.steps import Rounds

_SHOWN = ("num_boost_round", "nfold", "stratified", "shuffle", "seed")  # with their defaults
_GIVEN = ("early_stopping_rounds", "maximize", "metrics")
_FUNCTIONS = ("obj", "custom_metric", "feval", "fpreproc", "folds")


def _note_call(call: Call, session: Session) -> Watcher:
    """Watch an outermost call of ``train`` or ``cv``. What comes out of it is recorded at the end of its rounds."""
    run = session.run
    assert run is not None
    arguments = _arguments(call)
    rounds = steps.go_on(arguments.get("xgb_model"), session)
    with guard.contained("xgboost: params", run):
        _record_params(rounds, _params(arguments))
    if options.datasets and not session.further:
        with guard.contained("xgboost: data", run):
            _record_data(run, arguments)
    model = yield
    if _is_single(call):
        steps.done(model, rounds)


def _is_single(call: Call) -> bool:
    """Whether a call is a training of one round."""
    arguments = _arguments(call)
    return "nfold" not in arguments and bool(arguments.get("num_boost_round") == 1)


def _record_params(rounds: Rounds, params: dict[str, Any]) -> None:
    """Record the parameters; those of a further round only if they differ from the last round's."""
    if rounds.next:
        del params["xgb_model"]
    text = repr(params)
    if text != rounds.params:
        rounds.run.log_params(params)
        rounds.params = text


def _arguments(call: Call) -> dict[str, Any]:
    """The arguments by name. XGBoost takes some by position that its signature has as keywords."""
    parameters = inspect.signature(call.function).parameters
    values = {name: parameter.default for name, parameter in parameters.items()}
    values |= dict(zip(parameters, call.args, strict=False)) | call.kwargs
    return {name: value for name, value in values.items() if value is not inspect.Parameter.empty}


def _params(arguments: Mapping[str, Any]) -> dict[str, Any]:
    params = _booster_params(arguments.get("params"))
    params |= {name: arguments[name] for name in _SHOWN if name in arguments}
    params |= {name: arguments[name] for name in _GIVEN if arguments.get(name) not in (None, ())}
    params |= {name: _named(arguments[name]) for name in _FUNCTIONS if arguments.get(name) is not None}
    if (model := arguments.get("xgb_model")) is not None:
        params["xgb_model"] = os.fspath(model) if isinstance(model, str | os.PathLike) else _named(model)
    callbacks = list(arguments.get("callbacks") or ())
    if callbacks:
        params["callbacks"] = [_named(callback) for callback in callbacks]
    for callback in callbacks:
        if isinstance(callback, EarlyStopping):
            params.setdefault("early_stopping_rounds", callback.rounds)
    return params


def _booster_params(params: Mapping[str, Any] | Iterable[tuple[str, Any]] | None) -> dict[str, Any]:
    """The user's own parameters; given as pairs, a name may come more than once (``eval_metric``)."""
    if params is None or isinstance(params, Mapping):
        return {} if params is None else {str(name): _plain(value) for name, value in params.items()}
    lists: dict[str, list[Any]] = {}
    for name, value in params:
        lists.setdefault(str(name), []).append(_plain(value))
    return {name: values[0] if len(values) == 1 else values for name, values in lists.items()}


def _plain(value: Any) -> Any:
    return _named(value) if callable(value) else value


def _named(value: Any) -> str:
    """A function, class or object by its name: its text may hold a memory address."""
    return str(getattr(value, "__qualname__", type(value).__qualname__))


def _record_data(run: Run, arguments: Mapping[str, Any]) -> None:
    """The training data, and what is evaluated beside it under its name there."""
    train = arguments.get("dtrain")
    if isinstance(train, DMatrix):
        data.record(run, train, "train", "train")
    for matrix, name in arguments.get("evals") or ():
        if isinstance(matrix, DMatrix) and matrix is not train:
            data.record(run, matrix, name, "validation")


_fit: ContextVar[Call | None] = ContextVar("tachograph_xgboost_fit", default=None)


def note_fit(call: Call) -> Watcher:
    """Watch the ``fit`` of an estimator: which data it evaluates is recorded when its training begins."""
    token = _fit.set(call)
    try:
        yield
    finally:
        _fit.reset(token)


def _record_evaluated(outer: Session) -> None:
    """Record the ``eval_set`` of a fit, in the names that XGBoost gives its parts, without the training data in it."""
    fit = _fit.get()
    if fit is None or outer.run is None or outer.many or "eval_set" in outer.claimed or not options.datasets:
        return
    outer.claimed.add("eval_set")
    with guard.contained("xgboost: data", outer.run):
        for number, (X, y) in enumerate(fit.argument("eval_set") or ()):
            if X is not fit.argument("X"):
                outer.run.recorder.log_training_data(X, name=f"validation_{number}", role="validation", target=y)


def note_begin(call: Call) -> Watcher:
    """Watch a training begin, and put its recording around the user's callbacks, for this training only.

    The container's collection of callbacks is its own copy. The first one is called before another can stop the
    training or raise; the last one sees the model that the others have made.
    """
    first = recording.begin(call.argument("model"))
    if first is not None:
        call.instance.callbacks = [first, *call.instance.callbacks, recording.LastCallback(first)]
    yield


def _training(name: str) -> Callable[[Call], Watcher]:
    watch = session.training(
        _note_call,
        plugin=recording.NAME,
        name=lambda call: name,
        records=lambda call: recording.is_first(),
        goes_on=lambda call: steps.begin(_arguments(call).get("xgb_model"), _is_single(call)),
    )

    def wrapper(call: Call) -> Watcher:
        recording.TRAININGS.end_left()
        outer = session.current()
        if outer is not None and outer.plugin != recording.NAME:
            _record_evaluated(outer)
        return watch(call)

    return wrapper


TRAIN = _training("xgboost")
CV = _training("xgboost.cv")
