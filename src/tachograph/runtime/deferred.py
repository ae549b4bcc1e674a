"""What is recorded beside a training or once it has returned, so that the training does not wait for it.

It is done in the background. What belongs to a run that goes on is done by the end of its training call at the latest;
all of it before this process reads the store, and before it ends.
"""

from __future__ import annotations

import threading

from tachograph import guard
from tachograph.runtime import forks
from tachograph.runtime.background import Job, background

SOON = 0.02  # seconds: a call that is about to begin, or to return, has the interpreter to itself

_left: list[tuple[object, Job]] = []  # and of which run
_doing = threading.RLock()  # who has it waits for the disk alone


def record(job: Job, run: object = None, seconds: float = SOON) -> None:
    """Do ``job`` after so many ``seconds``, or before :func:`settle` of ``run`` if that comes first."""
    _left.append((run, job))
    background.later(settle, seconds)


def settle(run: object = None) -> None:
    """Do what is left, of one run or of all, now; wait for what another thread is doing of it."""
    with _doing:
        while (entry := _take(run)) is not None:
            with guard.contained("after"):
                entry[1]()


def _take(run: object) -> tuple[object, Job] | None:
    """The next entry, taken off the list. A signal handler may come, and take some as well."""
    for entry in _left.copy():
        if run is None or entry[0] is run:
            try:
                _left.remove(entry)
            except ValueError:
                continue
            return entry
    return None


def _forked() -> None:
    global _doing
    _left.clear()  # the parent does that
    _doing = threading.RLock()


forks.in_child("deferred", _forked)
