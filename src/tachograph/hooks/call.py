"""One call of a hooked function, and its arguments by name."""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from inspect import Parameter


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
        """The argument ``name``: as it was given, by position or by keyword, else the function's own default of it.

        ``default`` is for a function that has no such argument, or none in some versions of its framework.
        """
        if name in self.kwargs:
            return self.kwargs[name]
        position = _positions(self.function).get(name)
        if position is not None and position < len(self.args):
            return self.args[position]
        parameter = parameters(self.function).get(name)
        return default if parameter is None or parameter.default is parameter.empty else parameter.default


def with_argument(call: Call, name: str, value: Any) -> tuple[tuple[Any, ...], dict[str, Any]]:
    """The arguments of ``call`` with ``value`` as the argument ``name``. Raises TypeError if there is none."""
    position = _positions(call.function).get(name)
    if name not in call.kwargs and position is not None and position < len(call.args):
        return (*call.args[:position], value, *call.args[position + 1 :]), call.kwargs
    if not _takes_keyword(call.function, name):
        raise TypeError(f"{call.function.__name__} takes no argument {name!r}")
    return call.args, {**call.kwargs, name: value}


def has_argument(function: Callable[..., Any], name: str) -> bool:
    """Whether ``function`` takes ``name``, by position or by keyword; assumed where its parameters aren't known."""
    return name in _positions(function) or _takes_keyword(function, name)


def _positions(function: Callable[..., Any]) -> dict[str, int]:
    """Where each parameter stands that can be given by position."""
    return {
        name: index
        for index, (name, parameter) in enumerate(parameters(function).items())
        if parameter.kind <= _EITHER_WAY
    }


def _takes_keyword(function: Callable[..., Any], name: str) -> bool:
    """Whether ``function`` may be called with ``name=``; assumed where nothing is known of its parameters."""
    kinds = {parameter.name: parameter.kind for parameter in parameters(function).values()}
    return kinds.get(name) in (_EITHER_WAY, _BY_KEYWORD) or _ANY_KEYWORD in kinds.values() or not kinds


_EITHER_WAY, _BY_KEYWORD, _ANY_KEYWORD = 1, 3, 4  # as ``inspect.Parameter`` numbers them


def parameters(function: Callable[..., Any]) -> Mapping[str, Parameter]:
    """The parameters by their names; none of a function, written in C, that has no signature."""
    try:
        return _inspected(function)
    except TypeError:  # the function can't be hashed
        return _inspected.__wrapped__(function)


@functools.lru_cache(maxsize=4096)
def _inspected(function: Callable[..., Any]) -> Mapping[str, Parameter]:
    import inspect

    try:
        return inspect.signature(function).parameters
    except (TypeError, ValueError):
        return {}
