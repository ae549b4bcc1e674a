"""Points: metrics as Lightning hands them to its loggers, and the learning rates of its batches."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import Tensor

from tachograph.patch import Call, Watcher
from tachograph_frameworks.lightning import recording
from tachograph_frameworks.lightning.logger import TachographLogger, handing
from tachograph_frameworks.lightning.rates import Rates, is_due
from tachograph_frameworks.lightning.recording import Recording


def before_metrics(connector: Any, metrics: Any = None, step: Any = None, *args: Any, **kwargs: Any) -> Any:
    """Metrics go to the loggers: any number of them, or none."""
    trainer = connector.trainer
    found = recording.of(trainer)
    if found is None:
        return None
    _record(found, trainer, metrics, step)
    return handing.set(True)  # a logger of ours among them has them already


def after_metrics(token: Any, outcome: object) -> None:
    """They have gone, or not."""
    if token is not None:
        handing.reset(token)


def _record(found: Recording, trainer: Any, metrics: Mapping[str, Any] | None, step: int | None) -> None:
    if not metrics or trainer.sanity_checking or found.run is None:
        return
    points, given = {name: _plain(value) for name, value in metrics.items()}, step
    if given is None and "step" in points:
        given = int(points.pop("step"))  # a step of the user's own
    elif given is None:
        points.setdefault("epoch", trainer.current_epoch)
        given = _step(trainer)
    if _is_epochs(trainer._logger_connector):
        found.run.log(points, given)
    else:
        found.log_step(points, given)


def _plain(value: Any) -> Any:
    """A number that is here already as such; one on a device is left to arrive by itself."""
    return value.item() if isinstance(value, Tensor) and value.device.type == "cpu" and value.numel() == 1 else value


def _is_epochs(connector: Any) -> bool:
    """Whether its metrics are those of a whole epoch now."""
    if hasattr(connector, "_first_loop_iter"):
        return connector._first_loop_iter is None
    return bool(connector._epoch_end_reached)  # in older versions


def before_batch(connector: Any, *args: Any, **kwargs: Any) -> None:
    """A batch begins: these are the learning rates that it is trained with."""
    trainer = connector.trainer
    if not (is_due(trainer) and trainer.training):
        return
    found = recording.of(trainer)
    if found is not None:
        found.rates = found.rates or Rates(trainer)
        step = _step(trainer)
        if rates := found.rates.at(trainer, step):
            found.log_step(rates, step)


def note_monitor(call: Call) -> Watcher:
    """Watch Lightning's monitor read the learning rates, to hand them to the loggers by itself."""
    stats = yield
    trainer = call.argument("trainer")
    found = recording.of(trainer)
    if found is not None and stats and not any(isinstance(logger, TachographLogger) for logger in trainer.loggers):
        found.log_step(stats, _step(trainer))


def _step(trainer: Any) -> int:
    """The step that a trainer gives to its loggers."""
    step: int = trainer.fit_loop.epoch_loop._batches_that_stepped
    return step
