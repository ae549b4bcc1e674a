"""Jobs that record something beside a training or once it has returned, so that it does not wait for them.

They are done in the background, some time later. Those of a run are done by the end of its training call at the latest,
all of them before this process reads the store, and before it ends.
"""

from __future__ import annotations

import threading

from tachograph import guard
from tachograph.runtime import forks
from tachograph.runtime.background import Job, background

SOON = 0.02  # seconds: a call that is about to begin, or to return, has the interpreter to itself

_pending: list[tuple[object, Job]] = []  # each with its owner
_lock = threading.RLock()  # whoever holds it waits for nothing but the disk


def record(job: Job, owner: object = None, seconds: float = SOON) -> None:
    """Do ``job`` after so many ``seconds``, or with :func:`do_now` of ``owner`` (a run, as a rule) before that."""
    _pending.append((owner, job))
    background.later(do_now, seconds)


def count(owner: object) -> int:
    """How many jobs are pending for an owner."""
    return sum(other is owner for other, _ in _pending.copy())


def do_now(owner: object = None) -> None:
    """Do now what is pending for one owner, or for all; wait for what another thread is doing of it."""
    with _lock:
        while (entry := _take_next(owner)) is not None:
            with guard.contained("after"):
                entry[1]()


def _take_next(owner: object) -> tuple[object, Job] | None:
    """The next entry, taken off the list. A signal handler may come, and take some as well."""
    for entry in _pending.copy():
        if owner is None or entry[0] is owner:
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
