"""Notebooks and IPython's shell: what belongs to a cell ends with it, not with the kernel."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any

from tachograph import guard


def at_end(job: Callable[[BaseException | None], object]) -> None:
    """Call ``job`` when the cell that runs now is done, with what it raised; never where there are no cells."""
    ipython = sys.modules.get("IPython")
    shell = ipython.get_ipython() if ipython is not None else None
    if shell is None:
        return
    before = _shown()

    def done(result: Any) -> None:
        shell.events.unregister("post_run_cell", done)
        error = result.error_before_exec or result.error_in_exec
        if error is None and _shown() is not before:
            error = _shown()  # ``%run`` shows what its script raised, and goes on
        with guard.contained("end of a cell"):
            job(error)

    shell.events.register("post_run_cell", done)


def _shown() -> BaseException | None:
    """The last exception whose traceback was shown."""
    error: BaseException | None = getattr(sys, "last_value", None)
    return error
