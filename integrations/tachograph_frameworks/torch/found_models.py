"""What a plain loop trains, and with what: models, optimizers and schedulers that the user's code holds."""

from __future__ import annotations

import weakref
from collections.abc import Mapping
from typing import Any

from torch import Tensor, nn
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler

from tachograph import guard
from tachograph.record.run import Run
from tachograph_frameworks.torch import module_summary, optimizers
from tachograph_frameworks.torch.curve_names import unique
from tachograph_frameworks.torch.module_weights import save_module
from tachograph_frameworks.torch.slots import Slot
from tachograph_frameworks.torch.user_variables import Sight, value_of

MOST_MODEL_BYTES = 1 << 30
_LARGEST_HELD_BYTES = 64 << 20


class FoundModels:
    """The models that a run's optimizers train, with the optimizers and schedulers themselves, once they have stepped.

    ``named`` are modules that the user named, by name.
    """

    def __init__(self, run: Run, named: Mapping[str, nn.Module]) -> None:
        self._run, self._named = run, named
        self._described: dict[int, weakref.ref[Any]] = {}
        self._taken: set[str] = set()
        self._modules: dict[str, HeldModule] = {}

    def describe(self, slot: Slot, optimizer: Optimizer, sight: Sight) -> None:
        """Record an optimizer that has made its first step, its schedulers, and the models that it trains."""
        outer = slot.outer() or optimizer
        self._set_params(slot, outer)
        schedulers = [other for other in sight.of(LRScheduler) if _schedules(other, outer, optimizer)]
        for name, scheduler in self._name_new("scheduler", slot, schedulers, sight).items():
            self._run.log_params({name: optimizers.scheduler_params(scheduler)})
        self._add_models(slot, optimizer, sight)

    def describe_again(self, slot: Slot, optimizer: Optimizer) -> None:
        """Record what differs in an optimizer that has taken another one's place; it may train another model."""
        self._set_params(slot, optimizer)
        for held in self._modules.values():
            if held.slot is slot:
                held.look_again(optimizer)

    def _set_params(self, slot: Slot, optimizer: Optimizer) -> None:
        settings = optimizers.params(optimizers.unwrapped(optimizer))
        if settings != slot.settings:
            slot.settings = settings
            self._run.log_params({slot.label or "optimizer": settings})

    def regroup(self, slot: Slot, optimizer: Optimizer) -> None:
        """Record the settings again: groups of parameters were added."""
        self._set_params(slot, slot.outer() or optimizer)

    def _add_models(self, slot: Slot, optimizer: Optimizer, sight: Sight) -> None:
        ids = {id(parameter) for group in optimizer.param_groups for parameter in group["params"]}
        seen = {name: module for module in sight.of(nn.Module) if (name := sight.name(module)) is not None}
        candidates = {**seen, **self._named}
        models = module_summary.outermost(
            {name: module for name, module in candidates.items() if any(id(p) in ids for p in module.parameters())}
        )
        names = {id(module): name for name, module in self._named.items()}
        for name, module in self._name_new("model", slot, list(models.values()), sight, names).items():
            self._run.log_params({name: module_summary.params(module)})
            self._modules[name] = HeldModule(module, slot, sight)
            text = module_summary.summary(module)
            self._run.recorder.keep_bytes(text.encode(), f"{name}_summary", "summary", f"{name}_summary.txt")

    def _name_new(
        self, single: str, slot: Slot, values: list[Any], sight: Sight, names: Mapping[int, str] | None = None
    ) -> dict[str, Any]:
        """Those that are not described yet: the only one under ``single``, else under the variables' names."""
        new = [value for value in values if not self._is_described(value)]
        is_single = len(new) == len(values) == 1 and slot.label is None and single not in self._taken
        named: dict[str, Any] = {}
        for value in new:
            wanted = (names or {}).get(id(value)) or sight.name(value, self._taken) or type(value).__name__
            name = single if is_single else unique(wanted, self._taken)
            self._taken.add(name)
            self._described[id(value)] = weakref.ref(value)
            named[name] = value
        return named

    def _is_described(self, value: Any) -> bool:
        reference = self._described.get(id(value))  # which may have been another's before
        return reference is not None and reference() is value

    def keep(self, inputs: Any) -> None:
        """Keep the models as they are now; ``inputs`` are what they are given, for their signature."""
        for name, held in self._modules.items():
            with guard.contained("torch: model", self._run):
                self._keep(name, held.module, inputs)

    def _keep(self, name: str, module: nn.Module | None, inputs: Any) -> None:
        if module is None:
            self._run.recorder.remark(
                f"{name} was not kept: the program had let go of it before the run ended; torch.save it"
            )
        elif (size := _bytes(module)) > MOST_MODEL_BYTES:
            self._run.recorder.remark(
                f"{name} was not kept: it has {size >> 20:,} MB, more than {MOST_MODEL_BYTES >> 20:,}"
            )
        else:
            save_module(self._run, module, name=name, example=inputs)


class HeldModule:
    """A module, to be kept at the end. Only a small one on the host is kept alive until then: the memory that the
    program lets go of, of a device above all, it may need. ``slot`` is of the optimizer that trains it."""

    def __init__(self, module: nn.Module, slot: Slot, sight: Sight) -> None:
        self.slot = slot
        self._variable = sight.local_variable(module)
        self._hold(module)

    def _hold(self, module: nn.Module) -> None:
        self._reference = weakref.ref(module)
        is_on_host = all(tensor.device.type == "cpu" for tensor in _tensors(module))
        self._module = module if _bytes(module) <= _LARGEST_HELD_BYTES and is_on_host else None

    def look_again(self, optimizer: Optimizer) -> None:
        """Hold the variable's module of now, where that is another one, trained by another optimizer."""
        module = value_of(self._variable)
        trained = optimizer.param_groups[0]["params"][:1]
        if isinstance(module, nn.Module) and any(parameter is trained[0] for parameter in module.parameters()):
            self._hold(module)

    @property
    def module(self) -> nn.Module | None:
        """The module; None where it is gone."""
        return self._reference() if self._module is None else self._module


def _schedules(scheduler: Any, *candidates: Optimizer) -> bool:
    """Whether the scheduler belongs to one of the candidates."""
    return any(getattr(scheduler, "optimizer", None) is optimizer for optimizer in candidates)


def _tensors(module: nn.Module) -> list[Tensor]:
    return [*module.parameters(), *module.buffers()]


def _bytes(module: nn.Module) -> int:
    return sum(module_summary.size(tensor) * tensor.element_size() for tensor in _tensors(module))
