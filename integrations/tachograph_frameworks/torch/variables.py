"""What the user's code holds in its variables: its models, optimizers and schedulers, under their own names."""

from __future__ import annotations

import inspect
import sys
from collections.abc import Iterator
from types import FrameType
from typing import Any

from tachograph import frames, guard

_SKIPPED = {"torch", "accelerate", "lightning", "lightning_fabric", "contextlib", "functools"}
_MOST_ITEMS = 100  # of a list or of an object's attributes


def visible(kinds: tuple[type, ...]) -> Iterator[tuple[str, Any]]:
    """The objects of some kinds in the variables of the functions that are running, innermost first: by variable, by
    attribute of one (``self.model``), or in a dict or list of one. Each object once."""
    seen: set[int] = set()
    frame: FrameType | None = sys._getframe(1)
    while frame is not None:
        if not _is_library(frame):
            for name, value in _variables(frame):
                for path, found in _within(name, value, kinds):
                    if id(found) not in seen:
                        seen.add(id(found))
                        yield path, found
        frame = frame.f_back


def _is_library(frame: FrameType) -> bool:
    module = str(frame.f_globals.get("__name__")).partition(".")[0]
    return module in _SKIPPED or guard.is_ours(frame.f_code.co_filename)


def _variables(frame: FrameType) -> list[tuple[str, Any]]:
    found = list(frames.variables(frame).items())
    if frame.f_code.co_flags & inspect.CO_OPTIMIZED or frame.f_locals is not frame.f_globals:
        found += list(frame.f_globals.items())
    return found


def _within(name: str, value: Any, kinds: tuple[type, ...]) -> Iterator[tuple[str, Any]]:
    if name.startswith("__"):
        return
    if isinstance(value, kinds):
        yield name, value
        return
    for part, inner in _parts(value):
        if isinstance(inner, kinds):
            yield (part if name in ("self", "trainer") else f"{name}.{part}"), inner


def _parts(value: Any) -> list[tuple[str, Any]]:
    if isinstance(value, dict):
        return [(str(key), item) for key, item in list(value.items())[:_MOST_ITEMS]]
    if isinstance(value, list | tuple):
        return [(str(index), item) for index, item in enumerate(value[:_MOST_ITEMS])]
    if isinstance(value, type) or type(value).__module__ in ("builtins", "types"):
        return []
    return list(getattr(value, "__dict__", {}).items())[:_MOST_ITEMS]
