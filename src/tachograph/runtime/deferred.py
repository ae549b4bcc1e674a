"""Jobs that record something beside a training or once it has returned, so that it does not wait for them.

They are done in the background. Those of a run that goes on are done by the end of its training call at the latest; all
of them before this process reads the store, and before it ends.
"""

from __future__ import annotations

import threading

from tachograph import guard
from tachograph.runtime import forks
from tachograph.runtime.background import Job, background

SOON = 0.02  # seconds: a call that is about to begin, or to return, has the interpreter to itself

_pending: list[tuple[object, Job]] = []  # each with the run that it belongs to
_lock = threading.RLock()  # whoever holds it waits for nothing but the disk


def record(job: Job, run: object = None, seconds: float = SOON) -> None:
    """Do ``job`` after so many ``seconds``, or before :func:`settle` of ``run`` if that comes first."""
    _pending.append((run, job))
    background.later(settle, seconds)


def settle(run: object = None) -> None:
    """Do now what is pending for one run, or for all; wait for what another thread is doing of it."""
    with _lock:
        while (entry := _take_next(run)) is not None:
            with guard.contained("after"):
                entry[1]()


def _take_next(run: object) -> tuple[object, Job] | None:
    """The next entry, taken off the list. A signal handler may come, and take some as well."""
    for entry in _pending.copy():
        if run is None or entry[0] is run:
            try:
                _pending.remove(entry)
            except ValueError:
                continue
            return entry
    return None


def _forked() -> None:
    global _lock
    _pending.clear()  # the parent does these jobs
    _lock = threading.RLock()


forks.in_child("deferred", _forked)
