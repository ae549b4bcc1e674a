"""Lightning's two packages: the same code, twice, with classes of its own in each."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from importlib import import_module
from typing import Any

from tachograph.runtime import import_hooks

NAMES = {"lightning": "lightning.pytorch", "pytorch_lightning": "pytorch_lightning"}


class Package:
    """One of the two, by the name of its distribution's package: "lightning" or "pytorch_lightning"."""

    def __init__(self, name: str) -> None:
        self._root = NAMES.get(name, NAMES["lightning"])

    def find(self, module: str, name: str) -> Any:
        """The object ``name`` in one of the package's modules."""
        return getattr(import_module(f"{self._root}.{module}"), name)

    @property
    def trainer(self) -> Any:
        """The class of its trainers."""
        return self.find("trainer.trainer", "Trainer")


def name_of(trainer: Any) -> str:
    """Which of the two a trainer comes from."""
    modules = {kind.__module__.partition(".")[0] for kind in type(trainer).__mro__}
    return next(name for name in NAMES if name in modules)


def when_imported(then: Callable[[Package], None]) -> None:
    """Call ``then`` with each of the two once it is imported: now, if it is already."""
    for name in NAMES:
        import_hooks.when_imported(name, partial(_call, then, name))


def _call(then: Callable[[Package], None], name: str) -> None:
    then(Package(name))
