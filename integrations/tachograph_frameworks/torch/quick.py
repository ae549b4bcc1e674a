"""Which way steps go: the C one where it was built from these sources, else Python's."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tachograph_frameworks.torch import short as python

if TYPE_CHECKING:
    short = python
else:
    try:
        import tachograph_frameworks.torch._short as short
    except ModuleNotFoundError:  # there was no compiler, or this is not Linux
        short = python
    if getattr(short, "LAYOUT", None) != python.LAYOUT:
        short = python  # the C one was built from older sources, which an editable installation leaves there

__all__ = ["short"]
