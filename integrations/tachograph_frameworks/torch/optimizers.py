"""Optimizers and schedulers: their settings, and the learning rate of each group of parameters."""

from __future__ import annotations

import weakref
from typing import Any

from torch import Tensor
from torch.optim import Optimizer

from tachograph_frameworks.torch.quick import short

_MOST_GROUPS = 20  # whose learning rates are recorded


def unwrapped(optimizer: Optimizer) -> Optimizer:
    """The optimizer that makes the steps, inside of what Fabric or Accelerate put around it."""
    inner = getattr(optimizer, "optimizer", None)
    return unwrapped(inner) if isinstance(inner, Optimizer) else optimizer


class Slot(short.Slot):
    """An optimizer, the variable that holds it, and how many steps it has made.

    ``name`` is the variable, or None for the only one: its rate is plainly ``lr``. ``optimizer`` is a weak reference,
    ``id`` the optimizer's while it lives. ``rates`` is what the learning rates of its groups are called.
    """

    __slots__ = ("name", "optimizer", "rates", "variable")

    def __init__(self, optimizer: Optimizer, variable: str, name: str | None, steps: int) -> None:
        self.optimizer = weakref.ref(optimizer, self._gone)
        self.id = id(optimizer)
        self.variable, self.name, self.steps, self.every = variable, name, steps, 1
        base = "lr" if name is None else f"lr/{name}"
        groups = optimizer.param_groups[:_MOST_GROUPS]
        names = [base] if len(groups) == 1 else [f"{base}/{_group_name(*pair)}" for pair in enumerate(groups)]
        self.rates = names if "lr" in groups[0] else []
        self.rate = self.rates[0] if len(self.rates) == 1 else None

    def _gone(self, _: object) -> None:
        self.id = 0  # another may get it


def _group_name(index: int, group: dict[str, Any]) -> str:
    return str(group.get("name", index))


def params(optimizer: Optimizer) -> dict[str, Any]:
    """Its class and settings; of further groups only what differs from the first."""
    first, *others = [_settings(group) for group in optimizer.param_groups]
    found = {"class": _class(optimizer), **first}
    for index, (group, settings) in enumerate(zip(optimizer.param_groups[1:], others, strict=True), start=1):
        differing = {name: value for name, value in settings.items() if value != first.get(name)}
        if differing and index < _MOST_GROUPS:
            found[f"group.{_group_name(index, group)}"] = differing
    return found


def scheduler_params(scheduler: Any) -> dict[str, Any]:
    """Its class and settings."""
    state = {name: value for name, value in vars(scheduler).items() if not name.startswith("_")}
    changing = ("last_epoch", "optimizer", "verbose", "num_bad_epochs", "best", "cooldown_counter")
    plain = {name: _plain(value) for name, value in state.items() if name not in changing}
    return {"class": _class(scheduler), **{name: value for name, value in plain.items() if value is not None}}


def _settings(group: dict[str, Any]) -> dict[str, Any]:
    plain = {name: _plain(value) for name, value in group.items() if name not in ("params", "param_names")}
    return {name: value for name, value in plain.items() if value is not None}


def _plain(value: Any) -> Any:
    """A setting that can be read without asking a device; None for anything else."""
    if isinstance(value, Tensor):
        return float(value) if value.device.type == "cpu" and value.numel() == 1 else None
    if isinstance(value, list | tuple):
        items = [_plain(item) for item in value]
        return None if None in items else items
    return value if isinstance(value, bool | int | float | str) else None


def _class(value: Any) -> str:
    return type(value).__name__
