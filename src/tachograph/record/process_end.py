"""How a process ends, and what that means for the runs that are still open.

Nothing is installed but an ``atexit`` handler and, while a run is open, a note-taking ``sys.exit``. An uncaught
exception is read from where the interpreter leaves it (``sys.last_exc``), so the user's ``sys.excepthook`` stays as it
is. No signal handlers.
"""

from __future__ import annotations

import atexit
import contextlib
import functools
import os
import sys
import threading
import time
from collections.abc import Callable, Collection
from typing import TYPE_CHECKING, Any, NoReturn

from tachograph import guard, settings
from tachograph.record import open_runs, outcome
from tachograph.runtime import deferred, forks, process, stack_frames
from tachograph.runtime.background import background

if TYPE_CHECKING:
    from tachograph.record.run import Run

CAUGHT_SECONDS = 1.0
DETACH_SECONDS = 0.3  # that sending may take at the end, before a process of its own is begun for it

_exit_call: tuple[Any, float] | None = None
_shutdown_at: float | None = None
_original_exit = sys.exit
_watching = False
_ends_child: int | None = None
_jobs_at_end: list[Callable[[], object]] = []
_put_off_jobs: dict[Callable[[], object], int] = {}


def watch() -> None:
    """Take note of ``sys.exit`` from now on."""
    global _original_exit, _watching
    if not _watching or sys.exit is _original_exit:
        _watching, _original_exit, sys.exit = True, sys.exit, _noting_exit


def unwatch() -> None:
    """Put the original ``sys.exit`` back. Where somebody has wrapped ours since, it stays inside theirs."""
    global _watching
    if sys.exit is _noting_exit:
        _watching, sys.exit = False, _original_exit


@functools.wraps(sys.exit)
def _noting_exit(status: Any = None, /) -> NoReturn:
    global _exit_call
    if threading.current_thread() is threading.main_thread():  # others end a thread by it
        _exit_call = (status, time.monotonic())
        _note_shutdown()
    _original_exit(status)


def _note_shutdown() -> None:
    """Have the time noted at which the interpreter begins to shut down.

    Other exit handlers, and threads that the interpreter waits for, may take long before our handler is called.
    """
    register = getattr(threading, "_register_atexit", None)
    if register is not None and _shutdown_at is None:
        with contextlib.suppress(RuntimeError):  # it is ending already
            register(_shutting_down)


def _shutting_down() -> None:
    global _shutdown_at
    _shutdown_at = time.monotonic()


def _error_of_process() -> BaseException | None:
    """What ended this process: an uncaught exception, an exit with a code, or (None) nothing special."""
    if _exit_call is not None and (_shutdown_at or time.monotonic()) - _exit_call[1] < CAUGHT_SECONDS:
        return SystemExit(_exit_call[0])  # an older one was caught: the program went on
    if hasattr(sys, "ps1"):  # interactive: an exception ends a line there, not the process
        return None
    not_yet_handled = sys.exc_info()[1] or _exit_of_child()
    error: BaseException | None = not_yet_handled or getattr(sys, "last_exc", None) or getattr(sys, "last_value", None)
    return error


# Where a child of multiprocessing keeps the code that it is about to exit with, when its finalizers run. Up to Python
# 3.12 an exception is still on its way then, later it has been dealt with.
_CHILDREN = {("multiprocessing.process", "_bootstrap"): "exitcode", ("multiprocessing.popen_fork", "_launch"): "code"}


def _exit_of_child() -> SystemExit | None:
    """The exit of a child of ``multiprocessing`` with a code other than 0; None if it is not one, or exits well."""
    for frame in stack_frames.outward(sys._getframe(1)):
        name = _CHILDREN.get((frame.f_globals.get("__name__", ""), frame.f_code.co_name))
        if name is not None:
            code = frame.f_locals.get(name)
            return SystemExit(code) if code else None
    return None


def at_end(job: Callable[[], object]) -> Callable[[], None]:
    """Call ``job`` at the end of the process, and of each task of a pool's worker, before open runs are ended.

    Returns a function that cancels it.
    """
    _jobs_at_end.append(job)
    return lambda: _jobs_at_end.remove(job)


def _do_jobs_at_end() -> None:
    catch_up(here=False)
    for job in _jobs_at_end:
        with guard.contained("exit"):
            job()


def put_off(job: Callable[[], object]) -> None:
    """Call ``job`` before this thread reads what was recorded, at the latest at the end of the process."""
    _put_off_jobs[job] = threading.get_ident()


def catch_up(here: bool = True) -> None:
    """Do what this thread has put off; with ``here`` false, what any thread has."""
    for job, thread in list(_put_off_jobs.items()):
        if not here or thread == threading.get_ident():
            del _put_off_jobs[job]
            with guard.contained("what was put off"):
                job()


def end_process() -> None:
    """End the runs that are still open, the innermost first; then wait, for a bounded time, for the background."""
    error = _error_of_process()
    _do_jobs_at_end()
    with guard.contained("exit"):
        for run in reversed(open_runs.open_runs()):
            run.finish(outcome.status(error), error)
        unwatch()
        until = time.monotonic() + settings.seconds("exit_wait", 5.0)
        _hurry()
        background.end(until - time.monotonic())
        _send_the_rest(until - time.monotonic())
    if isinstance(error, KeyboardInterrupt):
        _die_of_interrupt()


def end_task(error: BaseException | None) -> None:
    """End the runs that a task of a pool's worker has left open.

    The next task's trainings are others, and a worker that is killed could not end these. What the user opened stays
    open; so does a run of the parent process, if nobody has anything left to record in it.
    """
    _do_jobs_at_end()
    deferred.do_now()  # a pool ends its workers without a word
    for run in reversed(open_runs.open_runs()):
        is_theirs = run.opener == "user" or run.role == "worker"
        if not is_theirs or (run.role == "worker" and run.holds_back):
            run.finish(outcome.status(error), error)


def end_part(error: BaseException | None, before: Collection[Run]) -> None:
    """End the runs that a part of the program has left open: all but those that were open ``before`` it.

    Such a part would be a program of its own elsewhere: a job of Hydra's multirun.
    """
    _do_jobs_at_end()
    for run in reversed(open_runs.open_runs()):
        if run not in before and not run.joined:
            run.finish(outcome.status(error), error)


def _hurry() -> None:
    """Look up the environment now, without waiting for a slow git; write again what the disk did not take."""
    lifecycle = sys.modules.get("tachograph.record.lifecycle")
    if lifecycle is not None:
        lifecycle.environment.hurry()
        background.soon(lifecycle.write_what_is_left)


def sent(timeout: float) -> bool:
    """Wait until the sinks have what is on disk now; False when ``timeout`` seconds ran out. True without sinks."""
    shipping = sys.modules.get("tachograph.ship.shipper")
    return shipping is None or bool(shipping.shipper.drain(timeout))


def _send_the_rest(timeout: float) -> None:
    is_detached = settings.flag("detach")
    with contextlib.suppress(KeyboardInterrupt):  # who doesn't want to wait is told what is left, too
        if sent(min(timeout, DETACH_SECONDS) if is_detached else timeout):
            return
    from tachograph.ship.shipper import shipper

    if unsent := shipper.unsent():
        who = "the next run here sends it, or: tachograph sync"
        if is_detached:
            with contextlib.suppress(OSError):  # no process can be begun
                who = f"a process in the background does that, see {', '.join(map(str, shipper.detach()))}"
        guard.say(f"still to be sent: {', '.join(unsent)}; {who}")


def _die_of_interrupt() -> None:
    """Let Python end as it does after Ctrl-C: killed by the signal, so that a shell's loop around it stops too.

    It remembers that until some text is evaluated, which happens in our imports.
    """
    with contextlib.suppress(KeyboardInterrupt):
        exec("raise KeyboardInterrupt")


def come_first() -> None:
    """Be called at the exit before all that was imported until now: a library that has shut down saves no model."""
    atexit.unregister(end_process)
    atexit.register(end_process)


come_first()


def end_child() -> None:
    """End the runs of a child of ``multiprocessing`` by its finalizers: it leaves without calling ``atexit``'s."""
    global _ends_child
    if process.is_child() and _ends_child != os.getpid():
        from multiprocessing import util

        _ends_child = os.getpid()
        util.Finalize(None, end_process, exitpriority=100)


def forked() -> None:
    """Forget, in a forked child, that its parent was asked to exit, and what its parent has put off."""
    global _exit_call
    _exit_call = None
    _put_off_jobs.clear()


forks.in_child("end of the process", forked)
