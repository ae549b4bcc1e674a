"""Where Lightning is listened to while a training is recorded: in its classes, so that no trainer is changed.

The hooks of a package are in place as long as one of its trainers is recorded. What a trainer that is not recorded does
there goes by.
"""

from __future__ import annotations

import threading
from functools import partial
from typing import Any

from tachograph.hooks import Call, Hooks, Watcher
from tachograph_frameworks.lightning.packages import Package

_lock = threading.RLock()
_in_place: dict[str, tuple[Hooks, int]] = {}


def hold(name: str) -> None:
    """Listen inside the trainers of a package, until :func:`release` is called as often."""
    with _lock:
        hooks, count = _in_place.get(name) or (_hooked(name), 0)
        _in_place[name] = (hooks, count + 1)


def release(name: str) -> None:
    """Stop listening, unless another trainer of the package is recorded still."""
    with _lock:
        hooks, count = _in_place.pop(name)
        if count > 1:
            _in_place[name] = (hooks, count - 1)
        else:
            hooks.undo()


def _hooked(name: str) -> Hooks:
    from tachograph_frameworks.lightning import checkpoints, data, metrics, settings

    package, hooks = Package(name), Hooks(f"{name} (inside)")
    connector = package.find("trainer.connectors.logger_connector.logger_connector", "_LoggerConnector")
    hooks.listen(
        connector,
        "log_metrics",
        before=metrics.before_metrics,
        after=metrics.after_metrics,
        raised=metrics.after_metrics,
    )
    hooks.replace(connector, "on_batch_start", partial(metrics.hear_batches, hooks))
    hooks.around(package.find("callbacks", "LearningRateMonitor"), "_extract_stats", metrics.note_monitor)
    hooks.around(package.trainer, "_run_stage", settings.note_stage)
    hooks.around(package.trainer, "save_checkpoint", checkpoints.note_saved)
    for loop in ("_FitLoop", "_EvaluationLoop"):
        hooks.around(package.find("loops", loop), "setup_data", data.note_data)
    hooks.around(package.find("callbacks", "LearningRateFinder"), "lr_find", note_search)
    hooks.around(package.find("callbacks", "BatchSizeFinder"), "scale_batch_size", note_search)
    return hooks


def note_search(call: Call) -> Watcher:
    """Watch a search for a setting, in which nothing is trained yet."""
    from tachograph_frameworks.lightning import recording

    trainer: Any = call.argument("trainer")
    begun = recording.begun(trainer)
    if begun is None:
        yield
        return
    with begun.silenced():
        yield
