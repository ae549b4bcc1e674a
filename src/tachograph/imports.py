"""Learning that a module was imported, whichever comes first.

An import finder that finds nothing itself stands in front of the others: when a module is loaded that somebody waits
for, they are told right after its code has run. The well-known library for this takes longer to import than all of
``autolog()`` may take.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from importlib.machinery import ModuleSpec
from types import ModuleType
from typing import Any

from tachograph import guard


def when_imported(name: str, then: Callable[[], None]) -> None:
    """Call ``then`` once the module ``name`` is loaded: now, if it is already."""
    if _is_loaded(name):
        then()
        return
    _trigger.waiting[name] = then
    if _trigger not in sys.meta_path:
        sys.meta_path.insert(0, _trigger)


def no_longer(name: str) -> None:
    """Nobody waits for ``name`` any more."""
    _trigger.waiting.pop(name, None)
    if not _trigger.waiting and _trigger in sys.meta_path:
        sys.meta_path.remove(_trigger)


def _is_loaded(name: str) -> bool:
    module = sys.modules.get(name)
    # A module in the middle of its own import is not ready to be hooked.
    return module is not None and not getattr(getattr(module, "__spec__", None), "_initializing", False)


class _Trigger:
    """The finder."""

    def __init__(self) -> None:
        self.waiting: dict[str, Callable[[], None]] = {}

    def find_spec(self, name: str, path: Any = None, target: Any = None) -> ModuleSpec | None:
        if name not in self.waiting:
            return None
        spec = _next_spec(self, name, path, target)
        execute = getattr(getattr(spec, "loader", None), "exec_module", None)
        if spec is None or execute is None:
            return spec
        loader: Any = spec.loader

        def execute_and_tell(module: ModuleType) -> None:
            del loader.exec_module  # the loader is itself again before anybody can look at it
            execute(module)
            then = self.waiting.pop(name, None)
            if then is not None:
                with guard.contained(f"import of {name}"):
                    then()

        loader.exec_module = execute_and_tell
        return spec


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
