"""The frames on the stack and their variables, read so that nothing is kept alive by it."""

from __future__ import annotations

import inspect
import sys
from collections.abc import Iterator
from types import FrameType
from typing import Any


def outward(frame: FrameType | None) -> Iterator[FrameType]:
    """The frame, then its caller, and so on up to the thread's first frame."""
    while frame is not None:
        yield frame
        frame = frame.f_back


def variables(frame: FrameType) -> dict[str, Any]:
    """A copy of a frame's local variables; a module's own namespace is its frame's, too.

    Up to Python 3.12 a function's ``f_locals`` is a copy that its frame keeps as long as it runs: an array that the
    user deletes, or a batch with all of its graph, would stay. So that copy is emptied again. Python fills it anew
    whenever somebody asks.
    """
    values = frame.f_locals
    copy = dict(values)
    if sys.version_info < (3, 13) and frame.f_code.co_flags & inspect.CO_OPTIMIZED:
        values.clear()
    return copy


def variable(frame: FrameType, name: str) -> Any:
    """The value of one variable as the frame's code sees it, a global one too; None where there is none."""
    values = frame.f_locals
    value = values.get(name, frame.f_globals.get(name))
    if sys.version_info < (3, 13) and frame.f_code.co_flags & inspect.CO_OPTIMIZED:
        values.clear()
    return value
