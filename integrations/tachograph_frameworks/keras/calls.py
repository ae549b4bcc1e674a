"""Calls of Keras that are watched: ``fit`` for its arguments, ``evaluate`` for its result, saving for checkpoints."""

from __future__ import annotations

import inspect
from typing import Any

import keras

from tachograph import guard
from tachograph.hooks import Call, Session, Watcher, options, session
from tachograph.record import checkpoints
from tachograph_frameworks.keras import callback, callback_settings, data, recording, steps
from tachograph_frameworks.keras.recording import TRAININGS

_WITH_DEFAULTS = ("epochs", "initial_epoch", "validation_split", "validation_freq", "shuffle")
_IF_GIVEN = ("steps_per_epoch", "validation_steps", "validation_batch_size", "class_weight")
_BATCH_SIZE = 32  # Keras's own, for arrays


def _note_training(call: Call, session_: Session) -> Watcher:
    """Watch an outermost ``fit``."""
    run, model = session_.run, call.instance
    assert run is not None
    if session_.further:
        yield
        _count_on(model)
        return
    recording.remember(model, run)
    run.set_tags({"model": type(model).__name__, "backend": keras.backend.backend()})
    with guard.contained("keras: params", run):
        run.log_params(_params(_arguments(call)))
    if options.datasets:
        with guard.contained("keras: data", run):
            _record_data(run, _arguments(call))
    yield
    recorded = TRAININGS.of(model)
    if recorded is not None and recorded.last is not None and _is_single(call):
        steps.remember(model, run, recorded.last + 1)


def _count_on(model: Any) -> None:
    before, recorded = steps.of(model), TRAININGS.of(model)
    if before is not None and recorded is not None and recorded.last is not None:
        before.next = recorded.last + 1


def _is_single(call: Call) -> bool:
    """Whether a ``fit`` is of one epoch."""
    return bool(call.argument("epochs") - call.argument("initial_epoch") == 1)


_TRAINING = session.training(
    _note_training,
    plugin=recording.NAME,
    name=lambda call: str(call.instance.name),
    silences=recording.SILENCES,
    goes_on=lambda call: steps.begin(call.instance, _is_single(call)),
)


def note_fit(call: Call) -> Watcher:
    """Watch any ``fit``. Its list of callbacks is left as it was, however the call ends."""
    TRAININGS.end_left()
    outer = TRAININGS.of(call.instance)
    try:
        yield from _TRAINING(call)
    except BaseException:
        if session.current() is None:
            steps.forget(call.instance)
        raise
    finally:
        callback.remove_callbacks(call.instance, outer)


def note_begin(call: Call) -> Watcher:
    """Watch the callbacks being told that a training begins, and join them inside a call that is recorded."""
    if session.current() is not None:
        callback.add_callbacks(call.instance)
    yield


def note_evaluation(call: Call) -> Watcher:
    """Watch the callbacks being told the end of an evaluation; the validation of a training is the training's own."""
    yield
    model = getattr(call.instance, "_model", None)
    if model is None or session.current() is not None or TRAININGS.of(model) is not None:
        return
    run = recording.run_of(model)
    if run is not None:
        points, _ = recording.numbers(call.argument("logs") or {})
        run.log({f"evaluate_{name}": value for name, value in points.items()})


def note_checkpoint(call: Call) -> Watcher:
    """Watch ``ModelCheckpoint`` decide whether to save, and save."""
    recorded = TRAININGS.of(getattr(call.instance, "_model", None))
    if recorded is None or options.checkpoints is False:
        yield
        return
    recorded.checkpoint = callback_settings.Checkpoint.of(call)
    try:
        yield
    finally:
        recorded.checkpoint = None


def note_save(call: Call) -> Watcher:
    """Watch a model being saved: inside of ``ModelCheckpoint`` that is a checkpoint."""
    yield
    recorded = TRAININGS.of(call.instance)
    if recorded is not None and recorded.checkpoint is not None:
        checkpoint = recorded.checkpoint
        checkpoints.keep(
            recorded.run,
            call.argument("filepath"),
            step=recorded.step(checkpoint.epoch),
            is_best=checkpoint.is_best,
            meta=checkpoint.meta,
        )


def _arguments(call: Call) -> dict[str, Any]:
    return {name: call.argument(name) for name in inspect.signature(call.function).parameters}


def _params(arguments: dict[str, Any]) -> dict[str, Any]:
    params = {name: arguments[name] for name in _WITH_DEFAULTS if name in arguments}
    params |= {name: arguments[name] for name in _IF_GIVEN if arguments.get(name) is not None}
    batch_size = arguments.get("batch_size") or data.batch_size(arguments.get("x"), _BATCH_SIZE)
    if batch_size is not None:
        params["batch_size"] = batch_size
    if arguments.get("sample_weight") is not None:
        params["sample_weight"] = True
    if names := callback_settings.names(arguments.get("callbacks")):
        params["callbacks"] = names
    return params


def _record_data(run: Any, arguments: dict[str, Any]) -> None:
    data.record(run, "train", arguments.get("x"), arguments.get("y"), arguments.get("sample_weight"))
    validation = arguments.get("validation_data")
    if isinstance(validation, tuple | list):
        data.record(run, "validation", *validation[:3])
    elif validation is not None:
        data.record(run, "validation", validation)
