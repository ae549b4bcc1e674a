"""Optimizers and schedulers: their settings, and the learning rate of each group of parameters."""

from __future__ import annotations

import weakref
from typing import Any

from torch import Tensor
from torch.optim import Optimizer

from tachograph_frameworks.torch import hot_path
from tachograph_frameworks.torch.user_variables import Place, Sight, Way, parts

_MOST_GROUPS = 20  # whose learning rates are recorded
_LIBRARIES = {"accelerate", "lightning", "lightning_fabric", "pytorch_lightning", "deepspeed", "apex"}


class Slot(hot_path.Slot):
    """What is counted and recorded of an optimizer: its steps, under names of their own.

    ``optimizer`` is a weak reference to the one that makes the steps, and ``face`` to the user's one around it, or to
    the same; ``id`` is the first's while it lives. ``name`` is the user's variable, ``label`` what tells its curves and
    params from others' (None for a single one). ``rates`` is what the learning rates of its groups are called, and
    ``curves`` what each loss is. ``place`` is the function and the variable where it was found.
    """

    __slots__ = ("base", "face", "label", "name", "optimizer", "place", "prefix", "rates", "settings")

    def __init__(self, name: str, label: str | None, steps: int) -> None:
        self.name, self.label = name, label
        self.base = "lr" if label is None else f"lr/{label}"
        self.prefix: str | None = None  # of losses, where others train by the same code: ``a.``
        self.steps, self.every = steps, 1
        self.curves: dict[str, str] = {}
        self.rates: list[str] = []
        self.rate: str | None = None
        self.place: Place | None = None
        self.settings: dict[str, Any] = {}

    def hold(self, optimizer: Optimizer, face: Optimizer) -> None:
        """Count the steps of this one, from now on."""
        self.optimizer, self.face = weakref.ref(optimizer, self._gone), weakref.ref(face)
        self.id = id(optimizer)
        self.name_rates(optimizer)

    def _gone(self, reference: object) -> None:
        if reference is self.optimizer:
            self.id = 0  # another may get it

    def name_rates(self, optimizer: Optimizer) -> None:
        """Name the learning rate of each group. Names that were given stay, where groups are added later."""
        groups = optimizer.param_groups[:_MOST_GROUPS]
        given = self.rates[: len(groups)]
        names = [self.base] if len(groups) == 1 else [f"{self.base}/{_group_name(*pair)}" for pair in enumerate(groups)]
        self.rates = given + names[len(given) :] if "lr" in groups[0] else []
        self.rate = self.rates[0] if len(self.rates) == len(optimizer.param_groups) == 1 else None

    def has_groups_of(self, optimizer: Optimizer) -> bool:
        """Whether each group has its name."""
        return not self.rates or len(self.rates) == min(len(optimizer.param_groups), _MOST_GROUPS)

    def own(self, base: str) -> str:
        """The name of a curve of this optimizer's that is to be told from another's: ``a.loss``, ``loss/opt_fine``."""
        return f"{base}/{self.name}" if self.prefix is None else f"{self.prefix}{base}"


def prefix(way: Way | None) -> str | None:
    """What comes before a name beside the optimizer: ``a.`` where that is ``a.opt``."""
    if way is None or way.is_item or "." not in way.name:
        return None
    return way.name.rpartition(".")[0] + "."


def face_of(optimizer: Optimizer, sight: Sight) -> Optimizer:
    """The user's optimizer around the one that makes the steps, as SAM and Lookahead are; else the same one."""
    around = [other for other in sight.of(Optimizer) if _inner(other) == [optimizer]]
    return face_of(around[0], sight) if around else optimizer


def unwrapped(optimizer: Optimizer) -> Optimizer:
    """The optimizer inside of what a library such as Fabric or Accelerate has put around it."""
    if type(optimizer).__module__.partition(".")[0] not in _LIBRARIES:
        return optimizer
    inner = getattr(optimizer, "optimizer", None)
    return unwrapped(inner) if isinstance(inner, Optimizer) else optimizer


def _inner(optimizer: Optimizer) -> list[Optimizer]:
    """The optimizers in another one's attributes, each once."""
    found = [part for _, part, _ in parts(optimizer) if isinstance(part, Optimizer) and part is not optimizer]
    return list({id(part): part for part in found}.values())


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
