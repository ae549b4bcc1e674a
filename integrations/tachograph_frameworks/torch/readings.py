"""Data loaders being read: epochs, samples, and the time spent waiting for data."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import update_wrapper
from time import perf_counter
from typing import Any, NamedTuple, Protocol

import torch
from torch import Tensor
from torch.utils.data import BatchSampler, DataLoader, default_collate
from torch.utils.data.dataloader import _BaseDataLoaderIter

from tachograph import active, guard, session
from tachograph.patch import Hooks
from tachograph_frameworks.torch.quick import short
from tachograph_frameworks.torch.short import READING


class Reading(short.Pass):
    """One pass over a data loader. Times are in seconds on the clock of ``perf_counter``.

    ``trained`` says whether a backward pass came while it was read; ``aside`` is what evaluations took meanwhile.
    ``before`` is the pass before it: of the same data it tells what a model is given.
    """

    trained = over = False
    aside = 0.0
    _counted = _reported_samples = 0
    _inputs: Any = None

    def __init__(self, loader: DataLoader[Any], now: float, before: Reading | None = None) -> None:
        self.loader = loader
        self.id = self.batches = 0  # the id of its iterator, once its batches need not be looked at
        self.waited = 0.0
        self.began = self.last = self.reported = now
        self._expected = _expected(loader)
        if before is not None and _is_alike(before.loader, loader):
            self._inputs = before._inputs

    @property
    def is_regular(self) -> bool:
        """Whether it is known how many samples a batch has."""
        return self._expected is not None

    def first(self, batch: Any) -> None:
        """The first batch has come."""
        if self._inputs is None:
            self._inputs = _inputs(batch)

    @property
    def inputs(self) -> Any:
        """The shapes and types of what a model is given of a batch, as tensors without data; None if unknown."""
        return _stand_in(self._inputs)

    def count(self, batch: Any) -> None:
        """Count the samples of a batch, where that has to be looked at."""
        self._counted += _samples(batch, self.loader)

    @property
    def samples(self) -> int:
        """How many have come."""
        if self._expected is None:
            return self._counted
        size = self.loader.batch_size or 1
        most = self.batches * size
        return self._expected if 0 < most - self._expected < size else most

    def rate(self) -> float:
        """Samples per second since it was last asked for, or since the beginning."""
        seconds = self.last - self.reported - self.aside
        total = self.samples
        samples = total - self._reported_samples
        self.reported, self._reported_samples, self.aside = self.last, total, 0.0
        return samples / seconds if seconds > 0 else 0.0


class Listener(Protocol):
    """Who is told of readings."""

    def batch_is_new(self) -> None:
        """A batch came from another reading than the one before."""

    def reading_over(self, reading: Reading) -> None:
        """Nothing more comes from it."""


class Readings(short.Listening):
    """The data loaders that are being read in this process."""

    latest: Reading | None
    new: Reading | None

    def __init__(self, listener: Listener) -> None:
        self.latest = self.new = None
        self.ignored = 0
        self._listener = listener

    def install(self, hooks: Hooks) -> None:
        """Listen to data loaders."""
        hooks.native(self._look_again)
        hooks.replace(DataLoader, "__iter__", lambda original: self._iterated(hooks, original))
        hooks.replace(_BaseDataLoaderIter, "__next__", lambda original: self._heard(hooks, original))

    def _look_again(self) -> None:
        """At the next batch: its iterator may be another one with the same id."""
        if self.latest is not None:
            self.latest.id = 0

    def leave(self) -> None:
        """Whatever is being read is over: it was left before its end."""
        if self.latest is not None:
            self._end(self.latest)
            self.latest = None

    def _iterated(self, hooks: Hooks, original: Callable[[Any], Any]) -> Callable[[Any], Any]:
        """``__iter__`` of a data loader."""

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
        self._look_again()
        self.ignored = 0
        if session.inside():
            return
        before = self.latest
        if before is not None and before.loader.dataset is loader.dataset:
            self._end(before)
        setattr(iterator, READING, Reading(loader, perf_counter(), before))

    def _heard(self, hooks: Hooks, original: Callable[[Any], Any]) -> Callable[[Any], Any]:
        """``__next__`` of a data loader's iterator."""
        return update_wrapper(self.next_hook(hooks, original), original)

    def _given(self, iterator: Any, reading: Reading, batch: Any) -> None:
        """A batch that is looked at: the first one, one after another reading's, and each where sizes differ."""
        try:
            if reading.batches == 1:
                reading.first(batch)
            if reading.is_regular:
                reading.id = id(iterator)
            else:
                reading.count(batch)
            if reading is not self.latest:
                self.latest, self.new = reading, None if reading.trained else reading
                self._listener.batch_is_new()
        except guard.FAULTS as error:
            _fault(error)

    def _stopped(self, reading: Reading) -> None:
        try:
            reading.last = perf_counter()
            self._end(reading)
        except guard.FAULTS as error:
            _fault(error)

    def _end(self, reading: Reading) -> None:
        if not reading.over:
            reading.over = True
            self._listener.reading_over(reading)


def _fault(error: Exception) -> None:
    guard.fault("torch: data loader", error, active.here())


def _expected(loader: DataLoader[Any]) -> int | None:
    """How many samples a pass has, where each batch has ``batch_size`` of them, and the last what is left over: then
    batches need not be looked at. None where that is not so."""
    if type(loader.batch_sampler) is not BatchSampler or loader.collate_fn is not default_collate:
        return None
    try:
        return len(loader.sampler)
    except (TypeError, NotImplementedError):
        return None


def _is_alike(one: DataLoader[Any], other: DataLoader[Any]) -> bool:
    """Whether they make the same batches of the same data: often one is made anew for each epoch."""
    if one is other:
        return True
    return one.dataset is other.dataset and one.batch_size == other.batch_size and one.collate_fn is other.collate_fn


class _Kind(NamedTuple):
    shape: torch.Size
    dtype: torch.dtype


def _inputs(batch: Any) -> Any:
    """What a batch gives the model: by custom its first part, or all of a dict."""
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


def _samples(batch: Any, loader: DataLoader[Any]) -> int:
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
