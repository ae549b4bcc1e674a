"""Child processes of ``multiprocessing``: they record as their parent does, and tasks of a pool's worker have an end.

A forked child has all that its parent has. One with a fresh interpreter (``spawn``, ``forkserver``) has what
``multiprocessing`` sends to it: a handover of ours goes with that. The program's arguments and the environment stay as
they are, since other processes would inherit them.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from functools import update_wrapper
from typing import Any

from tachograph import guard
from tachograph.runtime import import_hooks

Handover = Mapping[str, Any]  # what a child must know to record as its parent does

# Runs in the child before its program is imported, when it has neither the path nor the folder that it is about to get.
# There need not be a tachograph.
_RECEIVE = """\
import os, sys
sys.path = path
os.chdir(folder)
try:
    from tachograph.hooks import autolog
except ImportError:
    pass
else:
    autolog.adopt(handover)
"""
_WORKERS = {
    ("multiprocessing.pool", "worker"),
    ("torch.multiprocessing.pool", "clean_worker"),
    ("concurrent.futures.process", "_process_worker"),
}
_RESULTS = 1  # which of a worker's arguments is the queue that its results go into

_make_handover: Callable[[], Handover | None] | None = None


def hand_over(make_handover: Callable[[], Handover | None]) -> Callable[[], None]:
    """Send what ``make_handover()`` returns to each child that starts with a fresh interpreter, for ``autolog.adopt``:
    plain values that can be pickled, or None for nothing.

    Returns a function that stops waiting for ``multiprocessing``. Once that is loaded, children get a handover for
    good: they must also learn that recording was switched off.
    """
    global _make_handover
    _make_handover = make_handover
    return import_hooks.when_imported("multiprocessing.spawn", _hook_spawn)


def _hook_spawn() -> None:
    spawn: Any = sys.modules["multiprocessing.spawn"]
    original = spawn.get_preparation_data
    if getattr(original, "_tachograph", False):
        return

    def get_preparation_data(*args: Any, **kwargs: Any) -> Any:
        data = original(*args, **kwargs)
        with guard.contained("child process"):
            handover = _make_handover() if _make_handover is not None else None
            if handover is not None:
                data["tachograph"] = _Pickled(data, handover)
        return data

    get_preparation_data._tachograph = True  # type: ignore[attr-defined]
    spawn.get_preparation_data = update_wrapper(get_preparation_data, original)


class _Pickled:
    """A handover on its way: it is pickled as the code that adopts it."""

    def __init__(self, data: Mapping[str, Any], handover: Handover) -> None:
        self._scope = {"path": data["sys_path"], "folder": data["dir"], "handover": dict(handover)}

    def __reduce__(self) -> tuple[Any, ...]:
        return exec, (_RECEIVE, self._scope)


def follow_tasks(process: Any, ended: Callable[[BaseException | None], object]) -> None:
    """Call ``ended`` with what a task raised, or None, whenever a task is done, if ``process`` is a worker of a pool.

    It is called in that worker, just before the task's result is sent. After that the worker may be killed at any
    time: that is how ``Pool`` ends.
    """
    target = getattr(process, "_target", None)
    if (getattr(target, "__module__", ""), getattr(target, "__name__", "")) not in _WORKERS:
        return
    results = process._args[_RESULTS]
    send = results.put

    def put(result: Any, *args: Any, **kwargs: Any) -> Any:
        with guard.contained("end of a task"):
            ended(_error(result))
        return send(result, *args, **kwargs)

    results.put = put


def _error(result: Any) -> BaseException | None:
    """What a task has raised. ``Pool`` sends (job, number, (went well, result or error)), others send an object."""
    if isinstance(result, tuple):
        went_well, value = result[2]
        error = None if went_well else value
    else:
        error = getattr(result, "exception", None)  # at its end a worker sends its number
    return getattr(error, "exc", error)  # without what carries the traceback as text
