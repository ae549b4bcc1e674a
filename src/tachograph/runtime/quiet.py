"""Quiet: what we compute by ourselves, with the user's objects or data, warns nobody."""

from __future__ import annotations

import contextlib
import re
import sys
import threading
import warnings
from collections.abc import Callable, Iterator
from typing import Any, cast


@contextlib.contextmanager
def quietly() -> Iterator[None]:
    """A block that warns nobody, whatever the user's filters and numpy's error state say; both are as before after it.

    It's for this thread alone: others warn as ever meanwhile, and so do threads that the block itself begins. A worker
    process is quiet where it is handed the filters of this one, as scikit-learn's are. A warning that comes in the
    block doesn't count as shown, so that it is still shown where the user's own call gives it. Never ``yield`` to the
    user's code in it.

    ``warnings.catch_warnings`` would do none of this: it changes the filters of all threads, and makes the interpreter
    forget which warnings it has shown, so that they come again. A filter is put in front of the user's instead, one
    that asks whose thread it is. Code in the block that filters warnings explicitly has its way.
    """
    filters = cast("list[Any]", warnings.filters)
    filters.insert(0, _FILTER)
    _here.depth = _depth() + 1
    try:
        with _numpy_ignores():
            yield
    finally:
        _here.depth -= 1
        with contextlib.suppress(ValueError):  # the block has taken it away, by warnings.resetwarnings()
            filters.remove(_FILTER)


def _numpy_ignores() -> contextlib.AbstractContextManager[Any]:
    """No division or overflow is told of or raised by numpy, if that was imported."""
    errstate = getattr(sys.modules.get("numpy"), "errstate", None)
    return contextlib.nullcontext() if errstate is None else errstate(all="ignore")


def _depth() -> int:
    """How many such blocks this thread is in."""
    return getattr(_here, "depth", 0)


class _OfThisThread:
    """The place of a filter's regular expression: any text matches where this thread is to be quiet, else none."""

    def match(self, text: str) -> bool:
        return _depth() > 0

    def __reduce__(self) -> tuple[Callable[[str], Any], tuple[str]]:
        return re.compile, ("" if _depth() else "(?!)",)  # another process may not know of this class


_here = threading.local()
_FILTER = ("ignore", _OfThisThread(), Warning, None, 0)
