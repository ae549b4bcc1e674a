"""Notebooks and IPython's shell: which cell runs, and when it ends. What belongs to a cell ends with it."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from pathlib import PurePath
from typing import Any

from tachograph import guard


def at_end(job: Callable[[BaseException | None], object]) -> None:
    """Call ``job`` when the cell that runs now is done, with what it raised; never where there are no cells."""
    shell = _shell()
    if shell is None:
        return
    before = _last_shown_error()

    def done(result: Any) -> None:
        shell.events.unregister("post_run_cell", done)
        error = result.error_before_exec or result.error_in_exec
        if error is None and _last_shown_error() is not before:
            error = _last_shown_error()  # ``%run`` shows what its script raised, and goes on
        with guard.contained("end of a cell"):
            job(error)

    shell.events.register("post_run_cell", done)


def current() -> int | None:
    """The number of the cell that runs now, or None where there are no cells."""
    shell = _shell()
    return None if shell is None else shell.execution_count


def runs_script() -> bool:
    """Whether a cell runs a script, with ``%run``: that is the main module then."""
    shell = _shell()
    return shell is not None and sys.modules.get("__main__") is not shell.user_module


def is_own_code() -> bool:
    """Whether what runs stands in a cell."""
    return _shell() is not None and not runs_script()


def notebook() -> str | None:
    """The name of the notebook whose cell runs, "notebook" where the front end doesn't say; None outside of
    notebooks."""
    shell = _shell()
    if not is_own_code() or not hasattr(shell, "kernel"):
        return None
    path = shell.user_ns.get("__vsc_ipynb_file__") or os.environ.get("JPY_SESSION_NAME") or ""
    return PurePath(str(path)).stem or "notebook"


def _shell() -> Any:
    """IPython's shell, or None."""
    ipython = sys.modules.get("IPython")
    return ipython.get_ipython() if ipython is not None else None


def _last_shown_error() -> BaseException | None:
    """The last exception whose traceback was shown."""
    error: BaseException | None = getattr(sys, "last_value", None)
    return error
