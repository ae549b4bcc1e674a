"""The trainer's entry points: each outermost call has a session; an evaluation after a fit adds to the fit's run."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

from tachograph.hooks import Call, Session, Watcher, session
from tachograph.record import active_run, outcome
from tachograph_frameworks.lightning import checkpoints, last_fit, recording
from tachograph_frameworks.lightning.logger import NAME
from tachograph_frameworks.lightning.settings import conclude


def _note(call: Call, session_: Session) -> Watcher:
    """Watch an outermost call in its own run, or in the user's."""
    trainer = call.instance
    recording.begin(trainer, session_.run)
    if call.function.__name__ == "fit":
        last_fit.remember(trainer, _module(call), session_)
    error: BaseException | None = None
    try:
        yield
    except BaseException as raised:
        error = raised
        raise
    finally:
        error = _interruption(trainer, error) or error
        begun = recording.end(trainer)
        if error is not None:
            last_fit.failed(trainer)
        if begun is not None:
            conclude(begun, trainer, error)
        if isinstance(error, KeyboardInterrupt) and session_.owned is not None:
            session_.owned.finish("interrupted", error)


def _interruption(trainer: Any, error: BaseException | None) -> KeyboardInterrupt | None:
    """The Ctrl-C that Lightning has caught: it exits the program instead; older versions just return."""
    if isinstance(error, SystemExit) and isinstance(error.__context__, KeyboardInterrupt):
        return error.__context__
    return KeyboardInterrupt() if error is None and trainer.state.status == "interrupted" else None


def _records(stage: str, call: Call) -> bool:
    return stage != "predict" and not last_fit.is_tuning(call.instance)


def _module(call: Call) -> Any:
    module = call.argument("model")
    return call.instance.lightning_module if module is None else last_fit.unwrapped(module)


def _training(records: Callable[[Call], bool]) -> Callable[[Call], Watcher]:
    return session.training(
        _note, plugin=NAME, name=lambda call: last_fit.title(_module(call)), records=records, silences=("torch",)
    )


_QUIET = _training(lambda call: False)


def _evaluation(stage: str) -> Callable[[Call], Watcher]:
    alone = _training(partial(_records, stage))

    def wrapper(call: Call) -> Watcher:
        fit = last_fit.last(call.instance, _module(call))
        inside = (
            session.current() is not None
            or active_run.find_for_training() is not None
            or last_fit.is_tuning(call.instance)
        )
        if fit is None or inside:
            yield from alone(call)
        else:
            yield from _after(fit, call)

    return wrapper


def _after(fit: last_fit.Fit, call: Call) -> Watcher:
    """Watch an evaluation whose metrics belong to the run of the fit before it."""
    trainer = call.instance
    recording.begin(trainer, fit.run if fit.run.rank == 0 else None, described=True)
    reopened = fit.reopen()
    error: BaseException | None = None
    try:
        yield from _QUIET(call)
    except BaseException as raised:
        error = raised
        raise
    finally:
        recording.end(trainer)
        error = _interruption(trainer, error) or error
        if reopened:
            fit.run.finish(outcome.status(error), error)


def _note_run(call: Call) -> Watcher:
    """Watch ``Trainer._run``, which each process of a job goes through: what it trains, and in which run."""
    trainer, outer = call.instance, session.current()
    if outer is not None and outer.plugin == NAME and trainer.state.fn == "fit":
        last_fit.remember(trainer, call.argument("model"), outer)
    run = active_run.find_for_training() if outer is None else None
    if run is None or run.role != "worker" or recording.begun(trainer) is not None:
        yield
        return
    recording.begin(trainer, run)  # spawned by a trainer whose call is watched in the process that has made it
    try:
        yield
    finally:
        recording.end(trainer)


WRAPPERS: dict[str, Callable[[Call], Watcher]] = {
    "fit": _training(partial(_records, "fit")),
    **{stage: _evaluation(stage) for stage in ("validate", "test", "predict")},
    "_run": _note_run,
    "save_checkpoint": checkpoints.note_later,
}
