"""What is recorded once a training call has returned: in the background, but before this process reads the store."""

from __future__ import annotations

import os
import threading
from collections import deque

from tachograph import guard
from tachograph.background import Job, background

SOON = 0.02  # seconds: the call that is about to return has the interpreter to itself

_left: deque[Job] = deque()
_doing = threading.RLock()  # who has it waits for the disk alone


def record(job: Job) -> None:
    """Do ``job`` soon."""
    _left.append(job)
    background.later(settle, SOON)


def settle() -> None:
    """Do what is left now, and wait for what another thread is doing of it."""
    with _doing:
        while _left:
            with guard.contained("after"):
                _left.popleft()()


def _forked() -> None:
    global _doing
    _left.clear()  # the parent does that
    _doing = threading.RLock()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forked)
