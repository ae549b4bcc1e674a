"""What is recorded of plain loops in one run: losses and learning rates by step, epochs, and what is trained."""

from __future__ import annotations

import threading
import weakref
from collections.abc import Mapping
from time import perf_counter, time
from typing import Any

from torch import Tensor, nn
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler
from torch.utils.data import DataLoader

from tachograph import guard
from tachograph.events import Metrics
from tachograph.hooks.session import inside, options
from tachograph.record import device_values
from tachograph.record.run import Run
from tachograph.runtime import forks
from tachograph.runtime.background import background
from tachograph_frameworks.torch import hot_path
from tachograph_frameworks.torch.data import describe
from tachograph_frameworks.torch.data_loaders import Reading
from tachograph_frameworks.torch.device import read
from tachograph_frameworks.torch.epochs import Epochs, Track
from tachograph_frameworks.torch.found_models import Trained, unique
from tachograph_frameworks.torch.loss_names import UNNAMED
from tachograph_frameworks.torch.optimizers import Slot
from tachograph_frameworks.torch.slots import Slots
from tachograph_frameworks.torch.strand import Strand
from tachograph_frameworks.torch.user_variables import Sight

PERIOD = 0.05  # seconds of steps that are recorded together
LATE = 0.1  # seconds between two looks at whether the loop has come to a halt
HELD_SECONDS = 1.0  # that a first step waits for what the user may log of it
PATIENCE = 5.0  # seconds that the end of a run waits for another thread which is recording
REPORT_SECONDS = 10.0
DEFAULT = "loss"  # what a loss is called that is in no variable
DEFAULT_BESIDE = "unnamed_loss"  # the same, where a variable is called that
_AROUND_LOADERS = ("iterable", "base_dataloader")  # attributes of tqdm and of accelerate that hold the user's
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
        self._owners: dict[str, object] = {}  # of each curve
        self._epochs = Epochs(self._claim)
        self._strands: dict[int, Strand] = {}
        self._last = 0.0  # when the last of them was noted, in seconds since 1970
        self._ready: list[Metrics] = []
        self._one_at_a_time = threading.RLock()
        self._is_taking = self._is_over = False
        self._heard: set[str] = set()
        self._held: list[tuple[dict[str, Any], int, float]] | None = None
        if not owned:
            # A name that the user logs is the user's. What comes before that is known is held for one step.
            self._held = []
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
        self._ready = []
        strand = self._strands.get(threading.get_ident())
        self._strands = {} if strand is None else {threading.get_ident(): strand}
        for strand in self._strands.values():
            strand.forked()
        if self._held is not None:
            self._held = []
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
            self.trained_on(strand, slot, is_first)
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
            self._write_ending(strand, reading)
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
            self._take_over(strand.end_bare(), strand, slot)
            names = [self.curve(slot, base) for base in strand.waiting()]
            slot.steps = max([slot.steps, *(self.run.recorder.next_step(name) for name in names)])
        elif slot is not None:
            self._trained.describe_again(slot, optimizer)
        return slot

    def _take_over(self, steps: dict[str, int], strand: Strand, slot: Slot) -> None:
        """Losses that were counted without an optimizer are this one's, and go on: the last one is of this step."""
        for base, count in steps.items():
            name = strand.curves[base]
            self._owners[name], slot.curves[base] = slot, name
            slot.steps = max(slot.steps, count - 1)

    # -- names of curves --

    def curve(self, slot: Slot, base: str) -> str:
        """What a curve of an optimizer's is called: by ``base``, unless that is another's."""
        name = slot.curves.get(base)
        if name is None:
            if base == DEFAULT and slot.curves.get(UNNAMED) == DEFAULT:
                slot.curves[UNNAMED] = self._claim(slot, [DEFAULT_BESIDE, slot.own(DEFAULT_BESIDE)])
            wanted = (DEFAULT if DEFAULT not in slot.curves else DEFAULT_BESIDE) if base == UNNAMED else base
            names = [slot.own(wanted)] if slot.prefix is not None else [wanted, slot.own(wanted)]
            name = slot.curves[base] = self._claim(slot, names)
        return name

    def bare_curve(self, strand: Strand, base: str) -> str:
        """The same for a loss of which no optimizer makes steps."""
        if base not in strand.curves:
            wanted = (DEFAULT if DEFAULT not in strand.curves else DEFAULT_BESIDE) if base == UNNAMED else base
            strand.curves[base] = self._claim(strand, [wanted, f"{wanted}/backward"])
        return strand.curves[base]

    def _claim(self, owner: object, names: list[str]) -> str:
        """The first of some names that is not another's."""
        for name in names:
            if self._owners.setdefault(name, owner) is owner:
                return name
        name = unique(names[-1], self._owners)
        self._owners[name] = owner
        return name

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
        if self._is_held_too_long() or (self.noted and is_due):
            self.settle_unless_busy()
        if self.owned and self._strands and not any(s.owner.is_alive() for s in list(self._strands.values())):
            self._strands.clear()
            background.soon(self.run.finish)  # with the thread that it was opened in

    def _take(self) -> None:
        if not self._is_watched:
            self._watch()  # in a forked child, whose background thread is a new one
        for strand in list(self._strands.values()):
            self._report(strand)
        count = len(self.noted)  # another thread's loop may be at it
        noted = self.noted[:count]
        del self.noted[:count]
        self.taken += count
        self._last = noted[-1][1] if noted else self._last
        as_it_is, index = self._held is None and not self._heard, 0
        while index < count:
            if as_it_is:
                index = hot_path.plain_events(noted, index, self._ready)
            if index < count:
                step, at, values, name, value, rate_name, rate = noted[index]
                if values is None:
                    values = {rate_name: rate} if name is None else {name: value, rate_name: rate}
                self._write(values, step, at)
                index += 1
        if self._is_over or self._is_held_too_long():
            self._release()
        self._send()

    def _send(self) -> None:
        """Append the events that are ready."""
        ready, self._ready = self._ready, []
        if ready:
            self.run.recorder.append(*ready)

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

    def _is_held_too_long(self) -> bool:
        held = self._held
        return held is not None and len(held) > 0 and time() - held[0][2] > HELD_SECONDS

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
        rest = {name: value for name, value in values.items() if name not in copies and value is not None}
        if copies and all(type(value) is float and value - value == 0.0 for value in rest.values()):
            device_values.waiting.add(self.run, step, copies, Metrics(0, 0, at, step, rest))
            return
        self._send()
        rest, more, unread = device_values.start(rest)
        self.run.recorder.complain(unread)
        if copies or more:
            device_values.waiting.add(self.run, step, copies | more)
        if rest:
            self.run.recorder.log(rest, step)

    def _hear(self, values: Any) -> None:
        """The user logs something. (What another framework's training logs here is no word of the user's.)"""
        if isinstance(values, Mapping) and not inside() and not self._heard.issuperset(values):
            if self._held is None or self._has_several_steps():
                self.settle()  # what was noted before is recorded as it was heard
            self._heard.update(values)

    def _has_several_steps(self) -> bool:
        """Whether what is known so far is of more than the first step, which the user may log now."""
        steps = [note[0] for note in self.noted] + [step for _, step, _ in self._held or ()]
        return len(set(steps)) > 1

    # -- epochs --

    def trained_on(self, strand: Strand, slot: Slot, is_first: bool = False) -> None:
        """The first step on what data loaders gave: an epoch has begun."""
        fresh, strand.fresh = strand.fresh, []
        strand.batch_is_new = False
        going_on = [reading for reading in fresh if not reading.over]
        for reading in strand.take_endings():
            self._write_ending(strand, reading)
        for reading in going_on or (fresh[-1:] if is_first else []):
            if reading.track is None:
                self._begin_epoch(strand, slot, reading)

    def _begin_epoch(self, strand: Strand, slot: Slot, reading: Reading) -> None:
        strand.training = reading
        track, is_first = self._epochs.begin(reading, slot)
        reading.track, reading.first_step = track, slot.steps
        if is_first:
            track.stream.name = _loader_name(reading)
        self.note({self._epochs.name(track, "epoch"): float(track.epoch)}, slot.steps)
        if is_first:
            self.settle()
            with guard.contained("torch: data", self.run):
                describe(self.run, reading.dataset, reading.facts, track.stream.name, "train")

    def _report(self, strand: Strand) -> None:
        """How fast a long epoch goes, every ten seconds."""
        reading = strand.training
        if reading is not None and not reading.over and reading.last - reading.reported > REPORT_SECONDS:
            self._write({self._epochs.name(reading.track, "samples_per_second"): reading.rate()}, strand.last_step)

    def reading_over(self, strand: Strand, reading: Reading) -> bool:
        """A data loader has given its last batch. Gives whether the step on that is still to come."""
        if reading.track is None:
            seconds = reading.last - reading.began
            self.note({"eval_seconds": seconds}, strand.last_step, strand)
            if strand.training is not None:
                strand.training.aside += seconds
        elif self._is_ahead(strand, reading):
            strand.endings.append(reading)
            return True
        else:
            self._write_ending(strand, reading)
        return False

    def _is_ahead(self, strand: Strand, reading: Reading) -> bool:
        """Whether its last batch seems to have had no step yet: some libraries fetch one batch ahead. If that is not
        so, the next epoch's first step shows it."""
        if strand.slot is None or strand.slot.every > 1:
            return False
        last = self.noted[-1][1] if self.noted else self._last
        steps = reading.track.slot.steps - reading.first_step
        return steps == reading.batches - 1 or last < time() - (perf_counter() - reading.last_batch)

    def _write_ending(self, strand: Strand, reading: Reading) -> None:
        track: Track = reading.track
        values = {
            "samples_per_second": reading.rate(),
            "data_seconds": reading.waited,
            "train_seconds": reading.last - reading.began,
        }
        named = {self._epochs.name(track, base): value for base, value in values.items()}
        self.note(named, max(track.slot.steps - 1, 0), strand)

    # -- the end --

    def _leave(self) -> None:
        """What waits for a step that does not come is recorded."""
        for strand in list(self._strands.values()):
            strand.leave()
            for reading in strand.take_endings():
                self._write_ending(strand, reading)
        self._is_over = True
        self.settle()
        background.no_longer(self._settle_if_late)

    def _end(self) -> None:
        trainings = [strand.training for strand in self._strands.values() if strand.training is not None]
        self._leave()
        if options.models:
            self._trained.keep(trainings[-1].inputs if trainings else None)


def _is_plain(values: dict[str, Any]) -> bool:
    """Whether all are finite floats."""
    for value in values.values():  # noqa: SIM110  (a generator takes twice as long)
        if type(value) is not float or value - value != 0.0:
            return False
    return True


def _loader_name(reading: Reading) -> str:
    """The user's variable that has the loader, or a library's wrapper with the loader in it; ``train`` where none."""
    way = Sight(DataLoader).way(reading.loader())
    if way is None:
        return "train"
    parts = way.name.split(".")
    while len(parts) > 1 and (parts[-1].startswith("_") or parts[-1] in _AROUND_LOADERS):
        parts.pop()
    return ".".join(parts)


_recordings: weakref.WeakSet[Recording] = weakref.WeakSet()


def _forked() -> None:
    for recording in list(_recordings):
        recording._forked()


forks.in_child("plug-ins", _forked)
