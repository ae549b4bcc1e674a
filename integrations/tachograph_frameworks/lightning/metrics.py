"""Points: metrics as Lightning hands them to its loggers, and learning rates as its own monitor reads them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from tachograph.patch import Call, Watcher
from tachograph_frameworks.lightning import recording
from tachograph_frameworks.lightning.logger import TachographLogger, handing
from tachograph_frameworks.lightning.packages import Package, name_of
from tachograph_frameworks.lightning.recording import Recording


def note_metrics(call: Call) -> Watcher:
    """Watch metrics go to the loggers: any number of them, or none."""
    trainer = call.instance.trainer
    found = recording.of(trainer)
    if found is None:
        yield
        return
    _record(found, trainer, call.argument("metrics"), call.argument("step"))
    token = handing.set(True)  # a logger of ours among them has them already
    try:
        yield
    finally:
        handing.reset(token)


def _record(found: Recording, trainer: Any, metrics: Mapping[str, Any] | None, step: int | None) -> None:
    if not metrics or trainer.sanity_checking or found.run is None:
        return
    points, given = dict(metrics), step
    if given is None and "step" in points:
        given = int(points.pop("step"))  # a step of the user's own
    elif given is None:
        points.setdefault("epoch", trainer.current_epoch)
        given = _step(trainer)
    if _is_epochs(trainer._logger_connector):
        found.run.log(points, given)
    else:
        found.log_step(points, given)


def _is_epochs(connector: Any) -> bool:
    """Whether its metrics are those of a whole epoch now."""
    if hasattr(connector, "_first_loop_iter"):
        return connector._first_loop_iter is None
    return bool(connector._epoch_end_reached)  # in older versions


def before_batch(connector: Any, *args: Any, **kwargs: Any) -> None:
    """A batch begins: these are the learning rates that it is trained with."""
    trainer = connector.trainer
    found = recording.of(trainer) if trainer.training else None
    if found is None:
        return
    step = _step(trainer)
    if step != found.rated and _is_due(trainer) and not _monitors(trainer):
        found.rated = step
        found.log_step(_rates(trainer), step)


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


def _is_due(trainer: Any) -> bool:
    """Whether this batch is one whose metrics go to the loggers, or the first of its epoch."""
    return bool(
        trainer._logger_connector.should_update_logs
        or trainer.fast_dev_run
        or trainer.fit_loop.epoch_loop.batch_idx == 0
    )


def _monitors(trainer: Any) -> bool:
    monitor = Package(name_of(trainer)).find("callbacks", "LearningRateMonitor")
    return any(isinstance(callback, monitor) for callback in trainer.callbacks)


def _rates(trainer: Any) -> dict[str, Any]:
    """The learning rate of each group of parameters, under the name that Lightning's monitor gives to it."""
    monitor = Package(name_of(trainer)).find("callbacks", "LearningRateMonitor")()
    configs = trainer.lr_scheduler_configs
    names, seen, types = monitor._find_names_from_schedulers(configs)
    more, others = monitor._find_names_from_optimizers(trainer.optimizers, seen, types)
    optimizers = [*(config.scheduler.optimizer for config in configs), *others]
    return {
        name: group["lr"]
        for optimizer, groups in zip(optimizers, [*names, *more], strict=True)
        for name, group in zip(groups, optimizer.param_groups, strict=True)
        if "lr" in group
    }
