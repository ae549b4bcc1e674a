"""The names of a run's curves: each belongs to one optimizer, to one thread, or to the epochs of one data loader."""

from __future__ import annotations

from collections.abc import Container
from itertools import chain, count
from typing import TYPE_CHECKING

from tachograph_frameworks.torch.loss_names import UNNAMED

if TYPE_CHECKING:
    from tachograph_frameworks.torch.slots import Slot
    from tachograph_frameworks.torch.strand import Strand

DEFAULT = "loss"  # what a loss is called that is in no variable
DEFAULT_BESIDE = "unnamed_loss"  # the same, where a variable is called that


class CurveNames:
    """The names that are in use in one run, each with its owner."""

    def __init__(self) -> None:
        self._owners: dict[str, object] = {}

    def of_optimizer(self, slot: Slot, base: str) -> str:
        """The name of an optimizer's curve: ``base``, unless that is another's."""
        name = slot.curves.get(base)
        if name is None:
            if base == DEFAULT and slot.curves.get(UNNAMED) == DEFAULT:
                slot.curves[UNNAMED] = self.claim(slot, [DEFAULT_BESIDE, slot.distinct_name(DEFAULT_BESIDE)])
            wanted = (DEFAULT if DEFAULT not in slot.curves else DEFAULT_BESIDE) if base == UNNAMED else base
            distinct = [slot.distinct_name(wanted)]
            names = distinct if slot.prefix is not None or slot.is_namesake else [wanted, *distinct]
            name = slot.curves[base] = self.claim(slot, names)
        return name

    def without_optimizer(self, strand: Strand, base: str) -> str:
        """The name of the curve of a loss of which no optimizer makes steps."""
        if base not in strand.curves:
            wanted = (DEFAULT if DEFAULT not in strand.curves else DEFAULT_BESIDE) if base == UNNAMED else base
            strand.curves[base] = self.claim(strand, [wanted, f"{wanted}/backward"])
        return strand.curves[base]

    def hand_over(self, strand: Strand, steps: dict[str, int], slot: Slot) -> None:
        """Give an optimizer what was counted of losses without one. Its steps go on from theirs."""
        for base, step_count in steps.items():
            name = strand.curves[base]
            self._owners[name], slot.curves[base] = slot, name
            slot.steps = max(slot.steps, step_count - 1)

    def claim(self, owner: object, names: list[str]) -> str:
        """The first of ``names`` that is not another's; where all are, the last one with a number."""
        for name in names:
            if self._owners.setdefault(name, owner) is owner:
                return name
        name = unique(names[-1], self._owners)
        self._owners[name] = owner
        return name


def unique(name: str, taken: Container[str]) -> str:
    """The name, or where it is taken the same with a number."""
    return next(free for free in chain([name], (f"{name}.{n}" for n in count(2))) if free not in taken)
