"""``torch.save`` and ``torch.load``: checkpoints, and what a training was resumed from."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch

from tachograph import checkpoints, session
from tachograph.capture.blobs import digest_of
from tachograph.patch import Call, Hooks, Watcher
from tachograph.run import Run
from tachograph_frameworks.torch.recording import Recording

_MOST_LOADED = 20


class Files:
    """What was loaded, until there is a run that it belongs to. ``current`` gives the loop's recording, or None."""

    def __init__(self, current: Callable[[], Recording | None]) -> None:
        self._current = current
        self._loaded: list[tuple[str, str, int]] = []

    def install(self, hooks: Hooks) -> None:
        """Listen to ``torch.save`` and ``torch.load``."""
        hooks.around(torch.serialization, "save", self._save)
        hooks.around(torch.serialization, "load", self._load)

    def _save(self, call: Call) -> Watcher:
        yield
        recording, path = self._current(), _path(call.argument("f"))
        if recording is None or path is None:
            return
        best = True if "best" in path.name.lower() else None
        checkpoints.keep(recording.run, path, name=series(path.name), step=recording.step, is_best=best)

    def _load(self, call: Call) -> Watcher:
        loaded = yield
        path = _path(call.argument("f"))
        if path is None or session.inside() or len(self._loaded) >= _MOST_LOADED or not _is_state(loaded):
            return
        found = (str(path.absolute()), digest_of(path), path.stat().st_size)
        recording = self._current()
        if recording is None:
            self._loaded.append(found)
        else:
            _link(recording.run, *found)

    def begun(self, run: Run) -> None:
        """A run has begun: what was loaded before is what it goes on from."""
        loaded, self._loaded = self._loaded, []
        for found in loaded:
            _link(run, *found)


def _link(run: Run, path: str, digest: str, size: int) -> None:
    run._link("resumed from", digest, path=path, size=size)


def _path(file: Any) -> Path | None:
    """The path that is saved to or loaded from; None for an open file."""
    return Path(file) if isinstance(file, str | os.PathLike) and os.path.isfile(file) else None


def _is_state(loaded: Any) -> bool:
    """Whether it is what a training goes on from, rather than data: a module, or a mapping with state in it."""
    if isinstance(loaded, torch.nn.Module):
        return True
    return isinstance(loaded, Mapping) and all(isinstance(key, str) for key in loaded)


def series(name: str) -> str:
    """One name for the files of a series: ``epoch_12.pt`` is one of ``epoch_*.pt``."""
    return re.sub(r"\d+(?:\.\d+)*(?=\D|$)", "*", name)
