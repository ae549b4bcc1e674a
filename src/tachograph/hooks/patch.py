"""Hooks: how a plug-in listens to its framework, and how that is undone.

The original is called once, with the caller's own arguments, and the caller gets its own result or exception. A wrapper
is a generator that only watches: it can't swallow, repeat or replace anything; its faults stay in ``guard``.
"""

from __future__ import annotations

import copy
import functools
from collections.abc import Callable
from types import FunctionType, ModuleType
from typing import Any

from tachograph import guard
from tachograph.hooks.call import Call, with_argument
from tachograph.hooks.watch import Watcher, conduct
from tachograph.record import open_runs
from tachograph.trampoline import divert, stand_in


def _nothing(*args: Any, **kwargs: Any) -> None:
    """Nobody listens."""


class Hooks:
    """One plug-in's hooks. ``enabled`` says whether it may listen to the call at hand."""

    def __init__(self, plugin: str, enabled: Callable[[str], bool] = lambda plugin: True) -> None:
        self.plugin = plugin
        self._enabled = enabled
        self._undo: list[Callable[[], None]] = []
        self.on = True

    def listening(self) -> bool:
        """Whether a call made now is to be listened to."""
        return self.on and self._enabled(self.plugin)

    def native(self, handle: Any) -> None:
        """Keep the handle of a hook of the framework's own; it is undone by its ``remove()``, or by calling it."""
        self._undo.append(getattr(handle, "remove", handle))

    def around(self, owner: Any, name: str, wrapper: Callable[[Call], Watcher]) -> None:
        """Watch each call of ``owner.name``, where ``owner`` is a class or a module.

        ``wrapper(call)`` is a generator: it notes the arguments, yields once, and is sent the result, or has the
        exception thrown in. A module's function is watched for everybody who holds it, under whatever name.
        """
        site = f"{self.plugin}: {getattr(owner, '__name__', owner)}.{name}"

        def watched(original: Callable[..., Any]) -> Callable[..., Any]:
            def call(*args: Any, **kwargs: Any) -> Any:
                __tracebackhide__ = True
                if not self.listening():
                    return original(*args, **kwargs)
                return conduct(wrapper, site, original, *args, **kwargs)

            return stand_in(call, original)

        self.replace(owner, name, watched)

    def inject(
        self,
        owner: Any,
        name: str,
        *,
        argument: str,
        make: Callable[[Call], Any],
        combine: Callable[[Any, Any], Any] | None = None,
    ) -> None:
        """Add a callback to each call of ``owner.name``: ``make(call)`` gives it, or None for this call.

        The caller's list in ``argument`` is copied, never changed. Where the argument is no list, ``combine(given,
        callback)`` makes its new value; where it was left out, ``given`` is its default. A framework with a single
        callable gets one that calls both. What the framework calls of the callback is to be decorated with
        :func:`tachograph.hooks.shield`.
        """
        site = f"{self.plugin}: {getattr(owner, '__name__', owner)}.{name}"

        def injected(original: Callable[..., Any]) -> Callable[..., Any]:
            def call(*args: Any, **kwargs: Any) -> Any:
                __tracebackhide__ = True
                if self.listening():
                    with guard.contained(site, open_runs.here()):
                        args, kwargs = _with_callback(Call(original, args, kwargs), argument, make, combine or _append)
                return original(*args, **kwargs)

            return stand_in(call, original)

        self.replace(owner, name, injected)

    def listen(
        self,
        owner: Any,
        name: str,
        *,
        before: Callable[..., Any] = _nothing,
        after: Callable[[Any, Any], object] = _nothing,
        raised: Callable[[Any, BaseException], object] = _nothing,
    ) -> None:
        """:meth:`around` for what is called at every step, where a generator would cost too much.

        ``before`` is called with the arguments, then the original, then ``after(noted, result)`` with what ``before``
        gave, or ``raised(noted, error)``.
        """
        site = f"{self.plugin}: {getattr(owner, '__name__', owner)}.{name}"

        def listened(original: Callable[..., Any]) -> Callable[..., Any]:
            # As few calls as can be: each of them is made at every step.
            def call(*args: Any, **kwargs: Any) -> Any:
                __tracebackhide__ = True
                if self.on:
                    try:
                        before(*args, **kwargs)
                    except guard.FAULTS as error:
                        guard.fault(site, error, open_runs.here())
                return original(*args, **kwargs)

            def call_and_hear(*args: Any, **kwargs: Any) -> Any:
                __tracebackhide__ = True
                noted = self._heard(site, before, *args, **kwargs)
                try:
                    result = original(*args, **kwargs)
                except BaseException as error:
                    self._heard(site, raised, noted, error)
                    raise
                self._heard(site, after, noted, result)
                return result

            before_only = after is _nothing and raised is _nothing
            return stand_in(call if before_only else call_and_hear, original)

        self.replace(owner, name, listened)

    def _heard(self, site: str, listener: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Any:
        if not self.on:
            return None
        try:
            return listener(*args, **kwargs)
        except guard.FAULTS as error:  # guard.contained costs as much as all the rest
            guard.fault(site, error, open_runs.here())
            return None

    def undo(self) -> None:
        """Remove every hook, the last one first. One that others have wrapped since stays inside, and idle."""
        self.on = False
        while self._undo:
            with guard.contained(f"{self.plugin}: undo"):
                self._undo.pop()()

    def settle(self) -> None:
        """Does nothing. Plug-ins that were written for earlier versions call it when all is hooked."""

    # -- replacing attributes --

    def replace(self, owner: Any, name: str, wrap: Callable[[Callable[..., Any]], Callable[..., Any]]) -> None:
        """Replace ``owner.name`` by ``wrap(original)``, for what even :meth:`listen` is too slow for.

        The replacement itself has to heed :attr:`on`, and to contain its faults.
        """
        inherited = name not in vars(owner)
        original = _static(owner, name) if inherited else vars(owner)[name]
        if isinstance(owner, ModuleType) and isinstance(original, FunctionType):
            self._undo.append(divert(original, wrap))
            return
        replacement = _rewrap(original, wrap)
        setattr(owner, name, replacement)
        self._undo.append(functools.partial(_restore, owner, name, original, replacement, inherited))


_MISSING = object()


def _static(owner: Any, name: str) -> Any:
    import inspect  # takes a while to import, and is seldom needed

    attribute = inspect.getattr_static(owner, name, _MISSING)
    if attribute is _MISSING:
        raise AttributeError(f"{getattr(owner, '__name__', owner)} has no {name!r} that could be hooked")
    return attribute


def _rewrap(original: Any, wrap: Callable[[Callable[..., Any]], Callable[..., Any]]) -> Any:
    """``original`` with the function inside it wrapped: a plain one, or one in a descriptor."""
    if isinstance(original, staticmethod | classmethod):
        return type(original)(wrap(original.__func__))
    inner = getattr(original, "fn", None)
    if callable(inner) and hasattr(type(original), "__get__"):  # a descriptor that carries its function
        replacement = copy.copy(original)
        replacement.fn = wrap(inner)
        return replacement
    if not callable(original):
        raise TypeError(f"{original!r} is no function that could be hooked")
    return wrap(original)


def _restore(owner: Any, name: str, original: Any, replacement: Any, inherited: bool) -> None:
    if vars(owner).get(name) is not replacement:
        return
    if inherited:
        delattr(owner, name)
    else:
        setattr(owner, name, original)


def _with_callback(
    call: Call, argument: str, make: Callable[[Call], Any], combine: Callable[[Any, Any], Any]
) -> tuple[tuple[Any, ...], dict[str, Any]]:
    callback = make(call)
    if callback is None:
        return call.args, call.kwargs
    return with_argument(call, argument, combine(call.argument(argument, None), callback))


def _append(callbacks: Any, callback: Any) -> list[Any]:
    return [*(callbacks or ()), callback]
