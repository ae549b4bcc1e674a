"""Waking a thread that sleeps, from anywhere: also from a signal handler, at whatever instruction it comes."""

from __future__ import annotations

import threading


class Wake:
    """One thread sleeps by :meth:`wait` until any other calls :meth:`wake`, also where that came first.

    Unlike with the events and conditions of ``threading``, to wake takes no lock: a handler that does it in the middle
    of another waking, or while another thread holds whatever it likes, has nothing to wait for.
    """

    def __init__(self) -> None:
        self._asleep = threading.Lock()
        self._asleep.acquire()

    def wake(self) -> None:
        """Let the sleeper go on; at once, if it is not asleep yet."""
        # One call in C. It fails where somebody else has just done the same, which is as good.
        try:
            self._asleep.release()
        except RuntimeError:
            return

    def wait(self, seconds: float = -1) -> bool:
        """Sleep until woken, or for so many seconds; whether we were woken."""
        return self._asleep.acquire(timeout=seconds)
