"""A fork waits until none of our threads is in the middle of an import.

Threads don't come along into a forked child, but what they had half done does: a module that one of ours was importing
would stay half there, for the user's code too (``partially initialized module 'subprocess' has no attribute 'Popen'``).
Python guards against this only where the thread that forks is the one that imports.
"""

from __future__ import annotations

import sys
import threading
import time
from types import FrameType

LONGEST = 2.0  # seconds: an import may itself wait for what the forking thread holds
_IMPORT_SYSTEM = "<frozen importlib._bootstrap>"


def before() -> None:
    """Wait for the imports of our threads, at most ``LONGEST`` seconds."""
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
        frames.clear()  # it has this very frame, which has it: all callers' variables would stay alive


def _imports(frame: FrameType | None) -> bool:
    while frame is not None:
        if frame.f_code.co_filename == _IMPORT_SYSTEM:
            return True
        frame = frame.f_back
    return False
