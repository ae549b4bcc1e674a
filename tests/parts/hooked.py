"""Classes as a framework has them, and wrappers for what is called of them."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

from tachograph.hooks import Call, Watcher

STOPS = [ValueError("x"), KeyboardInterrupt(), SystemExit(3), GeneratorExit(), StopIteration(7), RuntimeError("x")]
STOPS += [StopAsyncIteration(), ExceptionGroup("two", [ValueError(), KeyError()])]


class Seen(list[Any]):
    """What a watcher saw."""

    def watch(self, call: Call) -> Watcher:
        self.append(("before", call.args[1:], call.kwargs))
        try:
            result = yield
        except BaseException as error:
            self.append(("raised", error))
            raise
        self.append(("after", result))


def chatty(call: Call) -> Watcher:
    yield


def with_fn(function: Callable[..., Any]) -> Any:
    return Conditional(function)


class Conditional:
    """A descriptor that carries its function, as scikit-learn's ``available_if``."""

    def __init__(self, function: Callable[..., Any]) -> None:
        self.fn = function
        self.__doc__ = function.__doc__

    def __get__(self, instance: Any, owner: type | None = None) -> Any:
        if instance is not None and getattr(instance, "closed", False):
            raise AttributeError("not available")
        return functools.partial(self.fn, instance) if instance is not None else self.fn


class Base:
    """What a framework has."""

    def fit(self, X: Any, y: Any = None, *, callbacks: Any = None, **more: Any) -> Any:
        """Learn."""
        return (self, X, y, callbacks, more)

    def fail(self, error: BaseException) -> None:
        raise error

    @classmethod
    def make(cls, *args: Any) -> Any:
        return (cls, *args)

    @staticmethod
    def helper(*args: Any) -> Any:
        return args

    @with_fn
    def guarded(self, X: Any) -> Any:
        return (self, X)

    def __call__(self, X: Any) -> Any:
        return X


class Child(Base):
    """One that inherits."""

    def fit(self, X: Any, y: Any = None, **more: Any) -> Any:
        return super().fit(X, y, **more)


class Grandchild(Child):
    """One that inherits all of it."""
