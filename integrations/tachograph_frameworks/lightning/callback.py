"""``TachographCallback``, for those who name it instead of calling autolog."""

from __future__ import annotations

from typing import Any

from tachograph import guard, settings
from tachograph.hooks import Trainings, session
from tachograph.record import outcome
from tachograph.runtime.quiet import quietly
from tachograph_frameworks.lightning import last_fit, packages, recording
from tachograph_frameworks.lightning.logger import NAME
from tachograph_frameworks.lightning.settings import conclude

# A trainer tells its callbacks of exceptions too, so no run is left open.
_TRAININGS: Trainings[Any] = Trainings(NAME, lambda trainer, recorded: True)


class _CallbackMethods:
    """The methods of the callback that a trainer calls."""

    @guard.shield
    @quietly()
    def setup(self, trainer: Any, pl_module: Any, stage: str) -> None:
        """``fit``, ``validate``, ``test`` or ``predict`` begins."""
        outer = session.current()
        recorded = recording.begun(trainer) is not None or (outer is not None and outer.plugin == NAME)
        if not recorded and not last_fit.is_tuning(trainer):
            _begin(trainer, pl_module, stage)

    @guard.shield
    @quietly()
    def teardown(self, trainer: Any, pl_module: Any, stage: str) -> None:
        """``fit``, ``validate``, ``test`` or ``predict`` has ended."""
        _end(trainer, None)

    @guard.shield
    @quietly()
    def on_exception(self, trainer: Any, pl_module: Any, exception: BaseException) -> None:
        """An exception has ended it."""
        _end(trainer, exception)

    def __getstate__(self) -> dict[str, Any]:
        """Without the methods of the module in training that Lightning lends to each callback."""
        return {name: value for name, value in vars(self).items() if name not in ("log", "log_dict")}


class TachographCallback(_CallbackMethods):
    """Records trainings: ``Trainer(callbacks=[TachographCallback()])``, of either of Lightning's packages.

    With no run open it opens one for each ``fit`` and ends it. Where autolog records the training it stands aside.
    """


def _begin(trainer: Any, module: Any, stage: str) -> None:
    fit = None if stage == "fit" or session.current() is not None else last_fit.last(trainer, module)
    if fit is not None and not settings.off():
        reopened = fit.reopen()
        run = fit.run

        def finish(error: BaseException | None) -> None:
            if reopened:
                run.finish(outcome.status(error), error)

        recording.begin(trainer, run if run.rank == 0 else None, finish, described=True)
    elif stage != "predict" and (curve := _TRAININGS.claim(last_fit.title(module))) is not None:
        recording.begin(trainer, curve.run, curve.end)
        if stage == "fit" and curve.is_own:
            last_fit.remember(trainer, module, curve.session)


def _end(trainer: Any, error: BaseException | None) -> None:
    begun = recording.begun(trainer)
    if begun is None or begun.finish is None:
        return
    recording.end(trainer)
    try:
        if error is not None:
            last_fit.failed(trainer)
        if begun.run is not None:
            conclude(begun, trainer, error)
    finally:
        begun.finish(error)


def _adopt(package: packages.Package) -> None:
    """Make the callback one of this package too. Each package has a class of its own; neither is imported for it."""
    TachographCallback.__bases__ = (*TachographCallback.__bases__, package.find("callbacks", "Callback"))


packages.when_imported(_adopt)
