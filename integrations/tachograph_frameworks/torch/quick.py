"""Which way steps go: the C one where it was built, else Python's."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tachograph_frameworks.torch import short
else:
    try:
        from tachograph_frameworks.torch import _short as short
    except ImportError:  # there was no compiler, or this is not Linux
        from tachograph_frameworks.torch import short

__all__ = ["short"]
