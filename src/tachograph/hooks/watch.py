"""Wrappers: generators that watch a call and can't change it.

A :class:`Watcher` yields once; there it is sent the call's result, or has its exception thrown in.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Generator, Iterator
from typing import Any, ParamSpec, TypeAlias, TypeVar

from tachograph import guard
from tachograph.hooks.call import Call
from tachograph.record import open_runs
from tachograph.runtime.quiet import quietly

P = ParamSpec("P")
R = TypeVar("R")
Watcher: TypeAlias = Generator[None, Any, None]


def shield(function: Callable[P, R]) -> Callable[P, R | None]:
    """Decorator for what a framework calls of a plug-in, as the methods of a callback: it never raises ``Exception``.

    A fault is reported, noted in the run that is open, and None is returned. What it calls of the user's objects, or of
    the framework, warns nobody; watchers have that, too.
    """
    return guard.shield(quietly()(function), lambda _: open_runs.here())


class Watch:
    """A wrapper that runs beside a call: what it raises is reported and goes no further."""

    def __init__(self, wrapper: Callable[..., Watcher], site: str, *args: Any) -> None:
        self._site = site
        self._watcher: Watcher | None = None
        with self._contained():
            watcher = wrapper(*args)
            if not isinstance(watcher, Iterator):
                raise TypeError("a wrapper must be a generator that yields once")
            try:
                next(watcher)
            except StopIteration:
                raise RuntimeError("a wrapper must yield once: it ended before") from None
            self._watcher = watcher

    def returned(self, result: Any) -> None:
        """The call gave ``result``."""
        if self._watcher is not None:
            with self._contained():
                self._end(self._watcher.send, result)

    def raised(self, error: BaseException) -> None:
        """The call raised ``error``, which is left as it is."""
        if self._watcher is None:
            return
        before = (error.__traceback__, error.__context__, error.__cause__, error.__suppress_context__)
        try:
            with self._contained():
                self._end(self._watcher.throw, error)
        except BaseException as other:
            if other is not error:
                raise
        finally:
            error.__traceback__, error.__context__, error.__cause__, error.__suppress_context__ = before

    def _end(self, resume: Callable[[Any], None], value: Any) -> None:
        try:
            resume(value)
        except StopIteration:
            return
        except BaseException as error:
            if error is value or (isinstance(error, RuntimeError) and _is_the_same_stop(error.__cause__, value)):
                return
            raise
        raise RuntimeError("a wrapper must yield once, not twice")

    @contextlib.contextmanager
    def _contained(self) -> Iterator[None]:
        with guard.contained(self._site, open_runs.here()), quietly():
            yield


def _is_the_same_stop(cause: BaseException | None, value: Any) -> bool:
    """Python turns a StopIteration that leaves a generator into a RuntimeError."""
    return cause is value and isinstance(value, StopIteration)


def conduct(
    wrapper: Callable[[Call], Watcher], site: str, function: Callable[..., Any], /, *args: Any, **kwargs: Any
) -> Any:
    """Call ``function`` once, with ``wrapper`` watching."""
    __tracebackhide__ = True  # IPython, notebooks and pytest leave out a frame that says so
    watch = Watch(wrapper, site, Call(function, args, kwargs))
    try:
        result = function(*args, **kwargs)
    except BaseException as error:
        watch.raised(error)
        raise
    watch.returned(result)
    return result
