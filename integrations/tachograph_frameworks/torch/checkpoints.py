"""``torch.save`` and ``torch.load``: checkpoints, and what a training was resumed from."""

from __future__ import annotations

import os
import re
import weakref
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import msgspec
import torch
from torch import Tensor

from tachograph import guard
from tachograph.hooks import Call, Hooks, Watcher, session
from tachograph.journal.blobs import digest_of
from tachograph.record import checkpoints
from tachograph.record.run import Run
from tachograph.runtime.background import background
from tachograph_frameworks.torch.strand import Strand

_MOST_LOADED = 20  # files of which it is remembered what was in them
_MOST_TENSORS = 1000  # of a file
_MOST_DIGESTED = 16 << 30  # bytes: of larger files the digest is left out
_DEEPEST = 4  # mappings in mappings, in a checkpoint
_END_SECONDS = 5.0  # that the end of a run waits for digests


class LoadedFile(msgspec.Struct, eq=False):
    """A file that was loaded: where it is, how large, and what was in it, which isn't kept alive."""

    path: Path
    size: int
    changed: int
    parts: dict[int, weakref.ref[Any]]

    def has(self, value: Any) -> bool:
        """Whether it came from this file."""
        reference = self.parts.get(id(value))
        return reference is not None and reference() is value


class Files:
    """Keeps what is saved as checkpoints, and remembers what was loaded until a run goes on from it.

    ``current`` returns the calling thread's part of a run, or None.
    """

    def __init__(self, current: Callable[[], Strand | None]) -> None:
        self._current = current
        self._loaded: list[LoadedFile] = []
        self._resumed: list[LoadedFile] = []

    def install(self, hooks: Hooks) -> None:
        """Listen to ``torch.save`` and ``torch.load``, and to what takes over a state that was loaded."""
        hooks.around(torch.serialization, "save", self._save)
        hooks.around(torch.serialization, "load", self._load)
        for owner in (torch.nn.Module, torch.optim.Optimizer):
            hooks.around(owner, "load_state_dict", self._load_state)

    def _save(self, call: Call) -> Watcher:
        yield
        strand, path = self._current(), _path(call.argument("f"))
        if strand is None or path is None:
            return
        best = True if "best" in path.name.lower() else None
        recording = strand.recording
        recording.settle_unless_busy()
        checkpoints.keep(recording.run, path, name=series(path.name), step=strand.last_step, is_best=best)

    def _load(self, call: Call) -> Watcher:
        loaded = yield
        path = _path(call.argument("f"))
        if path is None or session.inside():
            return
        status = path.stat()
        file = LoadedFile(path.absolute(), status.st_size, status.st_mtime_ns, dict(_parts(loaded)))
        if isinstance(loaded, torch.nn.Module):
            self._resume_from(file)
        elif file.parts:
            self._loaded = [*self._loaded[1 - _MOST_LOADED :], file]

    def _load_state(self, call: Call) -> Watcher:
        """Watch a module or an optimizer take over a state: it goes on from a file, if a tensor came from one."""
        state = call.argument("state_dict")
        values = [value for _, value in _tensors(state)] if self._loaded else []
        for file in self._loaded:
            if any(map(file.has, values)):
                self._loaded.remove(file)
                self._resume_from(file)
                break
        yield

    def _resume_from(self, file: LoadedFile) -> None:
        strand = self._current()
        if strand is not None:
            _link(strand.recording.run, file)
        elif not session.inside():
            self._resumed = [*self._resumed[1 - _MOST_LOADED :], file]

    def run_began(self, run: Run) -> None:
        """Link a run that begins to what was loaded before: it goes on from that."""
        resumed, self._resumed = self._resumed, []
        for file in resumed:
            _link(run, file)


def _link(run: Run, file: LoadedFile) -> None:
    """Say what a run goes on from, with the file's digest: in the background, since to read it may take long."""
    done: list[bool] = []

    def link() -> None:
        if not done:
            done.append(True)
            with guard.contained("torch: resumed from", run):
                run.recorder.link("resumed from", _digest(file), path=str(file.path), size=file.size)

    background.soon(link)
    run.recorder.before_end(lambda: done or background.drain(_END_SECONDS))


def _digest(file: LoadedFile) -> str:
    """The file's digest; "" where it is too large, is gone, or was written anew."""
    try:
        status = file.path.stat()
        is_same = (status.st_size, status.st_mtime_ns) == (file.size, file.changed)
        return digest_of(file.path) if is_same and file.size <= _MOST_DIGESTED else ""
    except OSError:
        return ""


def _path(file: Any) -> Path | None:
    """The path that is saved to or loaded from; None for an open file."""
    return Path(file) if isinstance(file, str | os.PathLike) and os.path.isfile(file) else None


def _parts(loaded: Any) -> Iterator[tuple[int, weakref.ref[Any]]]:
    for number, (key, value) in enumerate(_tensors(loaded)):
        if number >= _MOST_TENSORS:
            return
        yield key, weakref.ref(value)


def _tensors(state: Any, deepest: int = _DEEPEST) -> Iterator[tuple[int, Tensor]]:
    """The tensors in a state, by their ids; a mapping in it is looked into, as far as checkpoints are nested."""
    if isinstance(state, Tensor):
        yield id(state), state
    elif isinstance(state, Mapping) and deepest > 0:
        for value in list(state.values()):
            yield from _tensors(value, deepest - 1)


def series(name: str) -> str:
    """One name for the files of a series: ``epoch_12.pt`` is one of ``epoch_*.pt``."""
    return re.sub(r"\d+(?:\.\d+)*(?=\D|$)", "*", name)
