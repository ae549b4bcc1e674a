"""Points: metrics as Lightning hands them to its loggers, and the learning rates of its batches."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import update_wrapper
from typing import Any

from torch import Tensor

from tachograph import guard
from tachograph.hooks import Call, Hooks, Watcher
from tachograph.record import open_runs
from tachograph_frameworks.lightning import recording
from tachograph_frameworks.lightning.learning_rates import LearningRates
from tachograph_frameworks.lightning.logger import TachographLogger, handing
from tachograph_frameworks.lightning.recording import Recording


def before_metrics(connector: Any, metrics: Any = None, step: Any = None, *args: Any, **kwargs: Any) -> Any:
    """Record the metrics that a trainer is about to hand to its loggers, however many loggers there are."""
    trainer = connector.trainer
    current = recording.of(trainer)
    if current is None:
        return None
    _record(current, trainer, metrics, step)
    return handing.set(True)  # a logger of ours among them has them already


def after_metrics(token: Any, outcome: object) -> None:
    """The loggers have them, or one has raised."""
    if token is not None:
        handing.reset(token)


def _record(current: Recording, trainer: Any, metrics: Mapping[str, Any] | None, step: int | None) -> None:
    if not metrics or trainer.sanity_checking or current.run is None:
        current.log_waiting()
        return
    points, logged_step = {name: _plain(value) for name, value in metrics.items()}, step
    if logged_step is None and "step" in points:
        logged_step = int(points.pop("step"))  # a step of the user's own
    elif logged_step is None:
        points.setdefault("epoch", trainer.current_epoch)
        logged_step = _step(trainer)
    if _is_epochs(trainer._logger_connector):
        current.log_waiting()
        current.run.log(points, logged_step)
    else:
        current.log_step(points, logged_step)


def _plain(value: Any) -> Any:
    """The value of a number on the host; one on a device stays as it is: it arrives by itself."""
    return value.item() if isinstance(value, Tensor) and value.device.type == "cpu" and value.numel() == 1 else value


def _is_epochs(connector: Any) -> bool:
    """Whether the metrics that it hands out now are those of a whole epoch."""
    if hasattr(connector, "_first_loop_iter"):
        return connector._first_loop_iter is None
    return bool(connector._epoch_end_reached)  # in older versions


def hear_batches(hooks: Hooks, original: Callable[..., Any]) -> Callable[..., Any]:
    """Listen to the beginning of batches; all in one function, since there are many."""

    def on_batch_start(connector: Any, *args: Any, **kwargs: Any) -> Any:
        if hooks.on:
            try:
                trainer = connector.trainer
                loop, every = trainer.fit_loop.epoch_loop, trainer.log_every_n_steps
                # As Lightning's monitor: batches whose metrics go to the loggers, and the first one of each epoch.
                is_logged = every and ((loop._batches_that_stepped + 1) % every == 0 or trainer.should_stop)
                if is_logged or loop.batch_progress.current.ready == 1 or trainer.fast_dev_run:
                    _note_rates(trainer, is_logged)
            except guard.FAULTS as error:
                guard.fault(f"{hooks.plugin}: on_batch_start", error, open_runs.here())
        return original(connector, *args, **kwargs)

    return update_wrapper(on_batch_start, original)


def _note_rates(trainer: Any, is_logged: bool) -> None:
    """Record the learning rates that a batch is trained with."""
    current = recording.of(trainer) if trainer.training else None
    if current is None:
        return
    current.rates = current.rates or LearningRates(trainer)
    step = _step(trainer)
    if rates := current.rates.at(trainer, step):
        (current.log_with_step if is_logged else current.log_step)(rates, step)


def note_monitor(call: Call) -> Watcher:
    """Watch Lightning's monitor read the learning rates, to hand them to the loggers by itself."""
    stats = yield
    trainer = call.argument("trainer")
    current = recording.of(trainer)
    if current is not None and stats and not any(isinstance(logger, TachographLogger) for logger in trainer.loggers):
        current.log_step(stats, _step(trainer))


def _step(trainer: Any) -> int:
    """The step that a trainer gives to its loggers."""
    step: int = trainer.fit_loop.epoch_loop._batches_that_stepped
    return step
