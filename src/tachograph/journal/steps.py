"""Counting steps for points that come without one: 0, 1, 2 ... for each name.

Names that are logged together, and only together, share one count: a *shape* is the tuple of their names, and its cell
holds the next step. Once a name turns up in a second shape, the names of both are counted one by one.
"""

from __future__ import annotations

from typing import TypeVar

T = TypeVar("T")

ONE_BY_ONE = -1


class StepCounts:
    """The counts of one run. ``cells`` has the shapes seen so far: names that are text, with something in it."""

    def __init__(self) -> None:
        self.cells: dict[tuple[str, ...], list[int]] = {}
        self._home: dict[str, tuple[str, ...]] = {}
        self._single: dict[str, int] = {}

    def admit(self, shape: tuple[str, ...]) -> list[int]:
        """The cell of ``shape``, made if it is new. ValueError for names that can't be recorded."""
        cell = self.cells.get(shape)
        if cell is not None:
            return cell
        if not all(type(name) is str and name for name in shape):
            raise ValueError("names must be text that is not empty")
        for name in shape:
            if name in self._home:
                self._split(self._home[name])
        cell = [ONE_BY_ONE if any(name in self._single for name in shape) else 0]
        for name in shape:
            self._home[name] = shape
            if cell[0] == ONE_BY_ONE:
                self._single.setdefault(name, 0)
        return self.cells.setdefault(shape, cell)  # a signal handler may have been faster

    def _split(self, shape: tuple[str, ...]) -> None:
        cell = self.cells[shape]
        if cell[0] != ONE_BY_ONE:
            self._single.update(dict.fromkeys(shape, cell[0]))
            cell[0] = ONE_BY_ONE

    def take(self, shape: tuple[str, ...]) -> dict[str, int]:
        """The step that each name is at; the next time it is at the one after."""
        cell = self.admit(shape)
        if cell[0] != ONE_BY_ONE:
            cell[0] += 1
            return dict.fromkeys(shape, cell[0] - 1)
        steps = {name: self._single[name] for name in shape}
        for name, step in steps.items():
            self._single[name] = step + 1
        return steps

    def by_step(self, points: dict[str, T], step: int | None) -> dict[int, dict[str, T]]:
        """Points in groups of equal step. Without a step each name goes on from where it is."""
        if not points:
            return {}
        if step is not None:
            self.admit(tuple(points))
            return {step: points}
        groups: dict[int, dict[str, T]] = {}
        for name, next_step in self.take(tuple(points)).items():
            groups.setdefault(next_step, {})[name] = points[name]
        return groups

    def take_one(self, shape: tuple[str, ...]) -> int:
        """:meth:`take` where all names are at the same step; ValueError, and nothing taken, where they are not."""
        single = self._single
        step = single[shape[0]]
        for name in shape:
            if single[name] != step:
                raise ValueError("the names are at different steps")
        for name in shape:
            single[name] = step + 1
        return step

    def next(self, name: str) -> int:
        """The step that ``name`` is at."""
        cell = self.cells.get(self._home.get(name, ()), [ONE_BY_ONE])
        return self._single.get(name, 0) if cell[0] == ONE_BY_ONE else cell[0]

    def resume(self, steps: dict[str, int]) -> None:
        """Continue an earlier recording: ``steps`` has each name's next step."""
        self._single.update(steps)
