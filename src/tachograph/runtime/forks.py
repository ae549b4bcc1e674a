"""What happens where a process forks: before it in the parent, and after it in the child.

Threads don't come along into a forked child, but what they had half done does: a module that one of ours was importing
would stay half there, for the user's code too (``partially initialized module 'subprocess' has no attribute 'Popen'``).
Python guards against this only where the thread that forks is the one that imports. So a fork waits until none of our
threads is in the middle of an import.

In the child everything begins anew that is the parent's to do, from the thread in the background up to the plug-ins,
in the order of ``SLOTS``.
"""

from __future__ import annotations

import os
import sys
import threading
import time
from collections.abc import Callable
from types import FrameType

from tachograph import guard
from tachograph.runtime import stack_frames

SLOTS = (
    "background",
    "deferred",
    "open runs",
    "end of the process",
    "device values",
    "console",
    "environment",
    "load",
    "ranks",
    "shipper",
    "plug-ins",
)
LONGEST = 2.0  # seconds: an import may itself wait for what the forking thread holds
_IMPORT_SYSTEM = "<frozen importlib._bootstrap>"

_resets: dict[str, list[Callable[[], object]]] = {slot: [] for slot in SLOTS}


def in_child(slot: str, reset: Callable[[], object]) -> None:
    """Call ``reset`` in each forked child, after those of earlier ``SLOTS``. Raises KeyError for an unknown slot."""
    _resets[slot].append(reset)


def before() -> None:
    """Wait until none of our threads is importing, at most ``LONGEST`` seconds."""
    until = time.monotonic() + LONGEST
    while _any_imports() and time.monotonic() < until:
        time.sleep(0.0005)


def _any_imports() -> bool:
    ours = [thread.ident for thread in threading.enumerate() if thread.name.startswith("tachograph")]
    if not ours:
        return False
    frames = sys._current_frames()
    try:
        return any(_imports(frames.get(ident or 0)) for ident in ours if ident != threading.get_ident())
    finally:
        frames.clear()  # it refers to this very frame, which refers to it: all callers' variables would stay alive


def _imports(frame: FrameType | None) -> bool:
    return any(caller.f_code.co_filename == _IMPORT_SYSTEM for caller in stack_frames.outward(frame))


def _in_child() -> None:
    for slot in SLOTS:
        for reset in _resets[slot]:
            with guard.contained(f"fork: {slot}"):
                reset()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(before=before, after_in_child=_in_child)
