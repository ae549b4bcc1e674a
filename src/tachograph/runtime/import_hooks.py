"""Calling back when a module is imported, or at once where it is already.

An import finder that finds nothing itself stands in front of the others: when a module is loaded that somebody waits
for, they are called back right after its code has run. The well-known library for this takes longer to import than all
of ``autolog()`` may take.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from functools import partial
from importlib.machinery import ModuleSpec
from types import ModuleType
from typing import Any

from tachograph import guard

Callback = Callable[[], None]


def when_imported(name: str, callback: Callback) -> Callable[[], None]:
    """Call ``callback`` once the module ``name`` is loaded: now, if it is already. Returns a function that cancels."""
    if is_loaded(name):
        callback()
        return lambda: None
    _trigger.waiting.setdefault(name, []).append(callback)
    if _trigger not in sys.meta_path:
        sys.meta_path.insert(0, _trigger)
    return partial(_cancel, name, callback)


def _cancel(name: str, callback: Callback) -> None:
    waiting = _trigger.waiting.get(name, [])
    if callback in waiting:
        waiting.remove(callback)
    if not waiting:
        _trigger.waiting.pop(name, None)
    if not _trigger.waiting and _trigger in sys.meta_path:
        sys.meta_path.remove(_trigger)


def is_loaded(name: str) -> bool:
    """Whether a module is imported. In the middle of its own import it is not ready to be hooked."""
    return name in sys.modules and sys.modules[name] is not None and not is_being_loaded(name)


def is_being_loaded(name: str) -> bool:
    """Whether a module is in the middle of its own import."""
    return bool(getattr(getattr(sys.modules.get(name), "__spec__", None), "_initializing", False))


class _Trigger:
    """The finder that finds nothing itself; ``waiting`` has the callbacks by the module that they wait for."""

    def __init__(self) -> None:
        self.waiting: dict[str, list[Callback]] = {}

    def find_spec(self, name: str, path: Any = None, target: Any = None) -> ModuleSpec | None:
        if name not in self.waiting:
            return None
        spec = _next_spec(self, name, path, target)
        if spec is not None and hasattr(spec.loader, "exec_module"):
            spec.loader = _NotifyingLoader(spec.loader, partial(self._notify, name))  # type: ignore[assignment]
        return spec

    def _notify(self, name: str) -> None:
        for callback in self.waiting.pop(name, []):
            with guard.contained(f"import of {name}"):
                callback()


class _NotifyingLoader:
    """Stands before a loader for one import, and calls ``notify`` when the module's code has run. The module never sees
    it."""

    def __init__(self, loader: Any, notify: Callback) -> None:
        self._loader, self._notify = loader, notify

    def __getattr__(self, name: str) -> Any:
        return getattr(self._loader, name)

    def exec_module(self, module: ModuleType) -> None:
        module.__loader__ = self._loader
        if module.__spec__ is not None:
            module.__spec__.loader = self._loader
        self._loader.exec_module(module)
        self._notify()


def _next_spec(trigger: _Trigger, name: str, path: Any, target: Any) -> ModuleSpec | None:
    """The spec that the other finders give. The import system, which might be locked, is not asked a second time."""
    for finder in sys.meta_path:
        if finder is trigger or not hasattr(finder, "find_spec"):
            continue
        spec = finder.find_spec(name, path, target)
        if spec is not None:
            return spec
    return None


_trigger: Any = _Trigger()
