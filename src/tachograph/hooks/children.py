"""The child processes of ``multiprocessing``: what they are told, and where a task of theirs ends.

A forked child has all that its parent has. One with a fresh interpreter (``spawn``, ``forkserver``) has what
``multiprocessing`` sends to it: a word of ours goes with that. Neither the program's arguments nor the environment are
changed for it, which other processes would inherit.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from functools import update_wrapper
from typing import Any

from tachograph import guard
from tachograph.runtime import import_hooks

Word = Mapping[str, Any]

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
    autolog.adopt(word)
"""
_WORKERS = {
    ("multiprocessing.pool", "worker"),
    ("torch.multiprocessing.pool", "clean_worker"),
    ("concurrent.futures.process", "_process_worker"),
}
_RESULTS = 1  # which of a worker's arguments is the queue that its results go into

_speak: Callable[[], Word | None] | None = None


def tell(speak: Callable[[], Word | None]) -> Callable[[], None]:
    """Send what ``speak()`` gives to each child that starts with a fresh interpreter, for ``autolog.adopt``: plain
    values that can be pickled, or None for nothing. Gives a function that no longer waits for ``multiprocessing``;
    where that is loaded, it goes on: to be told that recording was switched off, too.
    """
    global _speak
    _speak = speak
    return import_hooks.when_imported("multiprocessing.spawn", _accompany)


def _accompany() -> None:
    spawn: Any = sys.modules["multiprocessing.spawn"]
    original = spawn.get_preparation_data
    if getattr(original, "_tachograph", False):
        return

    def get_preparation_data(*args: Any, **kwargs: Any) -> Any:
        data = original(*args, **kwargs)
        with guard.contained("child process"):
            word = _speak() if _speak is not None else None
            if word is not None:
                data["tachograph"] = _Message(data, word)
        return data

    get_preparation_data._tachograph = True  # type: ignore[attr-defined]
    spawn.get_preparation_data = update_wrapper(get_preparation_data, original)


class _Message:
    """A word on its way. What is pickled are the instructions to take it in."""

    def __init__(self, data: Mapping[str, Any], word: Word) -> None:
        self._scope = {"path": data["sys_path"], "folder": data["dir"], "word": dict(word)}

    def __reduce__(self) -> tuple[Any, ...]:
        return exec, (_RECEIVE, self._scope)


def follow_tasks(process: Any, ended: Callable[[BaseException | None], object]) -> None:
    """In a child process that is a worker of a pool: call ``ended`` with what a task raised, whenever one is done and
    its result is about to be sent. After that the worker may be killed at any time: that is how ``Pool`` ends."""
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
    """What a task has raised: of ``Pool`` (job, number, (whether it went well, what came of it)), else an object."""
    if isinstance(result, tuple):
        went_well, value = result[2]
        error = None if went_well else value
    else:
        error = getattr(result, "exception", None)  # at its end a worker sends its number
    return getattr(error, "exc", error)  # without what carries the traceback as text
