"""The optimizers of a run: each has its count of steps, and a name that tells it from the others."""

from __future__ import annotations

import weakref
from typing import Any, NamedTuple

from torch.optim import Optimizer

from tachograph.record.run import Run
from tachograph_frameworks.torch import hot_path, optimizers
from tachograph_frameworks.torch.curve_names import unique
from tachograph_frameworks.torch.optimizers import MOST_GROUPS, face_of, group_name
from tachograph_frameworks.torch.user_variables import Place, Sight, Way, held_in

_STEP = "step"


class Slot(hot_path.Slot):
    """What is counted and recorded of an optimizer: its steps, under names of their own.

    ``optimizer`` is a weak reference to the one that makes the steps, and ``face`` to the user's one around it, or to
    the same; ``id`` is the first's while it lives. ``name`` is the user's variable, ``label`` what tells its curves and
    params from others' (None for a single one). ``rates`` is what the learning rates of its groups are called, and
    ``curves`` what each loss is. ``place`` is the function and the variable where it was found.
    """

    __slots__ = ("base", "face", "label", "name", "optimizer", "place", "prefix", "rates", "settings")

    def __init__(self, name: str, label: str | None, steps: int) -> None:
        self.name, self.label = name, label
        self.base = "lr" if label is None else f"lr/{label}"
        self.prefix: str | None = None  # of losses, where others train by the same code: ``a.``
        self.steps, self.every = steps, 1
        self.curves: dict[str, str] = {}
        self.rates: list[str] = []
        self.rate: str | None = None
        self.place: Place | None = None
        self.settings: dict[str, Any] = {}

    def hold(self, optimizer: Optimizer, face: Optimizer) -> None:
        """Count the steps of this one, from now on."""
        self.optimizer, self.face = weakref.ref(optimizer, self._gone), weakref.ref(face)
        self.id = id(optimizer)
        self.name_rates(optimizer)

    def _gone(self, reference: object) -> None:
        if reference is self.optimizer:
            self.id = 0  # another may get it

    def name_rates(self, optimizer: Optimizer) -> None:
        """Name the learning rate of each group. Names that were given stay, where groups are added later."""
        groups = optimizer.param_groups[:MOST_GROUPS]
        given = self.rates[: len(groups)]
        names = [self.base] if len(groups) == 1 else [f"{self.base}/{group_name(*pair)}" for pair in enumerate(groups)]
        self.rates = given + names[len(given) :] if "lr" in groups[0] else []
        self.rate = self.rates[0] if len(self.rates) == len(optimizer.param_groups) == 1 else None

    def has_groups_of(self, optimizer: Optimizer) -> bool:
        """Whether each group has its name."""
        return not self.rates or len(self.rates) == min(len(optimizer.param_groups), MOST_GROUPS)

    def own(self, base: str) -> str:
        """The name of a curve of this optimizer's that is to be told from another's: ``a.loss``, ``loss/opt_fine``."""
        return f"{base}/{self.name}" if self.prefix is None else f"{self.prefix}{base}"


class _Replaced(NamedTuple):
    """An optimizer that lives on, while its variable holds another one."""

    slot: Slot
    optimizer: weakref.ref[Any]
    face: weakref.ref[Any]


class Slots:
    """The optimizers that have made a step in a run."""

    def __init__(self, run: Run) -> None:
        self._run = run
        self._all: list[Slot] = []
        self._by_id: dict[int, Slot] = {}
        self._ignored: dict[int, weakref.ref[Any]] = {}  # whose steps are part of another's
        self._replaced: dict[int, _Replaced] = {}

    def get(self, optimizer: Optimizer) -> Slot | None:
        """The slot of an optimizer that has made a step before."""
        slot = self._by_id.get(id(optimizer))
        return slot if slot is not None and slot.optimizer() is optimizer else None

    def back(self, optimizer: Optimizer) -> Slot | None:
        """The slot of one that another had taken the place of: one variable holds them in turn."""
        found = self._replaced.get(id(optimizer))
        if found is None or found.optimizer() is not optimizer:
            return None
        face = found.face()
        return self._replace(found.slot, optimizer, optimizer if face is None else face)

    def is_ignored(self, optimizer: Optimizer) -> bool:
        """Whether its steps are counted as those of the optimizer that is around it."""
        reference = self._ignored.get(id(optimizer))
        return reference is not None and reference() is optimizer

    def succeed(self, optimizer: Optimizer) -> Slot | None:
        """The slot of one that is gone, whose variable holds this one now: seen without looking around."""
        for slot in self._all:
            if slot.id == 0 and held_in(slot.place) is optimizer:
                return self._go_on(slot, optimizer, optimizer)
        return None

    def add(self, optimizer: Optimizer, sight: Sight) -> tuple[Slot | None, bool]:
        """The slot for the first step of an optimizer, and whether it is a new one; None where the step is counted
        already, as one of the optimizer inside of this one."""
        face = face_of(optimizer, sight)
        same = next((slot for slot in self._all if slot.face() is face), None)
        if same is not None:
            if face is optimizer:
                inner = same.optimizer()
                if inner is not None:
                    self._ignored[id(inner)] = weakref.ref(inner)
                self._hold(same, optimizer, face)
                return None, False
            return self._hold(same, optimizer, face), False
        way = sight.way(face)
        before = self._before(face, way, sight)
        if before is not None:
            return self._go_on(before, optimizer, face), False
        return self._new(optimizer, face, sight), True

    def _before(self, face: Optimizer, way: Way | None, sight: Sight) -> Slot | None:
        """The slot of the one that the same variable held before; where it is in none, of one that is gone."""
        if way is None:
            return next((slot for slot in self._all if slot.id == 0 and slot.name == type(face).__name__), None)
        name = way.name
        seen = {id(found) for found in sight.of(Optimizer)}
        gone = [slot for slot in self._all if slot.optimizer() is None or id(slot.face()) not in seen]
        return next((slot for slot in gone if slot.name == name), None)

    def _go_on(self, slot: Slot, optimizer: Optimizer, face: Optimizer) -> Slot:
        """The variable holds a new one, as in cross-validation: its steps go on."""
        self._run.recorder.remark(
            f"{slot.name} was made anew: its settings are the newest one's, and the steps of all are counted on; open "
            "a run for each training to keep them apart"
        )
        return self._replace(slot, optimizer, face)

    def _replace(self, slot: Slot, optimizer: Optimizer, face: Optimizer) -> Slot:
        before = slot.optimizer()
        if before is not None:
            key = id(before)
            gone = weakref.ref(before, lambda _: self._replaced.pop(key, None))
            self._replaced[key] = _Replaced(slot, gone, slot.face)
        return self._hold(slot, optimizer, face)

    def _new(self, optimizer: Optimizer, face: Optimizer, sight: Sight) -> Slot:
        taken = {slot.name for slot in self._all}
        way = sight.way(face, taken)
        name = unique(type(face).__name__ if way is None else way.name, taken)
        peers = [other for other in sight.of(Optimizer) if self._is_peer(other, optimizer, face, sight)]
        slot = Slot(name, name if peers or self._all else None, 0)
        alike = [other for other in peers if _last(sight.way(other)) == _last(way) is not None]
        if alike or any(other.name.rpartition(".")[2] == _last(way) for other in self._all if "." in other.name):
            slot.prefix = optimizers.prefix(way)
        slot.place = sight.place(optimizer)
        self._all.append(slot)
        return self._hold(slot, optimizer, face)

    def _is_peer(self, other: Optimizer, optimizer: Optimizer, face: Optimizer, sight: Sight) -> bool:
        """Whether another optimizer makes steps in the same training, as far as one can see: it is in the same list, in
        the loop that runs, or its ``step`` is called by the code that runs."""
        if other is optimizer or other is face or face_of(other, sight) is not other:
            return False
        return sight.are_in_one_list(face, other) or sight.is_used(other, _STEP)

    def _hold(self, slot: Slot, optimizer: Optimizer, face: Optimizer) -> Slot:
        slot.hold(optimizer, face)
        self._by_id = {key: other for key, other in self._by_id.items() if other is not slot and other.id == key}
        self._by_id[id(optimizer)] = slot
        return slot


def _last(way: Way | None) -> str | None:
    """The attribute that holds an optimizer."""
    return None if way is None or way.is_item or "." not in way.name else way.path[-1]
