"""What is recorded of a plain loop in one run: losses and learning rates by step, epochs, and what is trained."""

from __future__ import annotations

import os
import threading
import weakref
from collections.abc import Mapping
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
from tachograph_frameworks.torch.quick import short
from tachograph_frameworks.torch.readings import Reading
from tachograph_frameworks.torch.trained import Trained
from tachograph_frameworks.torch.variables import visible

PERIOD = 0.05  # seconds of steps that are recorded together
LATE = 0.1  # seconds between two looks at whether the loop has come to a halt
REPORT_SECONDS = 10.0
_NO_PAIR = (None, None, None, None)

MOST_ACCUMULATED = 256  # backward passes before the first step of an optimizer: with more there is none


class Recording(short.Notes):
    """The plain loop's part of a run. ``owned`` says that the run was opened for it.

    What is heard is noted, and recorded some twenty times a second: between two steps of a training the processor's
    caches are full of its numbers, and each further line of ours costs a multiple there. Steps that take longer than
    that are recorded one by one.
    """

    slot: Slot | None

    def __init__(self, run: Run, owned: bool, models: Mapping[str, nn.Module]) -> None:
        self.run = run
        self.slot: Slot | None = None  # of the last step
        self.noted: list[short.Note] = []
        self.due = 0.0  # when they are to be recorded, in seconds since 1970
        self.batch_is_new = False  # whether anything is trained on it will be seen at the next backward pass
        self.taken = 0  # how many were recorded
        self._trained = Trained(run, models)
        self._ready: list[Metrics] = []
        self._one_at_a_time = threading.RLock()  # a signal handler may save a checkpoint, which asks for the step
        self.name: str | None = None  # of the coming step's loss on the short way, whose value is
        self.value: Any = None
        self._losses: dict[str, Any] = {}  # of the coming step: of each name the value, or a list of several
        self._bare: dict[str, int] | None = None  # where no optimizer makes steps: how many each loss has made
        self._extras: dict[str, Any] = {}
        self._steps = 0  # that were made without an optimizer
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
        background.regularly(self._settle_if_late, LATE)
        _recordings.add(self)

    def _forked(self) -> None:
        """In a forked child: what was noted is the parent's, and its background thread may have held the lock."""
        self._one_at_a_time = threading.RLock()
        self.noted.clear()
        self._ready, self._losses, self._extras, self._training, self.name = [], {}, {}, None, None
        if self._held is not None:
            self._held = []
        self.run._before_end(self.settle)

    # -- at each step, on the training thread --

    def lost(self, name: str, value: Any) -> None:
        """A backward pass has begun, at the loss ``name``."""
        self._gather()
        if name in self._losses or self._bare is not None:
            self._lost_again(name, value)
        else:
            self._losses[name] = value

    def _gather(self) -> None:
        """What the short way has kept of the coming step is put with the rest."""
        if self.name is not None:
            self._losses[self.name], self.name = self.value, None

    def _lost_again(self, name: str, value: Any) -> None:
        if self._bare is not None:
            self._step_bare(name, value)
            return
        parts = self._losses[name]
        if type(parts) is not list:
            parts = self._losses[name] = [parts]
        parts.append(value)
        if len(parts) >= MOST_ACCUMULATED and not self._slots:
            self._go_bare()

    def _go_bare(self) -> None:
        """There is no optimizer, as in loops that move the weights by hand: each backward pass is a step."""
        self._bare = {}
        losses, self._losses = self._losses, {}
        for name, parts in losses.items():
            for value in parts if type(parts) is list else [parts]:
                self._step_bare(name, value)

    def _step_bare(self, name: str, value: Any) -> None:
        assert self._bare is not None
        step = self._bare.get(name, 0)
        self._bare[name] = self._steps = step + 1
        if step % options.every_n_steps == 0:
            self._note({name: value}, step)

    def extra(self, name: str, value: Any) -> None:
        """A value that belongs to the coming step."""
        if value is not None:
            self._extras[name] = value

    def stepped(self, optimizer: Optimizer) -> bool:
        """An optimizer has made a step. Gives whether it is time to settle."""
        self._gather()
        slot = self._slots.get(id(optimizer))
        if slot is None or slot.optimizer() is not optimizer:
            self.settle()
            slot = self._slots[id(optimizer)] = self._new_slot(optimizer)
        self.slot, slot.every = slot, options.every_n_steps
        values = {name: _mean(value) if type(value) is list else value for name, value in self._losses.items()}
        values |= self._extras
        self._losses, self._extras = {}, {}
        for name, group in zip(slot.rates, optimizer.param_groups, strict=False):
            values[name] = group.get("lr")
        step = slot.steps
        slot.steps = step + 1
        now = time()
        if step % slot.every == 0:
            self.noted.append((step, now, values, *_NO_PAIR))
        return now > self.due

    def _note(self, values: dict[str, Any], step: int) -> None:
        now = time()
        self.noted.append((step, now, values, *_NO_PAIR))
        if now > self.due:
            self.settle_unless_busy()

    # -- recording what was noted --

    def settle(self) -> None:
        """Record what was noted so far."""
        with self._one_at_a_time:
            self._take()

    def settle_unless_busy(self) -> None:
        """:meth:`settle`, unless another thread is at it."""
        if self._one_at_a_time.acquire(blocking=False):
            try:
                self._take()
            finally:
                self._one_at_a_time.release()

    def _settle_if_late(self) -> None:
        """The loop has come to a halt, or its steps take long: what it did before is recorded."""
        if self.noted and time() > self.due:
            self.settle_unless_busy()

    def _take(self) -> None:
        self.due = time() + PERIOD
        self._report()
        count = len(self.noted)  # another thread's loop may be at it
        noted = self.noted[:count]
        del self.noted[:count]
        self.taken += count
        as_it_is, index = self._held is None and not self._heard, 0
        while index < count:
            if as_it_is:
                index = short.plain_events(noted, index, self._ready)
            if index < count:
                step, at, values, name, value, rate_name, rate = noted[index]
                if values is None:
                    values = {rate_name: rate} if name is None else {name: value, rate_name: rate}
                self._write(values, step, at)
                index += 1
        self._send()

    def _send(self) -> None:
        """Append the events that are ready."""
        ready, self._ready = self._ready, []
        if ready:
            self.run._journal.append_all(ready)

    @property
    def step(self) -> int:
        """The last step that was made."""
        self.settle()
        return self._last_step()

    def _last_step(self) -> int:
        return max((self.slot.steps if self.slot is not None else self._steps) - 1, 0)

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
        if not _is_plain(values):
            self._put_unusual(values, step, at)
        elif values:
            self._ready.append(Metrics(0, 0, at, step, values))

    def _put_unusual(self, values: dict[str, Any], step: int, at: float) -> None:
        """What is on its way from a device, or isn't finite."""
        copies = {name: value for name, value in values.items() if hasattr(value, "ready")}
        rest = {name: value for name, value in values.items() if name not in copies}
        if copies and all(type(value) is float and value - value == 0.0 for value in rest.values()):
            late.waiting.add(self.run, step, copies, Metrics(0, 0, at, step, rest))
            return
        self._send()
        rest, more = late.start(rest)
        if copies or more:
            late.waiting.add(self.run, step, copies | more)
        if rest:
            self.run._journal.log(rest, step)

    def _hear(self, values: Any) -> None:
        if isinstance(values, Mapping):
            self._heard.update(values)

    # -- epochs --

    def trained_on(self, reading: Reading) -> None:
        """The first backward pass on what a data loader gave: an epoch has begun."""
        self._training = reading
        dataset = reading.loader.dataset
        key = (type(dataset), length(dataset))  # some make it anew for each epoch
        epoch = self._epochs[key] = self._epochs.get(key, -1) + 1
        self._note({"epoch": float(epoch)}, max([slot.steps for slot in self._slots.values()], default=0))
        if epoch == 0:
            self.settle()
            name = next((name for name, found in visible((type(reading.loader),)) if found is reading.loader), "train")
            with guard.contained("torch: data", self.run):
                describe(self.run, reading.loader, name, "train")

    @property
    def has_stepped(self) -> bool:
        """Whether an optimizer has made a step. A data loader that was read to its end since is no training data."""
        return bool(self._slots)

    def _report(self) -> None:
        """How fast a long epoch goes, every ten seconds."""
        reading = self._training
        if reading is not None and not reading.over and reading.last - reading.reported > REPORT_SECONDS:
            self._write({"samples_per_second": reading.rate()}, self._last_step())

    def reading_over(self, reading: Reading) -> None:
        """A data loader has given its last batch."""
        seconds = reading.last - reading.began
        if reading.trained:
            values = {"samples_per_second": reading.rate(), "data_seconds": reading.waited, "train_seconds": seconds}
        else:
            values = {"eval_seconds": seconds}
            if self._training is not None:
                self._training.aside += seconds
        self._note(values, self._last_step())

    # -- the end --

    def _end(self) -> None:
        background.no_longer(self._settle_if_late)
        self._gather()
        if self._losses and not self._slots:
            self._go_bare()
        self.settle()
        self._release()
        self._send()
        if options.models:
            self._trained.keep(self._training and self._training.inputs)


def _is_plain(values: dict[str, Any]) -> bool:
    """Whether all are finite floats."""
    for value in values.values():  # noqa: SIM110  (a generator takes twice as long)
        if type(value) is not float or value - value != 0.0:
            return False
    return True


def _mean(parts: list[Any]) -> Any:
    """The mean of a step's losses: a float where all are on the host."""
    return mean(parts) if all(type(part) is float for part in parts) else Mean(parts)


_recordings: weakref.WeakSet[Recording] = weakref.WeakSet()


def _forked() -> None:
    for recording in list(_recordings):
        recording._forked()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forked)
