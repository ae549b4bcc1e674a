"""``watch``: the explicit form, without autolog."""

from __future__ import annotations

import weakref
from types import TracebackType

from torch import nn
from torch.optim import Optimizer

from tachograph import settings
from tachograph.hooks import Hooks, plugins, session
from tachograph_frameworks.torch.loop import NAME, Loop
from tachograph_frameworks.torch.user_variables import Sight

_loops: weakref.WeakKeyDictionary[Hooks, Loop] = weakref.WeakKeyDictionary()
_own_hooks: Hooks | None = None


class Watching:
    """What is watched. ``stop()`` ends that, and the run that was opened for it; so does leaving its ``with``."""

    def __init__(self, hooks: Hooks, loop: Loop) -> None:
        self._hooks, self._loop = hooks, loop

    def stop(self) -> None:
        """Watch no longer."""
        self._stop(None)

    def _stop(self, error: BaseException | None) -> None:
        global _own_hooks
        self._loop.end(error)
        if self._hooks is _own_hooks:
            _own_hooks = None
            self._hooks.undo()

    def __enter__(self) -> Watching:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stop(error)


def install(hooks: Hooks) -> Loop:
    """Listen to loops; ``watch`` adds to the same."""
    loop = _loops[hooks] = Loop()
    loop.install(hooks)
    return loop


def watch(*objects: nn.Module | Optimizer, gradient_norm: bool = False) -> Watching:
    """Record a plain loop: its models and optimizers are named, in any order.

    Losses, learning rates, epochs and the rest are recorded as autolog records them, to the run that is open, else to
    one that is opened with the first ``backward`` and ended by ``stop()``, by the end of a ``with`` block around the
    loop, or with the process. Steps of other optimizers are left out. ``gradient_norm`` records the 2-norm of all
    gradients at each step, as ``grad_norm``. Together with autolog no point is recorded twice.

    Raises TypeError for what is neither a module nor an optimizer.
    """
    for item in objects:
        if not isinstance(item, nn.Module | Optimizer):
            raise TypeError(f"watch takes modules and optimizers, not {type(item).__name__}")
    if settings.off():
        return Watching(Hooks(NAME), Loop())
    hooks, loop = _listening()
    sight = Sight(nn.Module)
    for number, item in enumerate(objects):
        if isinstance(item, nn.Module):
            loop.models[sight.name(item) or f"model_{number}"] = item
        elif loop.only is not None:
            loop.only.add(item)
    loop.gradient_norm = loop.gradient_norm or gradient_norm
    return Watching(hooks, loop)


def _listening() -> tuple[Hooks, Loop]:
    """The hooks of autolog where it is on, else our own."""
    global _own_hooks
    autolog_hooks = plugins.installed()[NAME].hooks if NAME in plugins.installed() else None
    if autolog_hooks is not None and autolog_hooks in _loops:
        return autolog_hooks, _loops[autolog_hooks]
    if _own_hooks is None:
        _own_hooks = Hooks(NAME, session.enabled)
        install(_own_hooks).only = weakref.WeakSet()
    return _own_hooks, _loops[_own_hooks]
