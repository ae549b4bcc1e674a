"""The runs that are open in this process: in all of it, and in each context the innermost.

A run becomes active where it was opened, and what is called from there sees it (a context variable).
"""

from __future__ import annotations

from contextvars import ContextVar
from typing import TYPE_CHECKING

from tachograph.runtime import forks

if TYPE_CHECKING:
    from tachograph.record.run import Run

_stack: ContextVar[tuple[Run, ...]] = ContextVar("tachograph_runs", default=())
stack = _stack.get  # the runs opened in this context, the innermost last: the same object until that changes
_open: dict[int, Run] = {}
_changes = 0


def open_runs() -> list[Run]:
    """The runs that are open in this process, oldest first."""
    return list(_open.values())


def changes() -> int:
    """A number that grows whenever the open runs of this process change."""
    return _changes


def register(run: Run) -> None:
    """Add ``run`` to the open runs: it is ended with the process, at the latest."""
    global _changes
    _open[id(run)] = run
    _changes += 1


def push(run: Run) -> None:
    """Add ``run``, and make it the innermost one of this context."""
    register(run)
    _stack.set((*_stack.get(), run))


def remove(run: Run) -> None:
    """Take out ``run``, which has ended."""
    global _changes
    _open.pop(id(run), None)
    _changes += 1
    _stack.set(tuple(other for other in _stack.get() if other is not run))


def here() -> Run | None:
    """The innermost open run of this context, or None."""
    return next((run for run in reversed(_stack.get()) if not run.ended), None)


def _forked() -> None:
    for run in open_runs():
        run._forked()


forks.in_child("open runs", _forked)
