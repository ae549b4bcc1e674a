"""The one background thread of a process: what may not be done on a training thread is done here.

It runs jobs that were handed to it (``soon``), those that have time (``later``) and the regular ones (``regularly``),
most of them every second: syncing journals to disk, hardware samples. It is a daemon thread, so it never keeps a
process alive; ``drain`` waits for the jobs that are left, for a bounded time. A forked child starts with none of its
parent's jobs.
"""

from __future__ import annotations

import contextlib
import importlib
import math
import sys
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable
from functools import partial

from tachograph import guard
from tachograph.runtime import forks
from tachograph.runtime.wake import Wake

Job = Callable[[], object]

TICK = 1.0
LATER = 0.3  # seconds: shorter trainings have ended by then, and did not have to share the interpreter


class _Rhythm:
    """How often something is done, in seconds, and when the next time (on the clock of ``monotonic``)."""

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self.restart()

    def restart(self) -> None:
        """It was done now: the next time is so many seconds from now."""
        self.due = time.monotonic() + self._seconds


class _NothingLeft(Wake):
    """A job that wakes the thread that waits for it, once no other job is left. Where some came meanwhile, it queues
    again behind them."""

    def __init__(self, jobs: Callable[[], Iterable[Job]], queue: Callable[[Job], None]) -> None:
        super().__init__()
        self._jobs, self._queue = jobs, queue

    def __call__(self) -> None:
        if all(isinstance(job, _NothingLeft) for job in self._jobs()):
            self.wake()
        else:
            self._queue(self)


class Background:
    """Jobs, and the thread that does them. The thread starts with the first job and ends when there is nothing left.

    No method takes a lock, since jobs are handed over from signal handlers too, and by threads that are appending to a
    journal. What has to be one step is done without a call in between.
    """

    def __init__(self) -> None:
        self.reset()

    def reset(self) -> None:
        """Begin anew, as a forked child does."""
        self._jobs: deque[Job] = deque()
        self._later: list[tuple[float, Job]] = []  # and when, on the clock of ``monotonic``
        self._regular: dict[Job, _Rhythm] = {}
        self._wake = Wake()
        self._thread: threading.Thread | None = None
        self._ending = False

    def soon(self, job: Job) -> None:
        """Do ``job`` once, in the order of the calls."""
        self._jobs.append(job)
        self._ensure()
        self._wake.wake()

    def import_soon(self, *modules: str) -> None:
        """Import what a first training needs, while the user's data is being loaded, as a rule."""
        for module in modules:
            self.soon(partial(importlib.import_module, module))

    def later(self, job: Job, seconds: float = LATER) -> None:
        """Do ``job`` once, after so many seconds, or as soon as somebody waits for the jobs that are left."""
        if self._ending:
            self.soon(job)
            return
        due = time.monotonic() + seconds
        is_next = due < self._next_due(math.inf)
        self._later.append((due, job))
        self._ensure()
        if is_next:  # else the thread comes by before that anyway
            self._wake.wake()

    def regularly(self, job: Job, seconds: float | None = None) -> None:
        """Do ``job`` every so many ``seconds`` (one, if left out), until ``no_longer``."""
        if job not in self._regular:
            self._regular[job] = _Rhythm(TICK if seconds is None else seconds)
            self._ensure()
            self._wake.wake()

    def no_longer(self, job: Job) -> None:
        """Stop doing ``job`` regularly."""
        self._regular.pop(job, None)

    def drain(self, timeout: float) -> bool:
        """Wait until no single job is left; False when ``timeout`` seconds ran out first."""
        is_idle = self._thread is None and not self._all_jobs()
        if is_idle or self._thread is threading.current_thread():
            return True
        end = time.monotonic() + timeout
        nothing_left = _NothingLeft(self._all_jobs, self._jobs.append)
        self._jobs.append(nothing_left)
        if not self._ensure():
            return self._do_here(end)
        self._wake.wake()
        return nothing_left.wait(_seconds_until(end))

    def end(self, timeout: float) -> None:
        """:meth:`drain`, then end the thread. Python would end it in the middle of whatever it does when the process
        ends, which some libraries in C++ answer by aborting the process. Jobs that come later are still done."""
        if self._thread is threading.current_thread():
            return
        end = time.monotonic() + timeout
        self.drain(timeout)
        self._ending, thread = True, self._thread
        self._wake.wake()
        if thread is not None:
            thread.join(_seconds_until(end))

    def _do_here(self, end: float) -> bool:
        while self._jobs and time.monotonic() < end:
            self._do_one()
        return not self._jobs

    def _ensure(self) -> bool:
        """See to it that the thread runs, if there is anything to do; False where none can be started."""
        thread = self._thread
        waiting = self._jobs or self._later or self._regular
        if not waiting or (thread is not None and lives(thread)):
            return True
        if sys.is_finalizing():  # to start a thread now waits for ever
            return False
        new = threading.Thread(target=self._run, name="tachograph", daemon=True)
        if self._thread is not thread:  # somebody came first
            return True
        self._thread = new
        try:
            new.start()
        except RuntimeError:  # the interpreter is shutting down, or there are too many: the rest is done by ``drain``
            self._thread = None
            return False
        except BaseException:  # from a signal handler
            self._thread = new if new.is_alive() else None
            raise
        return True

    def _run(self) -> None:
        guard.untimed_thread()
        until = time.monotonic() + TICK  # more may come soon
        try:
            while self._jobs or not (self._ending or self._is_over(until)):
                self._do_next(until)
        finally:  # in strict mode a fault ends it
            if self._thread is threading.current_thread():
                self._thread = None
            if self._jobs or ((self._later or self._regular) and not self._ending):  # that came in the last moment
                self._ensure()

    def _is_over(self, until: float) -> bool:
        return not (self._later or self._regular) and time.monotonic() >= until

    def _do_next(self, until: float) -> None:
        """Do one job, if there is any, and the regular ones that are due; wait for either where there is none."""
        if not self._jobs:
            self._wake.wait(_seconds_until(self._next_due(until)))
        self._line_up(time.monotonic())
        self._do_one()
        now = time.monotonic()
        for job, rhythm in self._regular.copy().items():
            if now >= rhythm.due:
                self._do(job)
                rhythm.restart()

    def _next_due(self, until: float) -> float:
        regular = [rhythm.due for rhythm in self._regular.copy().values()]
        return min([*regular, *(due for due, _ in self._later.copy())], default=until)

    def _all_jobs(self) -> list[Job]:
        """All single jobs, in their order: what had time until later comes now."""
        self._line_up(math.inf)
        return list(self._jobs.copy())

    def _line_up(self, now: float) -> None:
        """Jobs that have waited for long enough come next."""
        for entry in self._later.copy():
            if entry[0] <= now:
                with contextlib.suppress(ValueError):  # another thread was faster
                    self._later.remove(entry)
                    self._jobs.append(entry[1])

    def _do_one(self) -> None:
        try:
            job = self._jobs.popleft()
        except IndexError:  # there is none, or another thread was faster
            return
        self._do(job)

    def _do(self, job: Job) -> None:
        with guard.contained("background"):
            job()


def lives(thread: threading.Thread) -> bool:
    """Whether a thread runs or is being started, perhaps by the code that a signal handler has interrupted."""
    return thread.is_alive() or thread.ident is None


def _seconds_until(end: float) -> float:
    """The seconds that remain until ``end``, within the bounds that ``threading`` accepts."""
    return min(max(0.0, end - time.monotonic()), threading.TIMEOUT_MAX)


background = Background()
forks.in_child("background", background.reset)  # the parent's thread is not here
