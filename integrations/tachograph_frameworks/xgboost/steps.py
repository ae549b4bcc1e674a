"""Trainings of a single round, each of which goes on from the model of the last one by ``xgb_model``.

They are steps of one run. The first and the last are on record in full, model included (see
:mod:`tachograph.hooks.last_of_many`).
"""

from __future__ import annotations

import weakref
from collections.abc import Callable
from typing import Any

from xgboost import Booster

from tachograph import guard
from tachograph.hooks import LastOfMany, Session, session
from tachograph.record.run import Run
from tachograph.runtime.quiet import quietly

_by_model: weakref.WeakKeyDictionary[Any, Rounds] = weakref.WeakKeyDictionary()  # by the model of the last round
_by_session: weakref.WeakKeyDictionary[Session, Rounds] = weakref.WeakKeyDictionary()


class Rounds:
    """Rounds of one model. ``next`` is the number of the next one, ``params`` are those of the last."""

    def __init__(self, run: Run) -> None:
        self.run, self.next, self.params = run, 0, ""
        self._jobs: dict[str, Callable[[], object]] = {}

    def later(self, what: str, job: Callable[[], object]) -> None:
        """Call ``job`` if no further round comes after this one."""
        self._jobs[what] = job
        LAST_OF_MANY.add(self)

    def record_last(self) -> None:
        """Record the last round in full."""
        LAST_OF_MANY.discard(self)
        jobs, self._jobs = self._jobs, {}
        for what, job in jobs.items():
            with guard.contained(f"xgboost: {what}", self.run), session.suppress(), quietly():
                job()


LAST_OF_MANY: LastOfMany[Rounds] = LastOfMany("xgboost", most=8)


def begin(start: Any, is_single: bool) -> Run | None:
    """The run that a training from the model ``start`` is a further step of; None if it is a training of its own."""
    steps = _of(start)
    if steps is None:
        return None
    if is_single and session.is_at(steps.run):
        return steps.run
    steps.record_last()
    return None


def go_on(start: Any, at: Session) -> Rounds:
    """The steps that the training in the session ``at`` belongs to: those it continues, or new ones that it begins."""
    assert at.run is not None
    steps = _of(start) if at.further else None
    if steps is None:
        return Rounds(at.run)
    del _by_model[_booster(start)]
    _by_session[at] = steps
    return steps


def within(at: Session) -> Rounds | None:
    """The steps that the training in the session ``at`` continues; None if it continues none."""
    return _by_session.get(at)


def done(model: Any, steps: Rounds) -> None:
    """A training of a single round has ended well, with ``model``, a booster or an estimator."""
    steps.next += 1
    booster = _booster(model)
    if booster is not None:
        _by_model[booster] = steps


def _of(model: Any) -> Rounds | None:
    """The rounds that ``model`` came out of."""
    booster = _booster(model)
    return None if booster is None else _by_model.get(booster)


def _booster(model: Any) -> Booster | None:
    """The booster that ``model`` is or has."""
    booster = model if isinstance(model, Booster) else getattr(model, "_Booster", None)
    return booster if isinstance(booster, Booster) else None
