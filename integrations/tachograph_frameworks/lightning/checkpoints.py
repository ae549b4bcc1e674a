"""Checkpoints: kept as they are when Lightning has saved them; what a training goes on from is linked."""

from __future__ import annotations

import os
from functools import partial
from pathlib import Path
from typing import Any

from tachograph.hooks import Call, Watcher
from tachograph.journal.blobs import digest_of
from tachograph.record import checkpoints
from tachograph.record.run import Run
from tachograph.runtime.background import background
from tachograph_frameworks.lightning import last_fit, recording

_SMALL = 8 << 20  # bytes that are digested at once, in some milliseconds


def note_saved(call: Call) -> Watcher:
    """Watch a trainer that is recorded save a checkpoint."""
    current = recording.of(call.instance)
    yield
    if current is not None and current.run is not None and not call.instance.fast_dev_run:
        _keep(current.run, call.instance, os.fspath(call.argument("filepath")))


def note_later(call: Call) -> Watcher:
    """Watch a trainer save a checkpoint after its ``fit``, in whose run it is kept."""
    trainer = call.instance
    fit = None if recording.begun(trainer) is not None else last_fit.last(trainer, None)
    yield
    if fit is not None and trainer.is_global_zero:
        _keep(fit.run, trainer, os.fspath(call.argument("filepath")))


def _keep(run: Run, trainer: Any, path: str) -> None:
    if not os.path.exists(path):  # it is saved in the background, or elsewhere
        run.recorder.remark(f"checkpoint {path} was not kept: no file is there when Lightning has saved it")
        return
    meta: dict[str, Any] = {"epoch": trainer.current_epoch, "global_step": trainer.global_step}
    for callback in trainer.checkpoint_callbacks:
        if path in (getattr(callback, "best_model_path", ""), getattr(callback, "last_model_path", "")):
            meta |= _judged(callback)
    checkpoints.keep(run, path, step=trainer.global_step, is_best=_is_best(trainer, path), meta=meta)


def _is_best(trainer: Any, path: str) -> bool | None:
    """What the first callback that compares checkpoints says: two measures have no common best."""
    for callback in trainer.checkpoint_callbacks:
        if getattr(callback, "monitor", None) is not None:
            return bool(path == callback.best_model_path)
    return None


def _judged(callback: Any) -> dict[str, Any]:
    """How a callback compares checkpoints, and its scores. Saving has just waited for the device anyway."""
    if callback.monitor is None:
        return {}
    facts = {"monitor": callback.monitor, "mode": callback.mode}
    scores = {"score": callback.current_score, "best_score": callback.best_model_score}
    return {**facts, **{name: float(score) for name, score in scores.items() if score is not None}}


def link(run: Run, trainer: Any, relation: str) -> None:
    """Record which checkpoint ``trainer`` starts from."""
    if trainer.ckpt_path is None:
        return
    path = os.fspath(trainer.ckpt_path)
    if os.path.isfile(path) and os.path.getsize(path) > _SMALL:
        background.soon(partial(_link, run, path, relation))
    else:
        _link(run, path, relation)


def _link(run: Run, path: str, relation: str) -> None:
    digest = digest_of(Path(path)) if os.path.isfile(path) else None
    run.recorder.link(relation, digest or path, path=path, digest=digest)
