"""Data loaders being read: epochs, samples, and the time spent waiting for data."""

from __future__ import annotations

import weakref
from collections.abc import Mapping
from time import perf_counter
from typing import Any, Protocol

import torch
from torch import Tensor
from torch.utils.data import DataLoader
from torch.utils.data.dataloader import _BaseDataLoaderIter

from tachograph import session
from tachograph.patch import Hooks


class Reading:
    """One pass over a data loader. Times are in seconds on the clock of ``perf_counter``.

    ``trained`` says whether a backward pass came while it was read; ``aside`` is what evaluations took meanwhile.
    ``inputs`` has the shapes and types of what a model is given of a batch, and none of its data.
    """

    def __init__(self, loader: DataLoader[Any], now: float) -> None:
        self.loader = loader
        self.trained = self.over = False
        self.began = self.last = self.reported = now
        self.inputs: Any = None
        self.samples = 0
        self.waited = self.aside = 0.0
        self._reported_samples = 0

    def rate(self) -> float:
        """Samples per second since it was last asked for, or since the beginning."""
        seconds = self.last - self.reported - self.aside
        samples = self.samples - self._reported_samples
        self.reported, self._reported_samples, self.aside = self.last, self.samples, 0.0
        return samples / seconds if seconds > 0 else 0.0


class Listener(Protocol):
    """Who is told of readings."""

    def reading_over(self, reading: Reading) -> None:
        """Nothing more comes from it."""


class Readings:
    """The data loaders that are being read in this process. ``latest`` is the one that gave the last batch,
    ``new`` the same while nothing was trained on it."""

    def __init__(self, listener: Listener) -> None:
        self.latest: Reading | None = None
        self.new: Reading | None = None
        self._listener = listener
        self._of: weakref.WeakKeyDictionary[Any, Reading] = weakref.WeakKeyDictionary()

    def install(self, hooks: Hooks) -> None:
        """Listen to data loaders."""
        hooks.listen(DataLoader, "__iter__", before=_itself, after=self._begun)
        hooks.listen(_BaseDataLoaderIter, "__next__", before=self._asked, after=self._given, raised=self._stopped)

    def leave(self) -> None:
        """Whatever is being read is over: it was left before its end."""
        if self.latest is not None:
            self._end(self.latest)
            self.latest = None

    def _begun(self, loader: DataLoader[Any], iterator: Any) -> None:
        if session.inside():
            return
        if self.latest is not None and self.latest.loader.dataset is loader.dataset:
            self._end(self.latest)
        self._of[iterator] = Reading(loader, perf_counter())

    def _asked(self, iterator: Any) -> tuple[Reading, float] | None:
        reading = self._of.get(iterator)
        return None if reading is None else (reading, perf_counter())

    def _given(self, asked: tuple[Reading, float] | None, batch: Any) -> None:
        if asked is None:
            return
        reading, began = asked
        now = perf_counter()
        if not reading.samples:
            reading.inputs = _inputs(batch)
        reading.waited += now - began
        reading.samples += samples(batch, reading.loader)
        reading.last = now
        if reading is not self.latest:
            self.latest, self.new = reading, None if reading.trained else reading

    def _stopped(self, asked: tuple[Reading, float] | None, error: BaseException) -> None:
        if asked is not None and isinstance(error, StopIteration):
            asked[0].last = perf_counter()
            self._end(asked[0])

    def _end(self, reading: Reading) -> None:
        if not reading.over:
            reading.over = True
            self._listener.reading_over(reading)


def _itself(loader: DataLoader[Any]) -> DataLoader[Any]:
    return loader


def _inputs(batch: Any) -> Any:
    """What a batch gives the model, as tensors without data: by custom its first part, or all of a dict."""
    if isinstance(batch, list | tuple) and batch:
        batch = batch[0]
    if isinstance(batch, Mapping):
        return {name: _inputs(part) for name, part in batch.items() if isinstance(part, Tensor)}
    return torch.empty_like(batch, device="meta") if type(batch) is Tensor else None


def samples(batch: Any, loader: DataLoader[Any]) -> int:
    """How many samples are in a batch: the length of the first tensor in it."""
    for _ in range(10):
        if isinstance(batch, Tensor):
            return batch.shape[0] if batch.ndim else 1
        if isinstance(batch, Mapping):
            batch = next(iter(batch.values()), None)
        elif isinstance(batch, list | tuple) and batch:
            batch = batch[0]
        else:
            break
    return loader.batch_size or 1
