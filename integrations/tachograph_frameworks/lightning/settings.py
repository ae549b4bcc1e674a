"""What is recorded of a training besides its points: settings, the module, optimizers, how it stopped."""

from __future__ import annotations

from typing import Any

import torch

from tachograph import guard
from tachograph.hooks import Call, Watcher, options
from tachograph.record.run import Run
from tachograph_frameworks.lightning import checkpoints, model, recording
from tachograph_frameworks.lightning.packages import Package, name_of
from tachograph_frameworks.lightning.recording import Recording
from tachograph_frameworks.torch import module_summary, optimizers

_SETTINGS = (
    "max_epochs", "min_epochs", "max_steps", "min_steps", "precision", "num_nodes", "world_size",
    "accumulate_grad_batches", "gradient_clip_val", "gradient_clip_algorithm", "log_every_n_steps",
    "check_val_every_n_epoch", "val_check_interval", "limit_train_batches", "limit_val_batches", "limit_test_batches",
    "overfit_batches", "num_sanity_val_steps", "fast_dev_run",
)  # fmt: skip
_INTERNAL = ("_class_path", "_instantiator")  # what Lightning's command line notes in the hyperparameters


def note_stage(call: Call) -> Watcher:
    """Watch ``Trainer._run_stage``, the training or evaluation itself: by then all is set up."""
    trainer = call.instance
    current = recording.of(trainer)
    if current is None or current.run is None:
        yield
        return
    fitting = trainer.state.fn == "fit"
    with guard.contained("lightning: settings", current.run):
        if not current.described:
            _describe(current, trainer)
        checkpoints.link(current.run, trainer, "resumed from" if fitting else "loaded from")
    yield
    if fitting:
        _record_stops(current.run, trainer)


def conclude(ended: Recording, trainer: Any, error: BaseException | None) -> None:
    """Record what is left to record when a call of the trainer is over."""
    run = ended.run
    if run is None:
        return
    if error is not None and not ended.described and trainer.lightning_module is not None:
        with guard.contained("lightning: settings", run):
            _describe(ended, trainer)
    if error is None and trainer.state.fn == "fit" and options.models and not trainer.fast_dev_run:
        with guard.contained("lightning: model", run):
            model.keep(run, trainer)


def _describe(current: Recording, trainer: Any) -> None:
    run, module = current.run, trainer.lightning_module
    assert run is not None
    current.described = True
    run.log_params({"trainer": _settings(trainer), "model": module_summary.params(module)})
    run.log_params(_hyperparameters(trainer.datamodule) | _hyperparameters(module))
    run.recorder.keep_bytes(module_summary.summary(module).encode(), "summary", "summary", "model_summary.txt")
    if trainer.state.fn == "fit":
        run.log_params(_optimizers(trainer))


def _settings(trainer: Any) -> dict[str, Any]:
    strategy, accelerator = trainer.strategy, trainer.accelerator
    settings = {name: getattr(trainer, name) for name in _SETTINGS if getattr(trainer, name, None) is not None}
    settings |= {
        "devices": trainer.num_devices,
        "accelerator": type(accelerator).__name__.removesuffix("Accelerator").lower(),
        "strategy": getattr(strategy, "strategy_name", type(strategy).__name__),
        "callbacks": [type(callback).__name__ for callback in trainer.callbacks],
        "loggers": [type(logger).__name__ for logger in trainer.loggers],
    }
    if trainer.datamodule is not None:
        settings["datamodule"] = type(trainer.datamodule).__name__
    return settings


def _hyperparameters(owner: Any) -> dict[str, Any]:
    """What the user has saved of a module or data module with ``save_hyperparameters``."""
    saved = getattr(owner, "hparams", None) or {}
    return {name: value for name, value in dict(saved).items() if name not in _INTERNAL}


def _optimizers(trainer: Any) -> dict[str, Any]:
    every = [optimizer for optimizer in trainer.optimizers if optimizer.param_groups]  # without any: a stand-in
    params = {_numbered("optimizer", i, every): optimizers.params(each) for i, each in enumerate(every)}
    configs = trainer.lr_scheduler_configs
    for index, config in enumerate(configs):
        settings = {"interval": config.interval, "frequency": config.frequency}
        settings |= {name: value for name in ("monitor", "name") if (value := getattr(config, name)) is not None}
        params[_numbered("scheduler", index, configs)] = optimizers.scheduler_params(config.scheduler) | settings
    return params


def _numbered(name: str, index: int, every: list[Any]) -> str:
    return name if len(every) == 1 else f"{name}.{index}"


def _record_stops(run: Run, trainer: Any) -> None:
    """What each callback for early stopping has found, and why it has stopped the training."""
    kind = Package(name_of(trainer)).find("callbacks", "EarlyStopping")
    callbacks = [callback for callback in trainer.callbacks if isinstance(callback, kind)]
    for index, callback in enumerate(callbacks):
        settings = {name: getattr(callback, name) for name in ("monitor", "mode", "patience")}
        settings["min_delta"] = abs(callback.min_delta)  # it is held as a negative one where less is better
        run.log_params({_numbered("early_stopping", index, callbacks): settings})
        if torch.isfinite(callback.best_score):  # it was compared all the time
            run.log({"best_score": callback.best_score})
        if reason := _reason(callback):
            run.log({"stopped_epoch": callback.stopped_epoch})
            run.set_tags({"early_stopping": reason})


def _reason(callback: Any) -> str | None:
    """Why it has stopped the training; None where it has not. Older versions don't say."""
    if message := getattr(callback, "stopping_reason_message", None):
        return str(message)
    if callback.wait_count >= callback.patience:
        return f"Monitored metric {callback.monitor} did not improve in the last {callback.wait_count} records."
    return f"Stopped by {callback.monitor}." if callback.stopped_epoch else None
