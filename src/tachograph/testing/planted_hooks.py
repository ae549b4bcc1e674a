"""Hooks in place of a plug-in's own: they note what it hooks, or fail where it listens."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import CodeType, FunctionType, ModuleType
from typing import Any
from unittest import mock

from tachograph.hooks import Call, Hooks, Watcher, session
from tachograph.hooks.call import has_argument, parameters


class NotingHooks(Hooks):
    """Hooks that note what is hooked, and what of it is called."""

    def __init__(self, plugin: str) -> None:
        super().__init__(plugin)
        self.hooked: list[tuple[Any, str]] = []
        self.called: dict[tuple[int, str], tuple[Any, str]] = {}
        self.combined: dict[tuple[int, str], str] = {}  # arguments in whose place the plug-in puts something else
        self.injects = False
        self.natives = 0

    def called_methods(self) -> list[tuple[Any, str]]:
        """Those of the hooked methods of classes that were called."""
        return [(owner, name) for owner, name in self.called.values() if isinstance(owner, type)]

    def hooked_attributes(self) -> Iterator[tuple[str, Callable[[], Any]]]:
        """Every attribute that is hooked, by its name for people, and a function that reads it."""
        for owner, name in self.hooked:
            where = f"{owner.__name__}.{name}"
            yield where, functools.partial(vars(owner).get, name)
            if isinstance(owner, ModuleType):
                yield f"{where}.__code__", functools.partial(getattr, vars(owner)[name], "__code__", None)

    def native(self, handle: Any) -> None:
        self.natives += 1
        super().native(handle)

    def replace(self, owner: Any, name: str, wrap: Callable[[Callable[..., Any]], Callable[..., Any]]) -> None:
        self.hooked.append((owner, name))
        super().replace(owner, name, wrap)

    def around(self, owner: Any, name: str, wrapper: Callable[[Call], Watcher]) -> None:
        def noting(call: Call) -> Watcher:
            self.called[id(owner), name] = (owner, name)
            yield

        super().around(owner, name, noting)

    def inject(self, owner: Any, name: str, **how: Any) -> None:
        def noting(call: Call) -> None:
            self.called[id(owner), name] = (owner, name)

        self.injects = True
        if how.get("combine") is not None:
            self.combined[id(owner), name] = how["argument"]
        super().inject(owner, name, **{**how, "make": noting})

    def listen(self, owner: Any, name: str, **how: Any) -> None:
        def noting(*args: Any, **kwargs: Any) -> None:
            self.called[id(owner), name] = (owner, name)

        super().listen(owner, name, before=noting)


class FaultyHooks(Hooks):
    """Hooks whose every wrapper fails: ``spot`` says whether "before" the call or "after" it."""

    def __init__(self, plugin: str, spot: str) -> None:
        super().__init__(plugin, session.enabled)
        self.planted = 0
        self._spot = spot

    def around(self, owner: Any, name: str, wrapper: Callable[[Call], Watcher]) -> None:
        def faulty(call: Call) -> Watcher:
            self.planted += 1
            if self._spot == "before":
                raise RuntimeError("planted")
            yield
            raise RuntimeError("planted")

        super().around(owner, name, faulty)

    def inject(self, owner: Any, name: str, **how: Any) -> None:
        def faulty(call: Call) -> None:
            self.planted += 1
            raise RuntimeError("planted")

        super().inject(owner, name, **{**how, "make": faulty})

    def listen(self, owner: Any, name: str, **how: Any) -> None:
        def faulty(*args: Any, **kwargs: Any) -> None:
            self.planted += 1
            raise RuntimeError("planted")

        super().listen(owner, name, **({"before": faulty} if self._spot == "before" else {"after": faulty}))


class CallbackHooks(Hooks):
    """Hooks that remember the functions of the callbacks that they put in: what the framework will call."""

    def __init__(self, plugin: str) -> None:
        super().__init__(plugin, session.enabled)
        self.functions: set[CodeType] = set()

    def inject(self, owner: Any, name: str, *, make: Callable[[Call], Any], **how: Any) -> None:
        def noting(call: Call) -> Any:
            callback = make(call)
            attributes = [callback] if isinstance(callback, FunctionType) else vars(type(callback)).values()
            functions = (inspect.unwrap(function) for function in attributes if isinstance(function, FunctionType))
            self.functions |= {function.__code__ for function in functions if not function.__name__.startswith("__")}
            return callback

        super().inject(owner, name, make=noting, **how)


@contextmanager
def existing_arguments() -> Iterator[None]:
    """Inside, a plug-in may ask for the arguments that a function has; for others only where it names a default."""
    plain = Call.argument

    def argument(call: Call, name: str, *default: Any) -> Any:
        function = call.function
        assert default or has_argument(function, name), (
            f"{function.__qualname__} has no argument {name!r}: it has {', '.join(parameters(function))}. For one that "
            f"it has in some versions only, say what else to take: call.argument({name!r}, None)"
        )
        return plain(call, name, *default)

    with mock.patch.object(Call, "argument", argument):
        yield
