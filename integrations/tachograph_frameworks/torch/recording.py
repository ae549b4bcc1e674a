"""What is recorded of a plain loop in one run: losses and learning rates by step, epochs, and what is trained."""

from __future__ import annotations

import os
import threading
import weakref
from collections import deque
from collections.abc import Mapping
from math import isfinite
from time import time
from typing import Any

from torch import nn
from torch.optim import Optimizer

from tachograph import guard, late
from tachograph.background import background
from tachograph.events import Metrics
from tachograph.run import Run
from tachograph.session import options
from tachograph_frameworks.torch.data import describe, length
from tachograph_frameworks.torch.device import Mean, mean
from tachograph_frameworks.torch.optimizers import Slot, unwrapped
from tachograph_frameworks.torch.readings import Reading
from tachograph_frameworks.torch.trained import Trained
from tachograph_frameworks.torch.variables import visible

PERIOD = 0.02  # seconds of steps that are recorded together
REPORT_SECONDS = 10.0
MOST_ACCUMULATED = 256  # backward passes before the first step of an optimizer: with more there is none


_LOSS, _EXTRA, _STEP = range(3)


class Recording:
    """The plain loop's part of a run. ``owned`` says that the run was opened for it.

    What is heard at each step is only noted, and made into events some fifty times a second: between two steps of a
    training the processor's caches are full of its numbers, and each further line of ours costs a multiple there.
    Steps that take longer than that are recorded one by one.
    """

    def __init__(self, run: Run, owned: bool, models: Mapping[str, nn.Module]) -> None:
        self.run = run
        self._trained = Trained(run, models)
        self._noted: deque[tuple[Any, ...]] = deque()
        self._noted_since = 0.0
        self._ready: list[Metrics] = []
        self._one_at_a_time = threading.RLock()  # a signal handler may save a checkpoint, which asks for the step
        self._losses: dict[str, Any] = {}  # of the coming step: the values of each name
        self._bare: dict[str, int] | None = None  # where no optimizer makes steps: how many each loss has made
        self._extras: dict[str, Any] = {}
        self._step = 0
        self._slots: dict[int, Slot] = {}
        self._epochs: dict[tuple[type, int | None], int] = {}
        self._training: Reading | None = None
        self._heard: set[str] = set()
        self._held: list[tuple[dict[str, Any], int, float]] | None = None
        if not owned:
            # A name that the user logs is the user's. What comes before that is known is held for one step.
            self._held = []
            run._listen(self._hear)
        run._before_end(self._end)
        background.regularly(self._settle)
        _recordings.add(self)

    def _forked(self) -> None:
        """In a forked child: what was noted is the parent's, and its background thread may have held the lock."""
        self._one_at_a_time = threading.RLock()
        for kind, slot, *_ in self._noted:
            if kind == _STEP:
                slot.steps += 1
        self._noted.clear()
        self._ready, self._losses, self._extras, self._training = [], {}, {}, None
        if self._held is not None:
            self._held = []
        self.run._before_end(self.settle)

    # -- at each step, on the training thread --

    def lost(self, name: str, value: Any) -> None:
        """A backward pass has begun, at the loss ``name``."""
        self._noted.append((_LOSS, name, value))
        if len(self._noted) > MOST_ACCUMULATED:
            self.settle()

    def extra(self, name: str, value: Any) -> None:
        """A value that belongs to the coming step."""
        if value is not None:
            self._noted.append((_EXTRA, name, value))

    def stepped(self, optimizer: Optimizer) -> None:
        """An optimizer has made a step."""
        slot = self._slots.get(id(optimizer))
        if slot is None or slot.optimizer() is not optimizer:
            self.settle()
            slot = self._slots[id(optimizer)] = self._new_slot(optimizer)
        now = time()
        groups = optimizer.param_groups
        rates = groups[0].get("lr") if len(groups) == 1 else [group.get("lr") for group in groups]
        self._noted.append((_STEP, slot, rates, now))
        if now - self._noted_since > PERIOD:
            self._noted_since = now
            self._settle()

    # -- making events of it --

    def settle(self) -> None:
        """Record what was noted so far."""
        with self._one_at_a_time:
            self._take()

    def _settle(self) -> None:
        """:meth:`settle`, unless another thread is at it."""
        if self._one_at_a_time.acquire(blocking=False):
            try:
                self._take()
            finally:
                self._one_at_a_time.release()

    def _take(self) -> None:
        while self._noted:
            kind, *what = self._noted.popleft()
            if kind == _STEP:
                self._take_step(*what)
            elif kind == _LOSS:
                self._take_loss(*what)
            else:
                self._extras[what[0]] = what[1]
        self._report()
        self._send()

    def _send(self) -> None:
        """Append the events that were made."""
        ready, self._ready = self._ready, []
        if ready:
            self.run._journal.append_all(ready)

    def _take_loss(self, name: str, value: Any) -> None:
        if self._bare is not None:
            self._put_bare(name, value)
        elif name not in self._losses:
            self._losses[name] = [value]
        else:
            self._losses[name].append(value)
            if len(self._losses[name]) >= MOST_ACCUMULATED and not self._slots:
                self._go_bare()

    def _go_bare(self) -> None:
        """There is no optimizer, as in loops that move the weights by hand: each backward pass is a step."""
        self._bare = {}
        losses, self._losses = self._losses, {}
        for name, values in losses.items():
            for value in values:
                self._put_bare(name, value)

    def _put_bare(self, name: str, value: Any) -> None:
        assert self._bare is not None
        self._step = self._bare.get(name, 0)
        self._bare[name] = self._step + 1
        self._write({name: value}, self._step)

    def _take_step(self, slot: Slot, rates: Any, at: float) -> None:
        self._step = step = slot.steps
        slot.steps = step + 1
        values, self._losses = self._losses, {}
        if step % options.every_n_steps:
            return
        for name, parts in values.items():
            values[name] = parts[0] if len(parts) == 1 else _mean(parts)
        if self._extras:
            values |= self._extras
            self._extras = {}
        for name, rate in zip(slot.rates, rates if type(rates) is list else [rates], strict=False):
            values[name] = rate
        self._write(values, step, at)

    @property
    def step(self) -> int:
        """The last step that was made."""
        self.settle()
        return self._step

    def _new_slot(self, optimizer: Optimizer) -> Slot:
        self._bare = None
        names = {id(unwrapped(found)): name for name, found in visible((Optimizer,))}
        names.setdefault(id(optimizer), type(optimizer).__name__)
        with guard.contained("torch: model and optimizer", self.run):
            self._trained.describe(optimizer)
        name = names[id(optimizer)]
        before = [slot for slot in self._slots.values() if slot.variable == name]
        if before:  # the variable holds a new one, as in cross-validation: its steps go on
            self.run._remark(
                f"{name} was made anew at step {before[-1].steps}: its settings are the newer one's, and the steps of "
                "both are counted on; open a run for each training to keep them apart"
            )
            return Slot(optimizer, name, before[-1].name, before[-1].steps)
        alone = len(names) == 1 and all(slot.optimizer() is None for slot in self._slots.values())
        return Slot(optimizer, name, None if alone else name, self._first_step())

    def _first_step(self) -> int:
        """0, or in a run that is resumed where it left off."""
        return max((self.run._journal.steps.next(name) for name in self._losses), default=0)

    # -- writing --

    def _write(self, values: dict[str, Any], step: int, at: float = 0.0) -> None:
        if self._held is not None:
            self._held.append((values, step, at))
            if step == self._held[0][1]:
                return
            self._release()
            return
        if self._heard:
            values = {name: value for name, value in values.items() if name not in self._heard}
        self._put(values, step, at)

    def _release(self) -> None:
        held, self._held = self._held or [], None
        for values, step, at in held:
            self._write(values, step, at)

    def _put(self, values: dict[str, Any], step: int, at: float) -> None:
        if all(type(value) is float and isfinite(value) for value in values.values()):
            if values:
                self._ready.append(Metrics(0, 0, at, step, values))
            return
        self._send()
        values, copies = self._split(values)
        if copies:
            late.waiting.add(self.run, step, copies)
        if values:
            self.run._journal.log(values, step)

    def _split(self, values: dict[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
        copies = {name: value for name, value in values.items() if hasattr(value, "ready")}
        plain, more = late.start({name: value for name, value in values.items() if name not in copies})
        return plain, copies | more

    def _hear(self, values: Any) -> None:
        if isinstance(values, Mapping):
            self._heard.update(values)

    # -- epochs --

    def trained_on(self, reading: Reading) -> None:
        """The first backward pass on what a data loader gave: an epoch has begun."""
        self.settle()
        self._training = reading
        dataset = reading.loader.dataset
        key = (type(dataset), length(dataset))  # some make it anew for each epoch
        epoch = self._epochs[key] = self._epochs.get(key, -1) + 1
        self._write({"epoch": float(epoch)}, self._next_step())
        self._send()
        if epoch == 0:
            name = next((name for name, found in visible((type(reading.loader),)) if found is reading.loader), "train")
            with guard.contained("torch: data", self.run):
                describe(self.run, reading.loader, name, "train")

    @property
    def has_stepped(self) -> bool:
        """Whether an optimizer has made a step. A data loader that was read to its end since is no training data."""
        return bool(self._slots)

    def _next_step(self) -> int:
        return max((slot.steps for slot in self._slots.values()), default=0)

    def _report(self) -> None:
        """How fast a long epoch goes, every ten seconds."""
        reading = self._training
        if reading is not None and not reading.over and reading.last - reading.reported > REPORT_SECONDS:
            self._write({"samples_per_second": reading.rate()}, self._step)

    def reading_over(self, reading: Reading) -> None:
        """A data loader has given its last batch."""
        self.settle()
        seconds = reading.last - reading.began
        if not reading.trained:
            if self._training is not None:
                self._training.aside += seconds
            self._write({"eval_seconds": seconds}, self._step)
            self._send()
            return
        rate = reading.rate()
        self._write({"samples_per_second": rate, "data_seconds": reading.waited, "train_seconds": seconds}, self._step)
        self._send()

    # -- the end --

    def _end(self) -> None:
        background.no_longer(self._settle)
        self.settle()
        if self._losses and not self._slots:
            self._go_bare()
        self._release()
        self._send()
        if options.models:
            self._trained.keep(self._training and self._training.inputs)


def _mean(parts: list[Any]) -> Any:
    """The mean of a step's losses: a float where all are on the host."""
    return mean(parts) if all(type(part) is float for part in parts) else Mean(parts)


_recordings: weakref.WeakSet[Recording] = weakref.WeakSet()


def _forked() -> None:
    for recording in list(_recordings):
        recording._forked()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forked)
