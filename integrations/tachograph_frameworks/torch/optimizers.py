"""Optimizers and schedulers: their settings, and the wrappers that are put around optimizers."""

from __future__ import annotations

from typing import Any

from torch import Tensor
from torch.optim import Optimizer

from tachograph_frameworks.torch.user_variables import Sight, VariablePath, parts

MOST_GROUPS = 20  # whose learning rates are recorded
_WRAPPING_LIBRARIES = {"accelerate", "lightning", "lightning_fabric", "pytorch_lightning", "deepspeed", "apex"}


def prefix(path: VariablePath | None) -> str | None:
    """What comes before a name beside the optimizer: ``a.`` where that is ``a.opt``."""
    if path is None or path.is_item or "." not in path.name:
        return None
    return path.name.rpartition(".")[0] + "."


def outer_of(optimizer: Optimizer, sight: Sight) -> Optimizer:
    """The user's optimizer around the one that makes the steps, as SAM and Lookahead are; else the same one."""
    around = [other for other in sight.of(Optimizer) if _inner(other) == [optimizer]]
    return outer_of(around[0], sight) if around else optimizer


def unwrapped(optimizer: Optimizer) -> Optimizer:
    """The optimizer inside of what a library such as Fabric or Accelerate has put around it."""
    if type(optimizer).__module__.partition(".")[0] not in _WRAPPING_LIBRARIES:
        return optimizer
    inner = getattr(optimizer, "optimizer", None)
    return unwrapped(inner) if isinstance(inner, Optimizer) else optimizer


def _inner(optimizer: Optimizer) -> list[Optimizer]:
    """The optimizers in another one's attributes, each once."""
    inner = [part for _, part, _ in parts(optimizer) if isinstance(part, Optimizer) and part is not optimizer]
    return list({id(part): part for part in inner}.values())


def group_name(index: int, group: dict[str, Any]) -> str:
    """The name of a group of parameters: the user's, else its number."""
    return str(group.get("name", index))


def params(optimizer: Optimizer) -> dict[str, Any]:
    """An optimizer's class and settings; of further groups only what differs from the first."""
    first, *others = [_settings(group) for group in optimizer.param_groups]
    settings = {"class": _class(optimizer), **first}
    for index, (group, other) in enumerate(zip(optimizer.param_groups[1:], others, strict=True), start=1):
        differing = {name: value for name, value in other.items() if value != first.get(name)}
        if differing and index < MOST_GROUPS:
            settings[f"group.{group_name(index, group)}"] = differing
    return settings


def scheduler_params(scheduler: Any) -> dict[str, Any]:
    """A scheduler's class and settings."""
    state = {name: value for name, value in vars(scheduler).items() if not name.startswith("_")}
    changing = ("last_epoch", "optimizer", "verbose", "num_bad_epochs", "best", "cooldown_counter")
    plain = {name: _plain(value) for name, value in state.items() if name not in changing}
    return {"class": _class(scheduler), **{name: value for name, value in plain.items() if value is not None}}


def _settings(group: dict[str, Any]) -> dict[str, Any]:
    plain = {name: _plain(value) for name, value in group.items() if name not in ("params", "param_names")}
    return {name: value for name, value in plain.items() if value is not None}


def _plain(value: Any) -> Any:
    """A setting as a plain value, if it can be read without asking a device; else None."""
    if isinstance(value, Tensor):
        return float(value) if value.device.type == "cpu" and value.numel() == 1 else None
    if isinstance(value, list | tuple):
        items = [_plain(item) for item in value]
        return None if None in items else items
    return value if isinstance(value, bool | int | float | str) else None


def _class(value: Any) -> str:
    return type(value).__name__
