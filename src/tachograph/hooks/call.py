"""One call of a hooked function, and its arguments by name."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any


class Call:
    """One call of a hooked function: what it was called with."""

    __slots__ = ("args", "function", "kwargs")

    def __init__(self, function: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        self.function, self.args, self.kwargs = function, args, kwargs

    @property
    def instance(self) -> Any:
        """The object whose method was called."""
        return self.args[0]

    def argument(self, name: str, default: Any = None) -> Any:
        """The argument ``name``, given by position or by keyword; else ``default``."""
        if name in self.kwargs:
            return self.kwargs[name]
        position = _positions(self.function).get(name)
        return default if position is None or position >= len(self.args) else self.args[position]


def with_argument(call: Call, name: str, value: Any) -> tuple[tuple[Any, ...], dict[str, Any]]:
    """The arguments of ``call`` with ``value`` as the argument ``name``. Raises TypeError if there is none."""
    position = _positions(call.function).get(name)
    if name not in call.kwargs and position is not None and position < len(call.args):
        return (*call.args[:position], value, *call.args[position + 1 :]), call.kwargs
    if not _takes_keyword(call.function, name):
        raise TypeError(f"{call.function.__name__} takes no argument {name!r}")
    return call.args, {**call.kwargs, name: value}


def _positions(function: Callable[..., Any]) -> dict[str, int]:
    """Where each parameter stands that can be given by position."""
    return {name: index for index, (name, kind) in enumerate(_parameters(function).items()) if kind <= _EITHER_WAY}


def _takes_keyword(function: Callable[..., Any], name: str) -> bool:
    """Whether ``function`` may be called with ``name=``; assumed where nothing is known of its parameters."""
    parameters = _parameters(function)
    named = parameters.get(name) in (_EITHER_WAY, _BY_KEYWORD)
    return named or _ANY_KEYWORD in parameters.values() or not parameters


_EITHER_WAY, _BY_KEYWORD, _ANY_KEYWORD = 1, 3, 4  # as ``inspect.Parameter`` numbers them


def _parameters(function: Callable[..., Any]) -> dict[str, int]:
    """The kind of each parameter; none for a function, written in C, that has no signature."""
    try:
        return _inspected(function)
    except TypeError:  # the function can't be hashed
        return _inspected.__wrapped__(function)


@functools.lru_cache(maxsize=4096)
def _inspected(function: Callable[..., Any]) -> dict[str, int]:
    import inspect

    try:
        return {name: int(parameter.kind) for name, parameter in inspect.signature(function).parameters.items()}
    except (TypeError, ValueError):
        return {}
