"""What a thread has heard since the last step, and what the coming one is to have."""

from __future__ import annotations

from typing import Any

from tachograph_frameworks.torch.data_loaders import Reading
from tachograph_frameworks.torch.user_variables import Calls, are_related

_MOST_CALLS = 256  # that wait for a step of their own
_MOST_READINGS = 20  # data loaders that may be trained on by the coming step


class Waiting:
    """What waits for a step: ``losses`` by name, one number for each pass; which of them are ``shares`` of a step's;
    ``norms`` of gradients by variable; other ``extras`` by name; and ``readings`` of data loaders that have begun."""

    def __init__(self) -> None:
        self.losses: dict[str, list[Any]] = {}
        self.shares: set[str] = set()
        self.norms: dict[str, Any] = {}
        self.extras: dict[str, Any] = {}
        self.readings: list[Reading] = []

    @property
    def has_values(self) -> bool:
        """Whether it has what the hot path knows nothing of."""
        return bool(self.losses or self.norms or self.extras)

    def add_reading(self, reading: Reading) -> None:
        """Add a data loader that may be trained on."""
        self.readings = [*self.readings[1 - _MOST_READINGS :], reading]

    def take(self, other: Waiting) -> None:
        """Take what another one has to this."""
        for name, parts in other.losses.items():
            self.losses.setdefault(name, []).extend(parts)
        self.shares |= other.shares
        self.norms.update(other.norms)
        self.extras.update(other.extras)
        self.readings += other.readings


class WaitingByCalls:
    """What waits for a step, apart for each generator or coroutine: of two that run in turn, each steps with its own.

    A step takes what was heard in the calls it is made in, in those that had called these, and in those that these
    have called.
    """

    def __init__(self) -> None:
        self._all: dict[Calls, Waiting] = {}

    def at(self, calls: Calls) -> Waiting:
        """What waits in some calls, to be added to."""
        if calls not in self._all and len(self._all) >= _MOST_CALLS:
            calls = ()
        return self._all.setdefault(calls, Waiting())

    def take(self, calls: Calls) -> Waiting:
        """Take out what a step has that is made in some calls."""
        taken = Waiting()
        for others in [others for others in self._all if are_related(others, calls)]:
            taken.take(self._all.pop(others))
        return taken

    def take_over(self, other: WaitingByCalls) -> None:
        """Take everything out of another one into this."""
        for calls, waiting in other._all.items():
            self.at(calls).take(waiting)
        other._all.clear()

    def take_readings(self, calls: Calls) -> list[Reading]:
        """Take out only the data loaders that such a step may train on."""
        taken: list[Reading] = []
        for waiting in self.related(calls):
            taken += waiting.readings
            waiting.readings = []
        return taken

    def values(self) -> list[Waiting]:
        """All that waits."""
        return list(self._all.values())

    def related(self, calls: Calls) -> list[Waiting]:
        """What waits for a step that is made in some calls."""
        return [waiting for others, waiting in self._all.items() if are_related(others, calls)]
