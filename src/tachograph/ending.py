"""How a process ends, and what that means for the runs that are still open.

Nothing is installed but an ``atexit`` handler and, while a run is open, a note-taking ``sys.exit``. An uncaught
exception is read from where the interpreter leaves it (``sys.last_exc``), so the user's ``sys.excepthook`` stays as it is.
No signal handlers.
"""

from __future__ import annotations

import atexit
import os
import sys
import time
from typing import Any, NoReturn

from tachograph import active, guard, settings
from tachograph.background import background
from tachograph.events import Fault

_exit_call: tuple[Any, float] | None = None
_original_exit = sys.exit
CAUGHT_SECONDS = 1.0


def outcome(error: BaseException | None) -> str:
    """The status of a run whose code ended with ``error``."""
    if error is None or (isinstance(error, SystemExit) and error.code in (None, 0)):
        return "finished"
    return "interrupted" if isinstance(error, KeyboardInterrupt) else "failed"


def describe(error: BaseException | str | None) -> Fault | None:
    """An exception as it is recorded. Frames of ours are left out of the traceback."""
    if error is None or isinstance(error, str):
        return Fault("Error", error) if error else None
    if isinstance(error, SystemExit):
        return Fault("SystemExit", str(error.code)) if error.code not in (None, 0) else None
    import traceback

    from tachograph.capture.secrets import redact_text

    summary = traceback.TracebackException.from_exception(error, limit=-50, compact=True)
    summary.stack = traceback.StackSummary.from_list(
        [frame for frame in summary.stack if not guard.is_ours(frame.filename)]
    )
    text = "".join(summary.format())
    return Fault(type(error).__qualname__, redact_text(_message(error)), redact_text(text[-20_000:]))


def _message(error: BaseException) -> str:
    try:
        return str(error)[:2000]
    except guard.FAULTS:  # the user's own __str__
        return ""


def watch() -> None:
    """Take note of ``sys.exit`` from now on."""
    if sys.exit is not _noting_exit:
        global _original_exit
        _original_exit = sys.exit
        sys.exit = _noting_exit


def unwatch() -> None:
    """Put the original ``sys.exit`` back, unless somebody has replaced it since."""
    if sys.exit is _noting_exit:
        sys.exit = _original_exit


def _noting_exit(status: Any = None, /) -> NoReturn:
    global _exit_call
    _exit_call = (status, time.monotonic())
    _original_exit(status)


def _how() -> BaseException | None:
    """What ended this process: an uncaught exception, an exit with a code, or (None) nothing special."""
    if _exit_call is not None and time.monotonic() - _exit_call[1] < CAUGHT_SECONDS:
        return SystemExit(_exit_call[0])  # an older one was caught: the program went on
    if hasattr(sys, "ps1"):  # interactive: an exception ends a line there, not the process
        return None
    error: BaseException | None = getattr(sys, "last_exc", None) or getattr(sys, "last_value", None)
    return error


def end_process() -> None:
    """End what is still open, the innermost run first, and wait (a bounded time) for what the background has to do."""
    with guard.contained("exit"):
        error = _how()
        for run in reversed(active.open_runs()):
            run.finish(outcome(error), error)
        unwatch()
        background.drain(settings.seconds("exit_wait", 5.0))


atexit.register(end_process)


def end_child() -> None:
    """Children of ``multiprocessing`` leave without ``atexit``: their runs are ended by its own finalizers."""
    from multiprocessing import process, util

    if process.parent_process() is not None:
        util.Finalize(None, end_process, exitpriority=100)


def forked() -> None:
    """A forked child has not been asked to exit, whatever its parent was."""
    global _exit_call
    _exit_call = None


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=forked)
