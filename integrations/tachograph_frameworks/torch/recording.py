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
from tachograph.runtime.quiet import quietly
from tachograph_frameworks.torch import hot_path
from tachograph_frameworks.torch.curve_names import CurveNames
from tachograph_frameworks.torch.device import read
from tachograph_frameworks.torch.epoch_recording import EpochRecording
from tachograph_frameworks.torch.found_models import FoundModels
from tachograph_frameworks.torch.point_writer import PointWriter
from tachograph_frameworks.torch.slots import Slot, Slots
from tachograph_frameworks.torch.strand import Strand
from tachograph_frameworks.torch.user_variables import Sight

PERIOD = 0.05  # seconds of steps that are recorded together
LOOK_SECONDS = 0.1  # between two looks at whether the loop has come to a halt
LOCK_SECONDS = 5.0  # that the end of a run waits for another thread which is recording
_NO_LOSS_AND_RATE = (None, None, None, None)


class Recording:
    """The plain loops' part of a run. ``owned`` says that the run was opened for it.

    What is heard is noted, and recorded some twenty times a second: between two steps of a training the processor's
    caches are full of its numbers, and each further line of ours costs a multiple there. Steps that take longer than
    that are recorded one by one.
    """

    def __init__(self, run: Run, owned: bool, models: Mapping[str, nn.Module]) -> None:
        self.run, self.owned = run, owned
        self.noted: list[hot_path.Note] = []
        self.recorded = 0  # how many notes were recorded
        self.measured_at = 0.0  # when a step was measured,
        self.steps_since = 0  # how many were made since then,
        self.weight = 1  # and for how many the one stands that is measured now
        self._models = FoundModels(run, models)
        self.slots = Slots(run)
        self.curve_names = CurveNames()
        self.epochs = EpochRecording(self)
        self._strands: dict[int, Strand] = {}
        self._last_noted_at = 0.0  # when the last step was noted, in seconds since 1970
        self._lock, self._first_steps = threading.RLock(), threading.RLock()
        self._is_recording = self._is_over = False
        self.writer = PointWriter(run, holds_first_step=not owned)
        if not owned:
            run.recorder.listen(self._note_users_names)
        run.recorder.before_end(self._end)
        self._watch()
        _recordings.add(self)

    def strand(self, stack: tuple[Run, ...]) -> Strand:
        """The calling thread's part of the recording."""
        thread = threading.get_ident()
        strand = self._strands.get(thread)
        if strand is None or strand.owner is not threading.current_thread():  # an ended thread's number is used again
            strand = self._strands[thread] = Strand(self, stack)
        strand.stack, strand.thread = stack, thread
        return strand

    def has_stepped(self, optimizer: Optimizer) -> bool:
        """Whether the optimizer has made a step here."""
        return self.slots.get(optimizer) is not None

    def _forked(self) -> None:
        """In a forked child: what was noted is the parent's, and its background thread may have held the lock."""
        self._lock, self._first_steps, self._is_recording = threading.RLock(), threading.RLock(), False
        self.noted.clear()
        self.writer.forked()
        strand = self._strands.get(threading.get_ident())
        self._strands = {} if strand is None else {threading.get_ident(): strand}
        for strand in self._strands.values():
            strand.forked()
        self._is_watched = False
        self.run.recorder.before_end(self._record_rest)

    def _watch(self) -> None:
        """Look regularly, from now on, whether the loop has come to a halt."""
        self._is_watched = True
        background.regularly(self._settle_if_due, LOOK_SECONDS)

    # -- at each step, on the training thread --

    def stepped(self, strand: Strand, optimizer: Optimizer) -> bool:
        """An optimizer has made a step. Returns whether it is time to :meth:`settle`."""
        slot = self.slots.get(optimizer) or self.slots.restore(optimizer)
        if slot is None:
            if self.slots.is_ignored(optimizer):
                return False
            self.settle()
            with self._first_steps:  # of several threads: each name is given once
                slot = self._slot_for_first_step(strand, optimizer)
            if slot is None:
                return False
        if not slot.has_groups_of(optimizer):
            slot.name_rates(optimizer)
            self._models.regroup(slot, optimizer)
        is_first = strand.slot is None
        strand.slot, slot.every = slot, options.every_n_steps
        if strand.has_readings:
            self.epochs.trained_on(strand, slot, is_first)
        return self._count(strand, slot, optimizer)

    def _count(self, strand: Strand, slot: Slot, optimizer: Optimizer) -> bool:
        values = strand.take_step(slot)
        for name, group in zip(slot.rates, optimizer.param_groups, strict=False):
            rate = group.get("lr")
            values[name] = read(rate) if isinstance(rate, Tensor) else rate
        step = slot.steps
        slot.steps = step + 1
        now = time()
        if step % slot.every == 0:
            self.noted.append((step, now, values, *_NO_LOSS_AND_RATE))
        for reading in strand.take_endings():
            self.epochs.write_ending(strand, reading)
        return now > strand.due

    def note(self, values: dict[str, Any], step: int, strand: Strand | None = None) -> None:
        """Note values that are recorded with the steps."""
        now = time()
        self.noted.append((step, now, values, *_NO_LOSS_AND_RATE))
        if strand is not None and now > strand.due:
            strand.due = now + PERIOD
            self.settle_unless_busy()

    def _slot_for_first_step(self, strand: Strand, optimizer: Optimizer) -> Slot | None:
        slot = self.slots.take_over(optimizer)
        if slot is not None:
            self._models.describe_again(slot, optimizer)
            return slot
        sight = Sight(Optimizer, nn.Module, LRScheduler)
        slot, is_new = self.slots.add(optimizer, sight)
        if slot is not None and is_new:
            with guard.contained("torch: model and optimizer", self.run), quietly():
                self._models.describe(slot, optimizer, sight)
            self.curve_names.hand_over(strand, strand.take_loss_steps(), slot)
            names = [self.curve_names.of_optimizer(slot, base) for base in strand.waiting_losses()]
            slot.steps = max([slot.steps, *(self.run.recorder.next_step(name) for name in names)])
        elif slot is not None:
            self._models.describe_again(slot, optimizer)
        return slot

    # -- recording what was noted, on any thread --

    def settle(self) -> None:
        """Record what was noted so far. Where another thread is at it, wait for that a little."""
        if self._lock.acquire(timeout=LOCK_SECONDS):
            self._record_and_unlock()

    def settle_unless_busy(self) -> None:
        """:meth:`settle`, unless another thread is at it."""
        if self._lock.acquire(blocking=False):
            self._record_and_unlock()

    def _record_and_unlock(self) -> None:
        try:
            if not self._is_recording:  # a signal handler of the user's may have come in between, and asked for it
                self._is_recording = True
                try:
                    self._record_notes()
                finally:
                    self._is_recording = False
        finally:
            self._lock.release()

    def _settle_if_due(self) -> None:
        """Record what was noted where the loop has come to a halt, or its steps take long."""
        is_due = all(time() > strand.due for strand in list(self._strands.values()))
        if self.writer.is_held_too_long or (self.noted and is_due):
            self.settle_unless_busy()
        if self.owned and self._strands and not any(s.owner.is_alive() for s in list(self._strands.values())):
            self._strands.clear()
            background.soon(self.run.finish)  # with the thread that it was opened in

    def _record_notes(self) -> None:
        if not self._is_watched:
            self._watch()  # in a forked child, whose background thread is a new one
        for strand in list(self._strands.values()):
            self.epochs.report(strand)
        count = len(self.noted)  # another thread's loop may be at it
        noted = self.noted[:count]
        del self.noted[:count]
        self.recorded += count
        self._last_noted_at = noted[-1][1] if noted else self._last_noted_at
        is_unfiltered, index = self.writer.writes_all, 0
        while index < count:
            if is_unfiltered:
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

    def _note_users_names(self, values: Any) -> None:
        """Remember the names that the user logs: those are left out. What another framework's training logs is not the
        user's."""
        if isinstance(values, Mapping) and not inside() and not self.writer.users_names.issuperset(values):
            if not self.writer.is_holding or self._has_several_steps():
                self.settle()  # what was noted before is recorded as it was heard
            self.writer.users_names.update(values)

    def _has_several_steps(self) -> bool:
        """Whether what is known so far is of more than the first step, which the user may log now."""
        steps = [note[0] for note in self.noted] + self.writer.held_steps
        return len(set(steps)) > 1

    @property
    def last_noted_at(self) -> float:
        """When the last step was noted, in seconds since 1970."""
        return self.noted[-1][1] if self.noted else self._last_noted_at

    # -- the end --

    def _record_rest(self) -> None:
        """Record what waits for a step that does not come."""
        for strand in list(self._strands.values()):
            strand.leave()
            for reading in strand.take_endings():
                self.epochs.write_ending(strand, reading)
        self._is_over = True
        self.settle()
        background.no_longer(self._settle_if_due)

    def _end(self) -> None:
        trainings = [strand.training for strand in self._strands.values() if strand.training is not None]
        self._record_rest()
        if options.models:
            self._models.keep(trainings[-1].inputs if trainings else None)


_recordings: weakref.WeakSet[Recording] = weakref.WeakSet()


def _forked() -> None:
    for recording in list(_recordings):
        recording._forked()


forks.in_child("plug-ins", _forked)
