"""Learning that a module was imported, whichever comes first.

An import finder that finds nothing itself stands in front of the others: when a module is loaded that somebody waits
for, they are told right after its code has run. The well-known library for this takes longer to import than all of
``autolog()`` may take.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from functools import partial
from importlib.machinery import ModuleSpec
from types import ModuleType
from typing import Any

from tachograph import guard

Told = Callable[[], None]


def when_imported(name: str, then: Told) -> Callable[[], None]:
    """Call ``then`` once the module ``name`` is loaded: now, if it is already. What it gives takes that back."""
    if is_loaded(name):
        then()
        return lambda: None
    _trigger.waiting.setdefault(name, []).append(then)
    if _trigger not in sys.meta_path:
        sys.meta_path.insert(0, _trigger)
    return partial(_no_longer, name, then)


def _no_longer(name: str, then: Told) -> None:
    waiting = _trigger.waiting.get(name, [])
    if then in waiting:
        waiting.remove(then)
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
    """The finder."""

    def __init__(self) -> None:
        self.waiting: dict[str, list[Told]] = {}

    def find_spec(self, name: str, path: Any = None, target: Any = None) -> ModuleSpec | None:
        if name not in self.waiting:
            return None
        spec = _next_spec(self, name, path, target)
        if spec is not None and hasattr(spec.loader, "exec_module"):
            spec.loader = _Telling(spec.loader, partial(self._tell, name))  # type: ignore[assignment]
        return spec

    def _tell(self, name: str) -> None:
        for then in self.waiting.pop(name, []):
            with guard.contained(f"import of {name}"):
                then()


class _Telling:
    """Stands before a loader for one import, and tells when the module's code has run. The module never sees it."""

    def __init__(self, loader: Any, tell: Told) -> None:
        self._loader, self._tell = loader, tell

    def __getattr__(self, name: str) -> Any:
        return getattr(self._loader, name)

    def exec_module(self, module: ModuleType) -> None:
        module.__loader__ = self._loader
        if module.__spec__ is not None:
            module.__spec__.loader = self._loader
        self._loader.exec_module(module)
        self._tell()


def _next_spec(trigger: _Trigger, name: str, path: Any, target: Any) -> ModuleSpec | None:
    """What the other finders say: no second search through the import system, which might be locked."""
    for finder in sys.meta_path:
        if finder is trigger or not hasattr(finder, "find_spec"):
            continue
        spec = finder.find_spec(name, path, target)
        if spec is not None:
            return spec
    return None


_trigger: Any = _Trigger()
