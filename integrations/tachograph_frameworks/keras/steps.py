"""Fits of a single epoch, one after the other: an agent's updates, or a loop over the epochs of the user's own.

They are steps of one run, as long as the model is compiled as it was and nobody sets its weights. The first is
described, and it and the last keep the model (see :mod:`tachograph.hooks.last_of_many`).
"""

from __future__ import annotations

import weakref
from typing import Any

from tachograph import guard
from tachograph.hooks import Call, LastOfMany, Watcher, session
from tachograph.record.run import Run
from tachograph_frameworks.keras import settings
from tachograph_frameworks.keras.model import keep_model

LARGEST_HELD = 64 << 20  # bytes of a model that is held until it is kept; a larger one if the program still has it then

_steps_of: weakref.WeakKeyDictionary[Any, Fits] = weakref.WeakKeyDictionary()  # by the model


class Fits:
    """Fits of one model. ``next`` is the number of the next epoch."""

    def __init__(self, model: Any, run: Run, next: int) -> None:
        self.run, self.next = run, next
        self._compiled = _compiled(model)
        self._model = weakref.ref(model)
        self._held_model: Any = None

    def go_on(self, model: Any) -> bool:
        """Whether a fit that begins now is one more of them."""
        return session.is_at(self.run) and _compiled(model) is self._compiled

    def fitted(self, model: Any) -> None:
        """Note that a further fit has ended: the model is to be kept in the end."""
        if self not in LAST_OF_MANY:
            self._held_model = model if settings.bytes_of(model) <= LARGEST_HELD else self._model
            LAST_OF_MANY.add(self)

    def record_last(self) -> None:
        """Keep the model as it is now, if it is there."""
        if self not in LAST_OF_MANY:
            return
        LAST_OF_MANY.discard(self)
        model, self._held_model = self._model(), None
        if model is not None:
            with guard.contained("keras: model", self.run):
                keep_model(self.run, model)


LAST_OF_MANY: LastOfMany[Fits] = LastOfMany("keras", most=8)


def begin(model: Any, is_single: bool) -> Run | None:
    """A fit begins: the run that it is a step of, or None where it begins something new."""
    steps = _steps_of.get(model)
    if steps is None:
        return None
    if is_single and steps.go_on(model):
        return steps.run
    forget(model)
    return None


def of(model: Any) -> Fits | None:
    """The steps that a fit of ``model`` is one of."""
    return _steps_of.get(model)


def remember(model: Any, run: Run, next: int) -> None:
    """Remember that a first fit of a single epoch has ended well: the next ones may be steps of its run."""
    _steps_of[model] = Fits(model, run, next)


def forget(model: Any) -> None:
    """Forget the steps of ``model``: what is trained from now on is something else."""
    steps = _steps_of.pop(model, None)
    if steps is not None:
        steps.record_last()


def note_weights(call: Call) -> Watcher:
    """Watch weights being set: by the user, that begins another training."""
    if call.instance in _steps_of and session.current() is None:
        forget(call.instance)
    yield


def _compiled(model: Any) -> Any:
    """An object that ``compile`` makes anew."""
    return getattr(model, "_compile_config", None)
