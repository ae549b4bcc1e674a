"""The one background thread of a process: what may not be done on a training thread is done here.

It runs jobs that were handed to it (``soon``) and the regular ones (``regularly``), most of them every second: syncing
journals to disk, hardware samples. It is a daemon thread, so it never keeps a process alive; ``drain`` waits for the
jobs that are left, for a bounded time. A forked child starts with none of its parent's jobs.
"""

from __future__ import annotations

import os
import threading
import time
from collections import deque
from collections.abc import Callable

from tachograph import forks, guard

Job = Callable[[], object]

TICK = 1.0


class _Rhythm:
    """How often something is done, in seconds, and when the next time (on the clock of ``monotonic``)."""

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self.wait()

    def wait(self) -> None:
        """It was done."""
        self.due = time.monotonic() + self._seconds


class Background:
    """Jobs, and the thread that does them. The thread starts with the first job and ends when there is nothing left."""

    def __init__(self) -> None:
        self._jobs: deque[Job] = deque()
        self._regular: dict[Job, _Rhythm] = {}
        self._wake = threading.Condition(threading.RLock())
        self._thread: threading.Thread | None = None
        self._busy = self._ending = False

    def soon(self, job: Job) -> None:
        """Do ``job`` once, in the order of the calls."""
        with self._wake:
            self._jobs.append(job)
            self._ensure()
            self._wake.notify_all()

    def regularly(self, job: Job, seconds: float | None = None) -> None:
        """Do ``job`` every so many ``seconds`` (one, if left out), until ``no_longer``."""
        with self._wake:
            if job not in self._regular:
                self._regular[job] = _Rhythm(TICK if seconds is None else seconds)
                self._ensure()
                self._wake.notify_all()

    def no_longer(self, job: Job) -> None:
        """End what ``regularly`` began."""
        with self._wake:
            self._regular.pop(job, None)

    def drain(self, timeout: float) -> bool:
        """Wait until no single job is left; False when ``timeout`` seconds ran out first."""
        if self._thread is threading.current_thread():
            return True
        end = time.monotonic() + timeout
        with self._wake:
            self._ensure()
            if self._thread is None:
                return self._do_here(end)
            return self._wake.wait_for(lambda: not self._jobs and not self._busy, _left(end))

    def end(self, timeout: float) -> None:
        """:meth:`drain`, and let the thread end: Python ends a thread that is left over in the middle of whatever it
        does, which some libraries in C++ answer by aborting the process. Jobs that come later are still done."""
        if self._thread is threading.current_thread():
            return
        end = time.monotonic() + timeout
        self.drain(timeout)
        with self._wake:
            self._ending = True
            thread = self._thread
            self._wake.notify_all()
        if thread is not None:
            thread.join(_left(end))

    def _do_here(self, end: float) -> bool:
        while self._jobs and time.monotonic() < end:
            with guard.contained("background"):
                self._jobs.popleft()()
        return not self._jobs

    def _ensure(self) -> None:
        if self._thread is not None and not self._thread.is_alive():  # in strict mode a fault ends it
            self._thread, self._busy = None, False
        if self._thread is None and (self._jobs or self._regular):
            thread = threading.Thread(target=self._run, name="tachograph", daemon=True)
            try:
                thread.start()
            except RuntimeError:  # the interpreter is shutting down: what is left is done by ``drain``
                return
            self._thread = thread

    def _run(self) -> None:
        guard.untimed_thread()
        until = time.monotonic() + TICK  # more may come soon
        while True:
            with self._wake:
                if not (self._jobs or self._ending):
                    due = min((rhythm.due for rhythm in self._regular.values()), default=until)
                    self._wake.wait(_left(due))
                now = time.monotonic()
                jobs = [self._jobs.popleft()] if self._jobs else []
                regular = {job: rhythm for job, rhythm in self._regular.items() if now >= rhythm.due}
                self._busy = bool(jobs)
                if not jobs and (self._ending or not (self._regular or now < until)):
                    self._thread = None
                    self._wake.notify_all()
                    return
            for task in [*jobs, *regular]:
                with guard.contained("background"):
                    task()
            for rhythm in regular.values():
                rhythm.wait()
            with self._wake:
                self._busy = False
                self._wake.notify_all()

    def _forked(self) -> None:
        self.__init__()  # type: ignore[misc]  # the parent's locks may be held, its thread is not here


def _left(end: float) -> float:
    """Seconds until then, as threading takes them."""
    return min(max(0.0, end - time.monotonic()), threading.TIMEOUT_MAX)


background = Background()
if hasattr(os, "register_at_fork"):
    os.register_at_fork(before=forks.before, after_in_child=background._forked)
