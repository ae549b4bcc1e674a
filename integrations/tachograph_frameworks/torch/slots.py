"""The slots of a run, one for each optimizer: its count of steps, and a name that tells it from the others.

Where a variable is given a new optimizer, as for each fold of a cross-validation, that one takes over the slot.
"""

from __future__ import annotations

import weakref
from typing import Any, NamedTuple

from torch.optim import Optimizer

from tachograph.record.run import Run
from tachograph_frameworks.torch import hot_path, optimizers
from tachograph_frameworks.torch.curve_names import unique
from tachograph_frameworks.torch.optimizers import MOST_GROUPS, group_name, outer_of
from tachograph_frameworks.torch.user_variables import (
    Home,
    LocalVariable,
    Sight,
    VariablePath,
    innermost_call,
    is_elsewhere,
    value_of,
)

_STEP = "step"


class Slot(hot_path.Slot):
    """What is counted and recorded of an optimizer: its steps, under names of their own.

    ``optimizer`` is a weak reference to the one that makes the steps, and ``outer`` to the user's one around it, or to
    the same; ``id`` is the first's while it lives. ``name`` is the user's variable, ``label`` what tells its curves and
    params from others' (None for a single one). ``rates`` is what the learning rates of its groups are called, and
    ``curves`` what each loss is. ``variable`` is the function and the variable where it was found, and ``home`` the
    call that had it. ``is_namesake`` says that another one is in a variable of the same name: the same code, as a rule.
    """

    __slots__ = (
        "home",
        "is_namesake",
        "label",
        "name",
        "optimizer",
        "outer",
        "prefix",
        "rate_base",
        "rates",
        "settings",
        "variable",
    )

    def __init__(self, name: str, label: str | None, steps: int) -> None:
        self.name, self.label = name, label
        self.rate_base = "lr" if label is None else f"lr/{label}"
        self.prefix: str | None = None  # of losses, where others train by the same code: ``a.``
        self.steps, self.every = steps, 1
        self.curves: dict[str, str] = {}
        self.rates: list[str] = []
        self.rate: str | None = None
        self.variable: LocalVariable | None = None
        self.home: Home | None = None
        self.is_namesake = False
        self.settings: dict[str, Any] = {}

    def hold(self, optimizer: Optimizer, outer: Optimizer) -> None:
        """Count the steps of this one, from now on."""
        self.optimizer, self.outer = weakref.ref(optimizer, self._optimizer_gone), weakref.ref(outer)
        self.id = id(optimizer)
        self.name_rates(optimizer)

    def _optimizer_gone(self, reference: object) -> None:
        if reference is self.optimizer:
            self.id = 0  # another may get it

    def name_rates(self, optimizer: Optimizer) -> None:
        """Name the learning rate of each group. Existing names are kept when groups are added later."""
        groups = optimizer.param_groups[:MOST_GROUPS]
        kept = self.rates[: len(groups)]
        names = [f"{self.rate_base}/{group_name(index, group)}" for index, group in enumerate(groups)]
        names = [self.rate_base] if len(groups) == 1 else names
        self.rates = kept + names[len(kept) :] if "lr" in groups[0] else []
        self.rate = self.rates[0] if len(self.rates) == len(optimizer.param_groups) == 1 else None

    def has_groups_of(self, optimizer: Optimizer) -> bool:
        """Whether each group has its name."""
        return not self.rates or len(self.rates) == min(len(optimizer.param_groups), MOST_GROUPS)

    def distinct_name(self, base: str) -> str:
        """The name of a curve of this optimizer's that is to be told from another's: ``a.loss``, ``loss/opt_fine``."""
        return f"{base}/{self.name}" if self.prefix is None else f"{self.prefix}{base}"


class _Replaced(NamedTuple):
    """An optimizer that lives on, while its variable holds another one."""

    slot: Slot
    optimizer: weakref.ref[Any]
    outer: weakref.ref[Any]


class Slots:
    """The optimizers that have made a step in a run. ``by_id`` has those that live, by their ids."""

    def __init__(self, run: Run) -> None:
        self._run = run
        self._all: list[Slot] = []
        self.by_id: dict[int, Slot] = {}
        self._ignored: dict[int, weakref.ref[Any]] = {}  # whose steps are part of another's
        self._replaced: dict[int, _Replaced] = {}

    def get(self, optimizer: Optimizer) -> Slot | None:
        """The slot of an optimizer that has made a step before."""
        slot = self.by_id.get(id(optimizer))
        return slot if slot is not None and slot.optimizer() is optimizer else None

    def restore(self, optimizer: Optimizer) -> Slot | None:
        """The slot of an optimizer that another one had replaced: one variable holds them in turn."""
        replaced = self._replaced.get(id(optimizer))
        if replaced is None or replaced.optimizer() is not optimizer:
            return None
        outer = replaced.outer()
        return self._put_in(replaced.slot, optimizer, optimizer if outer is None else outer)

    def is_ignored(self, optimizer: Optimizer) -> bool:
        """Whether its steps are counted as those of the optimizer that is around it."""
        reference = self._ignored.get(id(optimizer))
        return reference is not None and reference() is optimizer

    def take_over(self, optimizer: Optimizer) -> Slot | None:
        """The slot of an optimizer that is gone, whose variable holds this one now: seen without looking around."""
        for slot in self._all:
            if slot.id == 0 and value_of(slot.variable) is optimizer:
                slot.home = innermost_call()
                return self._continue(slot, optimizer, optimizer)
        return None

    def add(self, optimizer: Optimizer, sight: Sight) -> tuple[Slot | None, bool]:
        """The slot for the first step of an optimizer, and whether it is a new one; None where the step is counted
        already, as one of the optimizer inside of this one."""
        outer = outer_of(optimizer, sight)
        same = next((slot for slot in self._all if slot.outer() is outer), None)
        if same is not None:
            if outer is optimizer:
                inner = same.optimizer()
                if inner is not None:
                    self._ignored[id(inner)] = weakref.ref(inner)
                self._hold(same, optimizer, outer)
                return None, False
            return self._hold(same, optimizer, outer), False
        path = sight.path(outer)
        predecessor = self._predecessor(outer, path, sight)
        if predecessor is not None:
            predecessor.home = sight.home(path)
            return self._continue(predecessor, optimizer, outer), False
        return self._new(optimizer, outer, sight), True

    def _predecessor(self, outer: Optimizer, path: VariablePath | None, sight: Sight) -> Slot | None:
        """The slot of the one that the same variable held before; where it is in none, of one that is gone."""
        if path is None:
            return next((slot for slot in self._all if slot.id == 0 and slot.name == type(outer).__name__), None)
        name = path.name
        seen = {id(other) for other in sight.of(Optimizer)}
        gone = [slot for slot in self._all if slot.optimizer() is None or id(slot.outer()) not in seen]
        return next((slot for slot in gone if slot.name == name and not _is_kept_elsewhere(slot)), None)

    def _continue(self, slot: Slot, optimizer: Optimizer, outer: Optimizer) -> Slot:
        """Let the steps go on: the variable holds a new optimizer, as in cross-validation."""
        self._run.recorder.remark(
            f"{slot.name} was made anew: its settings are the newest one's, and the steps of all are counted on; open "
            "a run for each training to keep them apart"
        )
        return self._put_in(slot, optimizer, outer)

    def _put_in(self, slot: Slot, optimizer: Optimizer, outer: Optimizer) -> Slot:
        before = slot.optimizer()
        if before is not None:
            key = id(before)
            gone = weakref.ref(before, lambda _: self._replaced.pop(key, None))
            self._replaced[key] = _Replaced(slot, gone, slot.outer)
        return self._hold(slot, optimizer, outer)

    def _new(self, optimizer: Optimizer, outer: Optimizer, sight: Sight) -> Slot:
        taken = {slot.name for slot in self._all}
        path = sight.path(outer, taken) or sight.path(outer)
        name = unique(type(outer).__name__ if path is None else path.name, taken)
        peers = [other for other in sight.of(Optimizer) if self._is_peer(other, optimizer, outer, sight)]
        slot = Slot(name, name if peers or self._all else None, 0)
        slot.is_namesake = path is not None and path.name in taken
        alike = [other for other in peers if _last(sight.path(other)) == _last(path) is not None]
        if alike or any(other.name.rpartition(".")[2] == _last(path) for other in self._all if "." in other.name):
            slot.prefix = optimizers.prefix(path)
        slot.variable, slot.home = sight.local_variable(optimizer), sight.home(path)
        self._all.append(slot)
        return self._hold(slot, optimizer, outer)

    def _is_peer(self, other: Optimizer, optimizer: Optimizer, outer: Optimizer, sight: Sight) -> bool:
        """Whether another optimizer makes steps in the same training, as far as one can see: it is in the same list, in
        the loop that runs, or its ``step`` is called by the code that runs."""
        if other is optimizer or other is outer or outer_of(other, sight) is not other:
            return False
        return sight.are_in_one_list(outer, other) or sight.is_used(other, _STEP)

    def _hold(self, slot: Slot, optimizer: Optimizer, outer: Optimizer) -> Slot:
        slot.hold(optimizer, outer)
        for key in [key for key, other in self.by_id.items() if other is slot or other.id != key]:
            del self.by_id[key]
        self.by_id[id(optimizer)] = slot
        return slot


def _is_kept_elsewhere(slot: Slot) -> bool:
    """Whether the optimizer lives on in a thread of its own, or in a generator that is suspended: two such that run by
    the same code have it in variables of the same name."""
    return slot.optimizer() is not None and slot.home is not None and is_elsewhere(slot.home)


def _last(path: VariablePath | None) -> str | None:
    """The attribute that holds an optimizer."""
    return None if path is None or path.is_item or "." not in path.name else path.names[-1]
