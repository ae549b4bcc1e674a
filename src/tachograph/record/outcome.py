"""How a run ended: its status, and the exception as it is recorded."""

from __future__ import annotations

from tachograph import guard
from tachograph.events import Fault

MESSAGE = 2000  # characters that are recorded of what an exception says
TRACEBACK = 20_000


def status(error: BaseException | None) -> str:
    """The status of a run whose code ended with ``error``."""
    if error is None or (isinstance(error, SystemExit) and error.code in (None, 0)):
        return "finished"
    return "interrupted" if isinstance(error, KeyboardInterrupt) else "failed"


def describe(error: BaseException | str | None) -> Fault | None:
    """An exception as it is recorded. Frames of ours are left out of the traceback."""
    if not isinstance(error, BaseException):
        text = "" if error is None else guard.shown(error)
        return Fault("Error", _beginning(text)) if text else None
    if isinstance(error, SystemExit):
        return Fault("SystemExit", _beginning(guard.shown(error))) if error.code not in (None, 0) else None
    import traceback

    trace = guard.without_ours(error.__traceback__)
    summary = traceback.TracebackException(type(error), error, trace, limit=-50, compact=True)
    return Fault(type(error).__qualname__, _beginning(guard.shown(error)), _end("".join(summary.format())))


# Secrets are removed from more text than is recorded: one that was cut could not be recognized.


def _beginning(text: str) -> str:
    return _recorded(text[: 2 * MESSAGE])[:MESSAGE]


def _end(text: str) -> str:
    return _recorded(text[-2 * TRACEBACK :])[-TRACEBACK:]


def _recorded(text: str) -> str:
    """Text as it may be recorded: without secrets, and in characters that can be written as UTF-8."""
    from tachograph.redaction import redact_text

    return redact_text(text.encode("utf-8", "replace").decode())
