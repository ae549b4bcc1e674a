"""What is recorded of a plain loop in one run: losses and learning rates by step, epochs, and what is trained."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import nn
from torch.optim import Optimizer

from tachograph import guard, late
from tachograph.run import Run
from tachograph.session import options
from tachograph_frameworks.torch.data import describe, length
from tachograph_frameworks.torch.device import Mean, mean
from tachograph_frameworks.torch.optimizers import Slot, unwrapped
from tachograph_frameworks.torch.readings import Reading
from tachograph_frameworks.torch.trained import Trained
from tachograph_frameworks.torch.variables import visible

REPORT_SECONDS = 10.0
MOST_ACCUMULATED = 256  # backward passes before the first step of an optimizer: with more there is none


class Recording:
    """The plain loop's part of a run. ``owned`` says that the run was opened for it."""

    def __init__(self, run: Run, owned: bool, models: Mapping[str, nn.Module]) -> None:
        self.run = run
        self._trained = Trained(run, models)
        self.losses: dict[str, Any] = {}  # of the coming step: the values of each name
        self._bare: dict[str, int] | None = None  # where no optimizer makes steps: how many each loss has made
        self.extras: dict[str, Any] = {}
        self.step = 0
        self._slots: dict[int, Slot] = {}
        self._epochs: dict[tuple[type, int | None], int] = {}
        self._training: Reading | None = None
        self._heard: set[str] = set()
        self._held: list[tuple[dict[str, Any], int]] | None = None
        if not owned:
            # A name that the user logs is the user's. What comes before that is known is held for one step.
            self._held = []
            run._listen(self._hear)
        run._before_end(self._end)

    # -- steps --

    def lost(self, name: str, value: Any) -> None:
        """A backward pass has begun, at the loss ``name``."""
        if self._bare is not None:
            self._put_bare(name, value)
        elif name not in self.losses:
            self.losses[name] = [value]
        else:
            self.losses[name].append(value)
            if len(self.losses[name]) >= MOST_ACCUMULATED and not self._slots:
                self._go_bare()

    def _go_bare(self) -> None:
        """There is no optimizer, as in loops that move the weights by hand: each backward pass is a step."""
        self._bare = {}
        losses, self.losses = self.losses, {}
        for name, values in losses.items():
            for value in values:
                self._put_bare(name, value)

    def _put_bare(self, name: str, value: Any) -> None:
        assert self._bare is not None
        self.step = self._bare.get(name, 0)
        self._bare[name] = self.step + 1
        self._write({name: value}, self.step)

    def stepped(self, optimizer: Optimizer) -> None:
        """An optimizer has made a step."""
        slot = self._slots.get(id(optimizer))
        if slot is None or slot.optimizer() is not optimizer:
            slot = self._slots[id(optimizer)] = self._new_slot(optimizer)
        self.step = step = slot.steps
        slot.steps = step + 1
        values, self.losses = self.losses, {}
        if step % options.every_n_steps:
            return
        for name, parts in values.items():
            values[name] = parts[0] if len(parts) == 1 else _mean(parts)
        if self.extras:
            values |= self.extras
            self.extras = {}
        for name, group in zip(slot.rates, optimizer.param_groups, strict=False):
            values[name] = group["lr"]
        self._write(values, step)

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
        return max((self.run._journal.steps.next(name) for name in self.losses), default=0)

    # -- writing --

    def _write(self, values: dict[str, Any], step: int) -> None:
        if self._held is not None:
            self._held.append((values, step))
            if step == self._held[0][1]:
                return
            self._release()
            return
        if self._heard:
            values = {name: value for name, value in values.items() if name not in self._heard}
        self._put(values, step)

    def _release(self) -> None:
        held, self._held = self._held or [], None
        for values, step in held:
            self._write(values, step)

    def _put(self, values: dict[str, Any], step: int) -> None:
        for value in values.values():
            if type(value) is not float:
                values, copies = self._split(values)
                if copies:
                    late.waiting.add(self.run, step, copies)
                break
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
        self._training = reading
        dataset = reading.loader.dataset
        key = (type(dataset), length(dataset))  # some make it anew for each epoch
        epoch = self._epochs[key] = self._epochs.get(key, -1) + 1
        self._write({"epoch": float(epoch)}, self._next_step())
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

    def report(self, reading: Reading) -> None:
        """How fast a long epoch goes, every ten seconds."""
        if reading.last - reading.reported > REPORT_SECONDS:
            self._write({"samples_per_second": reading.rate()}, self.step)

    def reading_over(self, reading: Reading) -> None:
        """A data loader has given its last batch."""
        seconds = reading.last - reading.began
        if not reading.trained:
            if self._training is not None:
                self._training.aside += seconds
            self._write({"eval_seconds": seconds}, self.step)
            return
        rate = reading.rate()
        self._write({"samples_per_second": rate, "data_seconds": reading.waited, "train_seconds": seconds}, self.step)

    # -- the end --

    def _end(self) -> None:
        if self.losses and not self._slots:
            self._go_bare()
        self._release()
        if options.models:
            self._trained.keep(self._training and self._training.inputs)


def _mean(parts: list[Any]) -> Any:
    """The mean of a step's losses: a float where all are on the host."""
    return mean(parts) if all(type(part) is float for part in parts) else Mean(parts)
