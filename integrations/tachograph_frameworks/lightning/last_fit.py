"""The last ``fit`` of each trainer: what is evaluated after it belongs to the same run."""

from __future__ import annotations

import weakref
from typing import Any, NamedTuple

from tachograph.hooks import Session
from tachograph.record import active_run
from tachograph.record.run import Run

_fits: weakref.WeakKeyDictionary[Any, Fit] = weakref.WeakKeyDictionary()


class Fit(NamedTuple):
    """A ``fit`` that has begun. ``ours`` says that its run was opened for it, and that the fit was not stopped."""

    module: weakref.ref[Any]
    run: Run
    ours: bool

    def reopen(self) -> bool:
        """Reopen its run, if that is ours to end again. Any other run takes what is recorded after its end as well."""
        return self.ours and self.run.reopen()


def remember(trainer: Any, module: Any, session: Session) -> None:
    """Remember that ``trainer`` begins to train ``module``. Called in every process of a job."""
    run = (
        session.owned or session.run or active_run.find_for_training()
    )  # the user's, in a process that leaves it to the first one
    if run is not None:
        _fits[trainer] = Fit(weakref.ref(module), run, session.owned is not None)


def failed(trainer: Any) -> None:
    """The last ``fit`` of ``trainer`` was stopped: its run has ended for good."""
    if trainer in _fits:
        _fits[trainer] = _fits[trainer]._replace(ours=False)


def last(trainer: Any, module: Any) -> Fit | None:
    """The last ``fit`` of ``trainer``, if it was of ``module`` (or none is named), and its run is not open."""
    fit = _fits.get(trainer)
    if fit is None or not fit.run.ended or (module is not None and fit.module() is not module):
        return None
    return fit


def title(module: Any) -> str:
    """What a run is called: the class of the module that the user wrote."""
    return type(unwrapped(module)).__name__


def unwrapped(module: Any) -> Any:
    """The module inside of what ``torch.compile`` makes of it."""
    return getattr(module, "_orig_mod", module)


def is_tuning(trainer: Any) -> bool:
    """Whether Lightning's tuner calls it, which trains for a moment to find a learning rate or a batch size."""
    return any(getattr(callback, "_early_exit", False) for callback in trainer.callbacks)
