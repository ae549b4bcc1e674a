"""What is recorded of plain loops in one run: losses and learning rates by step, epochs, and what is trained."""

from __future__ import annotations

import threading
import weakref
from collections.abc import Mapping
from time import time
from typing import Any

from torch import Tensor, nn
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler

from tachograph import guard
from tachograph.hooks.session import inside, options
from tachograph.record.run import Run
from tachograph.runtime import forks
from tachograph.runtime.background import background
from tachograph_frameworks.torch import hot_path
from tachograph_frameworks.torch.curve_names import CurveNames
from tachograph_frameworks.torch.device import read
from tachograph_frameworks.torch.epoch_recording import EpochRecording
from tachograph_frameworks.torch.found_models import Trained
from tachograph_frameworks.torch.point_writer import PointWriter
from tachograph_frameworks.torch.slots import Slot, Slots
from tachograph_frameworks.torch.strand import Strand
from tachograph_frameworks.torch.user_variables import Sight

PERIOD = 0.05  # seconds of steps that are recorded together
LATE = 0.1  # seconds between two looks at whether the loop has come to a halt
PATIENCE = 5.0  # seconds that the end of a run waits for another thread which is recording
_NO_PAIR = (None, None, None, None)


class Recording:
    """The plain loops' part of a run. ``owned`` says that the run was opened for it.

    What is heard is noted, and recorded some twenty times a second: between two steps of a training the processor's
    caches are full of its numbers, and each further line of ours costs a multiple there. Steps that take longer than
    that are recorded one by one.
    """

    def __init__(self, run: Run, owned: bool, models: Mapping[str, nn.Module]) -> None:
        self.run, self.owned = run, owned
        self.noted: list[hot_path.Note] = []
        self.taken = 0  # how many were recorded
        self.measured = 0.0  # when a step was measured,
        self.since = 0  # how many were made since then,
        self.weight = 1  # and for how many the one stands that is measured now
        self._trained = Trained(run, models)
        self._slots = Slots(run)
        self.names = CurveNames()
        self.epochs = EpochRecording(self)
        self._strands: dict[int, Strand] = {}
        self._last = 0.0  # when the last of them was noted, in seconds since 1970
        self._one_at_a_time = threading.RLock()
        self._is_taking = self._is_over = False
        self.writer = PointWriter(run, holds_first_step=not owned)
        if not owned:
            run.recorder.listen(self._hear)
        run.recorder.before_end(self._end)
        self._watch()
        _recordings.add(self)

    def strand(self, stack: tuple[Run, ...]) -> Strand:
        """This thread's part."""
        found = self._strands.get(threading.get_ident())
        if found is None or found.owner is not threading.current_thread():
            found = self._strands[threading.get_ident()] = Strand(self, stack)
        found.stack, found.thread = stack, threading.get_ident()
        return found

    def knows(self, optimizer: Optimizer) -> bool:
        """Whether it has made a step here."""
        return self._slots.get(optimizer) is not None

    def _forked(self) -> None:
        """In a forked child: what was noted is the parent's, and its background thread may have held the lock."""
        self._one_at_a_time, self._is_taking = threading.RLock(), False
        self.noted.clear()
        self.writer.forked()
        strand = self._strands.get(threading.get_ident())
        self._strands = {} if strand is None else {threading.get_ident(): strand}
        for strand in self._strands.values():
            strand.forked()
        self._is_watched = False
        self.run.recorder.before_end(self._leave)

    def _watch(self) -> None:
        """Look from now on whether the loop has come to a halt."""
        self._is_watched = True
        background.regularly(self._settle_if_late, LATE)

    # -- at each step, on the training thread --

    def stepped(self, strand: Strand, optimizer: Optimizer) -> bool:
        """An optimizer has made a step. Gives whether it is time to settle."""
        slot = self._slots.get(optimizer) or self._slots.back(optimizer)
        if slot is None:
            if self._slots.is_ignored(optimizer):
                return False
            self.settle()
            slot = self._new_slot(strand, optimizer)
            if slot is None:
                return False
        if not slot.has_groups_of(optimizer):
            slot.name_rates(optimizer)
            self._trained.regroup(slot, optimizer)
        is_first = strand.slot is None
        strand.slot, slot.every = slot, options.every_n_steps
        if strand.fresh:
            self.epochs.trained_on(strand, slot, is_first)
        return self._count(strand, slot, optimizer)

    def _count(self, strand: Strand, slot: Slot, optimizer: Optimizer) -> bool:
        values = strand.take(slot)
        for name, group in zip(slot.rates, optimizer.param_groups, strict=False):
            rate = group.get("lr")
            values[name] = read(rate) if isinstance(rate, Tensor) else rate
        step = slot.steps
        slot.steps = step + 1
        now = time()
        if step % slot.every == 0:
            self.noted.append((step, now, values, *_NO_PAIR))
        for reading in strand.take_endings():
            self.epochs.write_ending(strand, reading)
        return now > strand.due

    def note(self, values: dict[str, Any], step: int, strand: Strand | None = None) -> None:
        """Values that are recorded with the steps."""
        now = time()
        self.noted.append((step, now, values, *_NO_PAIR))
        if strand is not None and now > strand.due:
            strand.due = now + PERIOD
            self.settle_unless_busy()

    def _new_slot(self, strand: Strand, optimizer: Optimizer) -> Slot | None:
        slot = self._slots.succeed(optimizer)
        if slot is not None:
            self._trained.describe_again(slot, optimizer)
            return slot
        sight = Sight(Optimizer, nn.Module, LRScheduler)
        slot, is_new = self._slots.add(optimizer, sight)
        if slot is not None and is_new:
            with guard.contained("torch: model and optimizer", self.run):
                self._trained.describe(slot, optimizer, sight)
            self.names.hand_over(strand, strand.end_bare(), slot)
            names = [self.names.of_optimizer(slot, base) for base in strand.waiting()]
            slot.steps = max([slot.steps, *(self.run.recorder.next_step(name) for name in names)])
        elif slot is not None:
            self._trained.describe_again(slot, optimizer)
        return slot

    # -- recording what was noted --

    def settle(self) -> None:
        """Record what was noted so far; waits a little for another thread that is at it."""
        if self._one_at_a_time.acquire(timeout=PATIENCE):
            self._take_and_release()

    def settle_unless_busy(self) -> None:
        """:meth:`settle`, unless another thread is at it."""
        if self._one_at_a_time.acquire(blocking=False):
            self._take_and_release()

    def _take_and_release(self) -> None:
        try:
            if not self._is_taking:  # a signal handler of the user's may have come in between, and asked for it
                self._is_taking = True
                try:
                    self._take()
                finally:
                    self._is_taking = False
        finally:
            self._one_at_a_time.release()

    def _settle_if_late(self) -> None:
        """The loop has come to a halt, or its steps take long: what it did before is recorded."""
        is_due = all(time() > strand.due for strand in list(self._strands.values()))
        if self.writer.is_held_too_long or (self.noted and is_due):
            self.settle_unless_busy()
        if self.owned and self._strands and not any(s.owner.is_alive() for s in list(self._strands.values())):
            self._strands.clear()
            background.soon(self.run.finish)  # with the thread that it was opened in

    def _take(self) -> None:
        if not self._is_watched:
            self._watch()  # in a forked child, whose background thread is a new one
        for strand in list(self._strands.values()):
            self.epochs.report(strand)
        count = len(self.noted)  # another thread's loop may be at it
        noted = self.noted[:count]
        del self.noted[:count]
        self.taken += count
        self._last = noted[-1][1] if noted else self._last
        as_it_is, index = self.writer.writes_all, 0
        while index < count:
            if as_it_is:
                index = hot_path.plain_events(noted, index, self.writer.ready)
            if index < count:
                step, at, values, name, value, rate_name, rate = noted[index]
                if values is None:
                    values = {rate_name: rate} if name is None else {name: value, rate_name: rate}
                self.writer.write(values, step, at)
                index += 1
        if self._is_over or self.writer.is_held_too_long:
            self.writer.release()
        self.writer.send()

    def _hear(self, values: Any) -> None:
        """The user logs something. (What another framework's training logs here is no word of the user's.)"""
        if isinstance(values, Mapping) and not inside() and not self.writer.users_names.issuperset(values):
            if not self.writer.is_holding or self._has_several_steps():
                self.settle()  # what was noted before is recorded as it was heard
            self.writer.users_names.update(values)

    def _has_several_steps(self) -> bool:
        """Whether what is known so far is of more than the first step, which the user may log now."""
        steps = [note[0] for note in self.noted] + self.writer.held_steps
        return len(set(steps)) > 1

    @property
    def last_noted(self) -> float:
        """When the last step was noted, in seconds since 1970."""
        return self.noted[-1][1] if self.noted else self._last

    # -- the end --

    def _leave(self) -> None:
        """What waits for a step that does not come is recorded."""
        for strand in list(self._strands.values()):
            strand.leave()
            for reading in strand.take_endings():
                self.epochs.write_ending(strand, reading)
        self._is_over = True
        self.settle()
        background.no_longer(self._settle_if_late)

    def _end(self) -> None:
        trainings = [strand.training for strand in self._strands.values() if strand.training is not None]
        self._leave()
        if options.models:
            self._trained.keep(trainings[-1].inputs if trainings else None)


_recordings: weakref.WeakSet[Recording] = weakref.WeakSet()


def _forked() -> None:
    for recording in list(_recordings):
        recording._forked()


forks.in_child("plug-ins", _forked)
