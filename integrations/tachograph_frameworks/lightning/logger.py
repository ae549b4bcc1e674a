"""The logger, for trainers of Lightning and for Fabric."""

from __future__ import annotations

import sys
import weakref
from argparse import Namespace
from collections.abc import Mapping
from contextvars import ContextVar
from typing import Any

from tachograph import guard, settings
from tachograph.hooks import options
from tachograph.record import active_run, checkpoints, outcome
from tachograph.record.run import Run
from tachograph.record.start import OffRun, open_run
from tachograph_frameworks.lightning import packages

NAME = "lightning"

_opened: weakref.WeakSet[Run] = weakref.WeakSet()
handing: ContextVar[bool] = ContextVar("tachograph_lightning_handing", default=False)


class TachographLogger:
    """Records what Lightning logs: ``Trainer(logger=TachographLogger())`` or ``Fabric(loggers=TachographLogger())``.

    It writes to the run that is open; with none open it opens one, named ``name``, and ends it with the training, or
    with the process. ``save_dir`` is where Lightning puts checkpoints of its own accord; None leaves that to the
    trainer's ``default_root_dir``.
    """

    def __init__(self, name: str | None = None, save_dir: str | None = None) -> None:
        self._run_name, self._save_dir = name, save_dir
        self._run: Run | None = None
        self._ends_it = self._follows = False

    # -- what it is called --

    @property
    def experiment(self) -> Run:
        """The run, to record anything else in."""
        if self._run is None:
            self._run = self._open()
        return self._run

    @property
    def name(self) -> str | None:
        """The run's experiment."""
        return self.experiment.experiment

    @property
    def version(self) -> str:
        """The run's id."""
        return self.experiment.id

    @property
    def save_dir(self) -> str | None:
        """Where Lightning puts checkpoints."""
        return self._save_dir

    @property
    def root_dir(self) -> str | None:
        """The folder of the recordings of the run's whole store."""
        return None if self.experiment.dir is None else str(self.experiment.root)

    @property
    def log_dir(self) -> str | None:
        """The run's own folder. It is not to be written to."""
        return None if self.experiment.dir is None else str(self.experiment.dir)

    @property
    def group_separator(self) -> str:
        """What stands between the parts of a name."""
        return "/"

    # -- what it is given --

    @guard.shield
    def log_metrics(self, metrics: Mapping[str, float], step: int | None = None) -> None:
        """Record points, unless they were recorded on their way here."""
        if not handing.get() and self._records():
            self.experiment.log(metrics, step)

    @guard.shield
    def log_hyperparams(self, params: Mapping[str, Any] | Namespace | None = None, *args: Any, **kwargs: Any) -> None:
        """Record parameters."""
        values = vars(params) if isinstance(params, Namespace) else params
        if values is not None and self._records():
            self.experiment.log_params(values)

    def log_graph(self, model: Any, input_array: Any = None) -> None:
        """Nothing: a graph is drawn by running the model."""

    @guard.shield
    def after_save_checkpoint(self, checkpoint_callback: Any) -> None:
        """Keep the checkpoint that was just saved, unless a trainer that is recorded has seen to it."""
        path = getattr(checkpoint_callback, "_last_checkpoint_saved", "") or checkpoint_callback.best_model_path
        if path and not self._follows and self._records():
            is_best = None if checkpoint_callback.monitor is None else path == checkpoint_callback.best_model_path
            checkpoints.keep(self.experiment, path, is_best=is_best)

    def save(self) -> None:
        """Nothing: what was recorded is on disk."""

    @guard.shield
    def finalize(self, status: str) -> None:
        """The training has ended, with "success" or "failed"."""
        if self._ends_it:
            error = sys.exc_info()[1]
            unknown = status != "success" and error is None
            self.experiment.finish("failed" if unknown else outcome.status(error), error)

    # -- whose run it is --

    def follow(self, run: Run) -> None:
        """Write to this run from now on: it is the one of a training that is recorded."""
        self._follows = True
        if run is self._run:
            return
        if self._ends_it:
            self.experiment.finish()
        self._run, self._ends_it = run, False

    def _open(self) -> Run:
        if settings.off():
            return OffRun()
        outer = active_run.find_for_training()
        parent = None if outer in _opened else outer
        if parent is not None and (parent.opener in ("user", NAME, "torch") or parent.role == "worker"):
            return parent
        # Who names a logger has opened a run, as with start_run: what is trained meanwhile adds to it.
        run = open_run(self._run_name or NAME, options.experiment, parent=parent, sinks=options.sinks)
        self._ends_it = True
        _opened.add(run)
        return run

    def _records(self) -> bool:
        """Whether this is the first of the processes of a job, which records for all."""
        from lightning_utilities.core.rank_zero import rank_zero_only

        run = self.experiment
        return bool(run.id) and run.rank == 0 and getattr(rank_zero_only, "rank", 0) in (0, None)

    def __getstate__(self) -> dict[str, Any]:
        """A copy in another process writes to the same run, and does not end it."""
        return {**vars(self), "_ends_it": False}


def _adopt(package: packages.Package) -> None:
    package.find("loggers", "Logger").register(TachographLogger)


packages.when_imported(_adopt)
