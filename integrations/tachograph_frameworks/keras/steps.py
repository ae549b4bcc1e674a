"""Fits of a single epoch, one after the other: an agent's updates, or a loop over the epochs of the user's own.

They are steps of one run, as long as the model is compiled as it was and nobody sets its weights. Only the first is
described, and keeps the model at once; of the others the last one does, when the process ends, or the notebook's cell,
or the task of a pool's worker, or where another training of the model begins.
"""

from __future__ import annotations

import weakref
from typing import Any

from tachograph import guard
from tachograph.hooks import Call, Watcher, session
from tachograph.record.run import Run
from tachograph.runtime import notebooks
from tachograph_frameworks.keras import describe, models

LARGEST_HELD = 64 << 20  # bytes of a model that is held until it is kept; a larger one if the program still has it then
MOST_HELD = 8

_known: weakref.WeakKeyDictionary[Any, Steps] = weakref.WeakKeyDictionary()  # by the model
_unkept: list[Steps] = []  # whose model is a newer one than the run has, oldest first


class Steps:
    """Fits of one model. ``next`` is the number of the next epoch."""

    def __init__(self, model: Any, run: Run, next: int) -> None:
        self.run, self.next = run, next
        self._compiled = _compiled(model)
        self._model = weakref.ref(model)
        self._held: Any = None
        self._announced = False

    def go_on(self, model: Any) -> bool:
        """Whether a fit that begins now is one more of them."""
        return session.is_at(self.run) and _compiled(model) is self._compiled

    def fitted(self, model: Any) -> None:
        """A further fit has ended: the model is to be kept in the end."""
        if self._held is None and self not in _unkept:
            self._held = model if describe.bytes_of(model) <= LARGEST_HELD else self._model
            _unkept.append(self)
            self._announce()
            if len(_unkept) > MOST_HELD:
                _unkept[0].keep()

    def _announce(self) -> None:
        if not self._announced:
            self._announced = True
            if self.run.opener == "user":
                self.run.recorder.before_end(self.keep)
            else:
                notebooks.at_end(lambda error: self.keep())

    def keep(self) -> None:
        """Keep the model as it is now, if it is there."""
        if self not in _unkept:
            return
        _unkept.remove(self)
        model, self._held, self._announced = self._model(), None, False
        if model is not None:
            with guard.contained("keras: model", self.run):
                models.keep(self.run, model)


def begin(model: Any, is_single: bool) -> Run | None:
    """A fit begins: the run that it is a step of, or None where it begins something new."""
    steps = _known.get(model)
    if steps is None:
        return None
    if is_single and steps.go_on(model):
        return steps.run
    forget(model)
    return None


def of(model: Any) -> Steps | None:
    """The steps that a fit of ``model`` is one of."""
    return _known.get(model)


def remember(model: Any, run: Run, next: int) -> None:
    """A first fit of a single epoch has ended well."""
    _known[model] = Steps(model, run, next)


def forget(model: Any) -> None:
    """What is trained from now on is something else."""
    steps = _known.pop(model, None)
    if steps is not None:
        steps.keep()


def keep_all() -> None:
    """Keep what was not kept yet: nothing more is to come."""
    while _unkept:
        _unkept[0].keep()


def note_weights(call: Call) -> Watcher:
    """Watch weights being set: by the user, that begins another training."""
    if call.instance in _known and session.current() is None:
        forget(call.instance)
    yield


def _compiled(model: Any) -> Any:
    """An object that ``compile`` makes anew."""
    return getattr(model, "_compile_config", None)
