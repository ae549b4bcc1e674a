"""Notebooks: a run that was opened for a loop ends with the loop's cell, not with the kernel."""

from __future__ import annotations

import sys
from typing import Any

from tachograph import ending, guard
from tachograph.run import Run


def end_with_cell(run: Run) -> None:
    """In a notebook or an IPython shell, end ``run`` when the cell that runs now is done."""
    ipython = sys.modules.get("IPython")
    shell = ipython.get_ipython() if ipython is not None else None
    if shell is None:
        return

    def done(result: Any) -> None:
        shell.events.unregister("post_run_cell", done)
        error = result.error_before_exec or result.error_in_exec
        with guard.contained("end of a cell", run):
            run.finish(ending.outcome(error), error)

    shell.events.register("post_run_cell", done)
