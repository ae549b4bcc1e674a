"""Quiet: what we compute by ourselves, with the user's objects or data, warns nobody."""

from __future__ import annotations

import contextlib
import functools
import re
import sys
import threading
import warnings
from collections.abc import Callable
from typing import Any, ParamSpec, TypeVar

from tachograph import guard

P = ParamSpec("P")
R = TypeVar("R")


class quietly:  # noqa: N801 - used as a word: "with quietly():"
    """A block or function that warns nobody, whatever the user's filters and numpy's error state say. Both are as
    before after it. Only warnings of ours come through, those of :mod:`tachograph.guard`.

    It's for this thread alone: others warn as ever meanwhile, and so do threads that the block itself begins. A worker
    process is quiet where it is handed the filters of this one, as scikit-learn's are. A warning that comes in the
    block doesn't count as shown, so that it is still shown where the user's own call gives it. Never ``yield`` to the
    user's code in it.

    ``warnings.catch_warnings`` would do none of this: it changes the filters of all threads, and makes the interpreter
    forget which warnings it has shown, so that they come again. A filter is put in front of the user's instead, one
    that asks whose thread it is. Code in the block that filters warnings explicitly has its way.
    """

    def __call__(self, function: Callable[P, R]) -> Callable[P, R]:
        @functools.wraps(function)  # and no frame of contextlib's, for which the user's line would be taken
        def quiet(*args: P.args, **kwargs: P.kwargs) -> R:
            with quietly():
                return function(*args, **kwargs)

        return quiet

    def __enter__(self) -> None:
        filters: Any = warnings.filters
        filters.insert(0, _FILTER)
        self._filters = filters
        _here.depth += 1
        errstate = getattr(sys.modules.get("numpy"), "errstate", None)
        self._numpy = None if errstate is None else errstate(all="ignore")
        if self._numpy is not None:
            self._numpy.__enter__()

    def __exit__(self, *_: object) -> None:
        if self._numpy is not None:
            self._numpy.__exit__(None, None, None)
        _here.depth -= 1
        with contextlib.suppress(ValueError):  # the block has taken it away, by warnings.resetwarnings()
            self._filters.remove(_FILTER)


class _Here(threading.local):
    depth = 0  # how many such blocks this thread is in


class _OfThisThread:
    """In place of a filter's regular expression: what this thread warns of matches while it is to be quiet. Whoever
    copies filters, as joblib and scikit-learn for their workers, gets an expression that always or never matches."""

    def match(self, text: str) -> bool:
        return _here.depth > 0 and not text.startswith(guard.OURS)

    @property
    def pattern(self) -> str:
        return "" if _here.depth else "(?!)"

    def __reduce__(self) -> tuple[Callable[[str], Any], tuple[str]]:
        return re.compile, (self.pattern,)  # another process may not know of this class


_here = _Here()
_FILTER = ("ignore", _OfThisThread(), Warning, None, 0)
