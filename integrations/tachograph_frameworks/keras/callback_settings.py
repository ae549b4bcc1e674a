"""The settings of Keras's own callbacks, and what these came to."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

from keras import callbacks as keras_callbacks
from keras.callbacks import CallbackList

from tachograph.hooks import Call
from tachograph_frameworks.keras.settings import named

_MONITORED = ("monitor", "mode")
_SETTINGS: dict[str, tuple[str, tuple[str, ...]]] = {
    "EarlyStopping": (
        "early_stopping",
        (*_MONITORED, "patience", "min_delta", "baseline", "restore_best_weights", "start_from_epoch"),
    ),
    "ReduceLROnPlateau": (
        "reduce_lr_on_plateau",
        (*_MONITORED, "factor", "patience", "min_delta", "cooldown", "min_lr"),
    ),
    "ModelCheckpoint": (
        "model_checkpoint",
        ("filepath", *_MONITORED, "save_best_only", "save_weights_only", "save_freq"),
    ),
    "LearningRateScheduler": ("learning_rate_scheduler", ("schedule",)),
    "BackupAndRestore": ("backup_and_restore", ("backup_dir", "save_freq")),
}
_ADDED = ("History", "ProgbarLogger")  # by Keras itself


@dataclass
class Checkpoint:
    """A file that ``ModelCheckpoint`` is writing."""

    epoch: int
    is_best: bool | None
    meta: dict[str, Any]

    @classmethod
    def of(cls, call: Call) -> Checkpoint:
        """The checkpoint that a call of ``ModelCheckpoint._save_model`` writes."""
        callback, logs = call.instance, call.argument("logs") or {}
        kind = "weights" if callback.save_weights_only else "model"
        meta = {"monitor": callback.monitor, "value": _plain(logs.get(callback.monitor)), "holds": kind}
        return cls(call.argument("epoch"), True if callback.save_best_only else None, meta)


def names(callbacks: Any) -> list[str]:
    """The classes of the user's callbacks, in whatever shape these were given."""
    if isinstance(callbacks, CallbackList):
        callbacks = callbacks.callbacks
    listed = callbacks if isinstance(callbacks, list | tuple) else [callbacks]
    classes = [type(callback).__name__ for callback in listed if callback is not None]
    return [name for name in classes if name not in _ADDED]


def settings(callbacks: list[Any]) -> dict[str, Any]:
    """The settings of those callbacks that are Keras's own, under ``early_stopping.patience`` and the like."""
    params: dict[str, Any] = {}
    for callback in callbacks:
        for kind, (prefix, attributes) in _SETTINGS.items():
            if isinstance(callback, getattr(keras_callbacks, kind)):
                present = [name for name in attributes if hasattr(callback, name)]
                params |= {f"{prefix}.{name}": named(getattr(callback, name)) for name in present}
    return params


def resumed_epoch(model: Any, callbacks: list[Any]) -> int | None:
    """The epoch with which ``BackupAndRestore`` goes on; None where it began anew."""
    restores = any(isinstance(callback, keras_callbacks.BackupAndRestore) for callback in callbacks)
    return (getattr(model, "_initial_epoch", None) or None) if restores else None


def outcomes(callbacks: list[Any]) -> tuple[dict[str, float], dict[str, Any]]:
    """What early stopping came to: points, and parameters."""
    points: dict[str, float] = {}
    params: dict[str, Any] = {}
    for callback in callbacks:
        if not isinstance(callback, keras_callbacks.EarlyStopping):
            continue
        best = _plain(callback.best)
        if best is not None and math.isfinite(best):  # before the first value some versions have infinity here
            points |= {"best_epoch": callback.best_epoch, "best_value": best}
        if callback.stopped_epoch > 0:
            points["stopped_epoch"] = callback.stopped_epoch
        restored = bool(callback.restore_best_weights and callback.best_weights is not None)
        params["early_stopping.restored_weights"] = restored
    return points, params


def _plain(value: Any) -> float | None:
    return float(value) if isinstance(value, int | float) or tuple(getattr(value, "shape", "?")) == () else None
