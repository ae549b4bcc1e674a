"""Making decisions about models, and reading them."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from time import time
from typing import Protocol, TypeVar

from tachograph import wording
from tachograph.errors import NotAllowed, NotFound
from tachograph.printable import quoted
from tachograph.registry import decisions, names
from tachograph.registry.decisions import Decision
from tachograph.registry.state import Model

D = TypeVar("D", bound=Decision)

_MOST_TRIES = 1000  # against others who decide about the same model at the same moment


class Records(Protocol):
    """Where decisions are kept: numbered contents for each model, each written once and never changed."""

    def models(self) -> list[str]:
        """The names of the models there are."""

    def read(self, model: str, after: int) -> Iterator[tuple[int, bytes]]:
        """The contents with a number above ``after``, in their order. One that can't be read is empty."""

    def append(self, model: str, number: int, content: bytes) -> bool:
        """Keep the next content, whole or not at all; False where another one has that number."""


class Registry:
    """The models of a store. ``person`` and ``host`` are who decides here, and on which machine."""

    def __init__(self, records: Records, person: str, host: str) -> None:
        self.records, self.person, self.host = records, person, host
        self._models: dict[str, Model] = {}
        self._lock = threading.RLock()

    def models(self) -> list[Model]:
        """Every model as it is now, by name."""
        return [self._read(name) for name in self.records.models()]

    def model(self, name: str) -> Model:
        """A model as it is now. Raises ``NotFound`` where nothing was decided about one of that name."""
        model = self._read(name) if names.is_good(name) else Model(name)
        if not model.decisions:
            there = wording.listed(self.records.models())
            raise NotFound(f"there is no model {quoted(name)}; there are: {there}")
        return model

    def decide(self, name: str, make: Callable[[Model], D], even_if_lost: bool = False) -> D:
        """Make a decision about a model, from what is known of it, and keep it.

        ``make`` is called again where somebody else was faster. Raises ``NotAllowed``, once that is on record, where it
        says why its decision is refused, ``Damaged`` where earlier decisions are lost, unless it is made
        ``even_if_lost``, ValueError for a name that no model can have, and what ``make`` raises.
        """
        name = names.model(name)
        with self._lock:
            for _ in range(_MOST_TRIES):
                model = self._read(name)
                if not even_if_lost:
                    model.check_whole()
                decision = make(model)
                if self._keep(model, decision):
                    if decision.refused:
                        raise NotAllowed(f"refused: {'; '.join(decision.refused)}")
                    return decision
        raise NotAllowed(f"too many others decide about {name!r} at this moment: try again")

    def _keep(self, model: Model, decision: Decision) -> bool:
        decision.number, decision.at = model.last + 1, time()
        decision.by, decision.host, decision.previous = self.person, self.host, model.digest
        content = decisions.encode(decision)
        decisions.decode(content)  # what could not be read back is not kept: that raises ValueError
        is_kept = self.records.append(model.name, decision.number, content)
        if is_kept:
            take_in(model, decision.number, content)
        return is_kept

    def _read(self, name: str) -> Model:
        with self._lock:
            model = self._models.setdefault(name, Model(name))
            catch_up(model, self.records)
            return model


def catch_up(model: Model, records: Records) -> int:
    """Take in what was decided about a model since; returns how many decisions that were."""
    count = 0
    for count, (number, content) in enumerate(records.read(model.name, model.last), 1):  # noqa: B007 - is returned
        take_in(model, number, content)
    return count


def take_in(model: Model, number: int, content: bytes) -> None:
    """Add the next content to a model. What is wrong with it is the model's damage, and costs that decision alone."""
    try:
        decision = decisions.decode(content)
    except ValueError as error:
        model.lose(number, f"it can't be read: {error}" if content else "it can't be read")
    else:
        if number != model.last + 1:
            model.lose(model.last + 1, "it is missing")
        elif decision.previous != model.digest:
            why = "it is not what it was when the next decision was made" if model.last else "there was one before it"
            model.lose(max(number - 1, 1), why)
        if decision.number != number:
            model.damage[number] = f"it says that it is number {decision.number}"
        decision.number = number
        model.apply(decision)
    model.last, model.digest = number, decisions.digest(content)
