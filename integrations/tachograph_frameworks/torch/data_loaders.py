"""Data loaders being read: epochs, samples, and the time spent waiting for data."""

from __future__ import annotations

import threading
import weakref
from collections.abc import Callable, Mapping
from functools import update_wrapper
from time import perf_counter
from typing import Any, NamedTuple, Protocol

import torch
from torch import Tensor
from torch.utils.data import BatchSampler, DataLoader, default_collate
from torch.utils.data.dataloader import _BaseDataLoaderIter

from tachograph import guard
from tachograph.hooks import Hooks, session
from tachograph.record import open_runs
from tachograph_frameworks.torch import hot_path
from tachograph_frameworks.torch.data import loader_params
from tachograph_frameworks.torch.hot_path.in_python import READING


class Reading(hot_path.Pass):
    """One pass over a data loader. Times are in seconds on the clock of ``perf_counter``.

    ``settings`` are the loader's; the loader itself is not kept alive. ``track`` are the epochs that this pass is one
    of, None while no optimizer has made a step on it, and ``first_step`` is that step's number; ``evaluation_seconds``
    is what evaluations took since the rate was last asked for. ``previous`` is the pass before it: where that was over
    the same data, it is known what a model is given.
    """

    is_over = False
    track: Any = None
    first_step = 0
    evaluation_seconds = 0.0
    _counted = _reported_samples = 0
    _inputs: Any = None

    def __init__(self, loader: DataLoader[Any], now: float, previous: Reading | None = None) -> None:
        self.loader = weakref.ref(loader)
        self.dataset, self.settings = loader.dataset, loader_params(loader)
        self.kind = type(loader.dataset), self.settings.get("rows")
        self.id = self.batches = 0  # the id of its iterator, once its batches need not be looked at
        self.waited = 0.0
        self.began = self.last = self.last_batch = self.reported = now
        self._size, self._collate = self.settings["batch_size"] or 1, loader.collate_fn
        self._expected = _expected(loader)
        if previous is not None and self._is_like(previous):
            self._inputs = previous._inputs

    def _is_like(self, other: Reading) -> bool:
        """Whether both have the same batches of the same data: often a loader is made anew for each epoch."""
        is_same = self.dataset is other.dataset and self._collate is other._collate
        return is_same and self._size == other._size

    @property
    def is_regular(self) -> bool:
        """Whether it is known how many samples a batch has."""
        return self._expected is not None

    def note_first_batch(self, batch: Any) -> None:
        """Remember what a model is given of the first batch."""
        if self._inputs is None:
            self._inputs = _inputs(batch)

    @property
    def inputs(self) -> Any:
        """The shapes and types of what a model is given of a batch, as tensors without data; None if unknown."""
        return _stand_in(self._inputs)

    def count(self, batch: Any) -> None:
        """Count the samples of a batch, where that has to be looked at."""
        self._counted += _samples(batch, self._size)

    @property
    def samples(self) -> int:
        """How many samples have come."""
        if self._expected is None:
            return self._counted
        most = self.batches * self._size
        return self._expected if 0 < most - self._expected < self._size else most

    def rate(self) -> float:
        """Samples per second since it was last asked for, or since the beginning."""
        seconds = self.last - self.reported - self.evaluation_seconds
        total = self.samples
        samples = total - self._reported_samples
        self.reported, self._reported_samples, self.evaluation_seconds = self.last, total, 0.0
        return samples / seconds if seconds > 0 else 0.0


class ReadingListener(Protocol):
    """What is called when something happens to a reading."""

    def batch_is_new(self, reading: Reading) -> None:
        """The reading has given a batch that may be trained on: its first one, or one after another reading's."""

    def reading_over(self, reading: Reading) -> None:
        """The reading gives no more batches."""


class _Here(threading.local):
    """The reading that has given this thread its last batch."""

    reading: Reading | None = None


class Readings(hot_path.LoaderListener):
    """The data loaders that are being read in this process, by each thread."""

    latest: Reading | None

    def __init__(self, listener: ReadingListener) -> None:
        self.latest = None
        self.ignored = 0
        self._listener = listener
        self._here = _Here()

    def install(self, hooks: Hooks) -> None:
        """Listen to data loaders."""
        hooks.native(self._forget_ids)
        hooks.replace(DataLoader, "__iter__", lambda original: self._replace_iter(hooks, original))
        hooks.replace(_BaseDataLoaderIter, "__next__", lambda original: self._replace_next(hooks, original))

    def _forget_ids(self) -> None:
        """Look at the next batch again: its iterator may be another one with the same id."""
        if self.latest is not None:
            self.latest.id = 0

    def leave(self) -> None:
        """End the reading of this thread: it was left before its end."""
        reading, self._here.reading = self._here.reading, None
        if reading is not None:
            self._end(reading)

    def _replace_iter(self, hooks: Hooks, original: Callable[[Any], Any]) -> Callable[[Any], Any]:
        """Returns what is called in the place of ``__iter__`` of a data loader."""

        def call(loader: Any) -> Any:
            iterator = original(loader)
            if hooks.on:
                try:
                    self._begun(loader, iterator)
                except guard.FAULTS as error:
                    _fault(error)
            return iterator

        return update_wrapper(call, original)

    def _begun(self, loader: DataLoader[Any], iterator: Any) -> None:
        self._forget_ids()
        self.ignored = 0
        if session.inside():
            return
        previous = self._here.reading
        if previous is not None and previous.dataset is loader.dataset and previous.loader() in (loader, None):
            self._end(previous)
        setattr(iterator, READING, Reading(loader, perf_counter(), previous))

    def _replace_next(self, hooks: Hooks, original: Callable[[Any], Any]) -> Callable[[Any], Any]:
        """Returns what is called in the place of ``__next__`` of a data loader's iterator."""
        return update_wrapper(self.next_hook(hooks, original), original)

    def _batch_came(self, iterator: Any, reading: Reading, batch: Any) -> None:
        """Look at a batch: the first one, one after another reading's, and each where sizes differ."""
        try:
            if reading.batches == 1:
                reading.note_first_batch(batch)
            if reading.is_regular:
                reading.id = id(iterator)
            else:
                reading.count(batch)
            self.latest = reading
            if reading is not self._here.reading:
                self._here.reading = reading
                if reading.track is None and torch.is_grad_enabled():
                    self._listener.batch_is_new(reading)
        except guard.FAULTS as error:
            _fault(error)

    def _stopped(self, reading: Reading) -> None:
        try:
            reading.last_batch, reading.last = reading.last, perf_counter()
            self._end(reading)
        except guard.FAULTS as error:
            _fault(error)

    def _end(self, reading: Reading) -> None:
        if not reading.is_over:
            reading.is_over = True
            self._listener.reading_over(reading)


def _fault(error: Exception) -> None:
    guard.fault("torch: data loader", error, open_runs.here())


def _expected(loader: DataLoader[Any]) -> int | None:
    """How many samples a pass has, where each batch has ``batch_size`` of them, and the last what is left over: then
    batches need not be looked at. None where that is not so."""
    if type(loader.batch_sampler) is not BatchSampler or loader.collate_fn is not default_collate:
        return None
    try:
        return len(loader.sampler)
    except (TypeError, NotImplementedError):
        return None


class _Kind(NamedTuple):
    shape: torch.Size
    dtype: torch.dtype


def _inputs(batch: Any) -> Any:
    """The part of a batch that goes into the model: by custom the first one, or all of a dict."""
    if isinstance(batch, list | tuple) and batch:
        batch = batch[0]
    if type(batch) is Tensor:  # first: to look whether something is a mapping takes longer
        return _Kind(batch.shape, batch.dtype)
    if isinstance(batch, Mapping):
        return {name: _inputs(part) for name, part in batch.items() if isinstance(part, Tensor)}
    return None


def _stand_in(inputs: Any) -> Any:
    if isinstance(inputs, dict):
        return {name: _stand_in(part) for name, part in inputs.items()}
    return None if inputs is None else torch.empty(inputs.shape, dtype=inputs.dtype, device="meta")


def _samples(batch: Any, usual: int) -> int:
    """How many samples are in a batch: the length of the first tensor in it, or as many as is ``usual``."""
    for _ in range(10):
        if isinstance(batch, Tensor):
            return batch.shape[0] if batch.ndim else 1
        if isinstance(batch, Mapping):
            batch = next(iter(batch.values()), None)
        elif isinstance(batch, list | tuple) and batch:
            batch = batch[0]
        else:
            break
    return usual
