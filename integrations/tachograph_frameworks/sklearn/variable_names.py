"""The variable names that the user's code has for objects."""

from __future__ import annotations

import sys
from itertools import islice
from types import FrameType
from typing import Any

from tachograph import guard
from tachograph.runtime import stack_frames

_LIBRARIES = ("sklearn", "xgboost", "lightgbm", "catboost", "imblearn", "joblib")
DEPTH = 30


def name_of(value: Any, default: str) -> str:
    """The variable that holds ``value`` in the innermost frame that is the user's; else ``default``."""
    for frame in islice(stack_frames.outward(sys._getframe(1)), DEPTH):
        if not _is_library(frame):
            return _name_in(frame, value) or default
    return default


def _is_library(frame: FrameType) -> bool:
    module = frame.f_globals.get("__name__") or ""
    return module.partition(".")[0] in _LIBRARIES or guard.is_our_code(frame.f_code)


def _name_in(frame: FrameType, value: Any) -> str | None:
    for namespace in (stack_frames.variables(frame), dict(frame.f_globals)):
        for name, other in namespace.items():
            if other is value and not name.startswith("_"):
                return name
    return None
