"""Points of a plain loop, written to the run that they belong to."""

from __future__ import annotations

from time import time
from typing import Any

from tachograph.events import Metrics
from tachograph.record import device_values
from tachograph.record.run import Run

HELD_SECONDS = 1.0  # that a first step waits for what the user may log of it


class PointWriter:
    """Writes the points that were heard to ``run``. Names that the user logs are the user's, and left out.

    ``holds_first_step``: it is not known yet what the user logs, so the first step waits for the second one.
    ``ready`` are the events that :meth:`send` appends.
    """

    def __init__(self, run: Run, holds_first_step: bool) -> None:
        self._run = run
        self.ready: list[Metrics] = []
        self.users_names: set[str] = set()
        self._held: list[tuple[dict[str, Any], int, float]] | None = [] if holds_first_step else None

    @property
    def writes_all(self) -> bool:
        """Whether nothing is held back or left out."""
        return self._held is None and not self.users_names

    @property
    def is_holding(self) -> bool:
        """Whether the first step is held back, or is to be."""
        return self._held is not None

    @property
    def held_steps(self) -> list[int]:
        """The numbers of the steps that are held back."""
        return [step for _, step, _ in self._held or ()]

    @property
    def is_held_too_long(self) -> bool:
        """Whether the first step has waited for long enough."""
        held = self._held
        return held is not None and len(held) > 0 and time() - held[0][2] > HELD_SECONDS

    def write(self, values: dict[str, Any], step: int, at: float = 0.0) -> None:
        """Make events of the points of a step, or hold them back."""
        if self._held is not None:
            self._held.append((values, step, at))
            if step == self._held[0][1]:
                return
            self.release()
            return
        if self.users_names:
            values = {name: value for name, value in values.items() if name not in self.users_names}
        self._put(values, step, at)

    def release(self) -> None:
        """Hold nothing back from now on."""
        held, self._held = self._held or [], None
        for values, step, at in held:
            self.write(values, step, at)

    def send(self) -> None:
        """Append the events that are ready."""
        ready, self.ready = self.ready, []
        if ready:
            self._run.recorder.append(*ready)

    def forked(self) -> None:
        """In a forked child: what waits is the parent's."""
        self.ready = []
        if self._held is not None:
            self._held = []

    def _put(self, values: dict[str, Any], step: int, at: float) -> None:
        if not _is_plain(values):
            self._put_unusual(values, step, at)
        elif values:
            self.ready.append(Metrics(0, 0, at, step, values))

    def _put_unusual(self, values: dict[str, Any], step: int, at: float) -> None:
        """What is on its way from a device, or isn't finite."""
        copies = {name: value for name, value in values.items() if hasattr(value, "ready")}
        rest = {name: value for name, value in values.items() if name not in copies and value is not None}
        if copies and _is_plain(rest):
            device_values.waiting.add(self._run, step, copies, Metrics(0, 0, at, step, rest))
            return
        self.send()
        rest, more, unread = device_values.start(rest)
        self._run.recorder.complain(unread)
        if copies or more:
            device_values.waiting.add(self._run, step, copies | more)
        if rest:
            self._run.recorder.log(rest, step)


def _is_plain(values: dict[str, Any]) -> bool:
    """Whether all are finite floats."""
    for value in values.values():  # noqa: SIM110  (a generator takes twice as long)
        if type(value) is not float or value - value != 0.0:
            return False
    return True
