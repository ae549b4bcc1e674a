"""What a plain loop trains, and with what: models, optimizers and schedulers that the user's code holds."""

from __future__ import annotations

import weakref
from collections.abc import Callable, Mapping
from typing import Any

from torch import Tensor, nn
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler

from tachograph import guard
from tachograph.run import Run
from tachograph_frameworks.torch import modules, optimizers
from tachograph_frameworks.torch.models import save_module
from tachograph_frameworks.torch.variables import visible

MOST_MODEL_BYTES = 1 << 30
_MOST_HELD_BYTES = 64 << 20


class Trained:
    """What is described in a run so far. ``named`` are modules that the user named, by name."""

    def __init__(self, run: Run, named: Mapping[str, nn.Module]) -> None:
        self._run, self._named = run, named
        self._described: dict[int, weakref.ref[Any]] = {}
        self._singles: set[str] = set()
        self._modules: dict[str, Held] = {}

    def describe(self, optimizer: Optimizer) -> None:
        """Record what the user's code holds and what is new here: around ``optimizer``, which has made a step."""
        seen = visible((nn.Module, Optimizer, LRScheduler))
        found = [(name, optimizers.unwrapped(value) if isinstance(value, Optimizer) else value) for name, value in seen]
        if not any(value is optimizer for _, value in found):
            found.append((type(optimizer).__name__, optimizer))
        trained = _of_kind(found, Optimizer)
        self._describe_all("optimizer", trained, optimizers.params)
        self._describe_all("scheduler", _of_kind(found, LRScheduler), optimizers.scheduler_params)
        self._add_models({**self._named, **_of_kind(found, nn.Module)}, list(trained.values()))

    def _add_models(self, candidates: Mapping[str, nn.Module], trained: list[Optimizer]) -> None:
        """Record those of some modules whose parameters some optimizers train."""
        groups = [group for optimizer in trained for group in optimizer.param_groups]
        ids = {id(parameter) for group in groups for parameter in group["params"]}
        models = modules.outermost(
            {name: module for name, module in candidates.items() if any(id(p) in ids for p in module.parameters())}
        )
        for name, module in self._describe_all("model", models, modules.params).items():
            self._modules[name] = Held(module)
            text = modules.summary(module)
            self._run._keep_bytes(text.encode(), f"{name}_summary", "summary", f"{name}_summary.txt")

    def _describe_all(
        self, single: str, values: Mapping[str, Any], params: Callable[[Any], dict[str, Any]]
    ) -> dict[str, Any]:
        """Record the settings of what is new: of the only one under ``single``, else under the variables' names."""
        new = {name: value for name, value in values.items() if not self._is_described(value)}
        if len(values) == len(new) == 1 and single not in self._singles:
            new = dict(zip([single], new.values(), strict=True))
            self._singles.add(single)
        for name, value in new.items():
            self._described[id(value)] = weakref.ref(value)
            self._run.log_params({name: params(value)})
        return new

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
            self._run._remark(f"{name} was not kept: the program had let go of it before the run ended; torch.save it")
        elif (size := _bytes(module)) > MOST_MODEL_BYTES:
            self._run._remark(f"{name} was not kept: it has {size >> 20:,} MB, more than {MOST_MODEL_BYTES >> 20:,}")
        else:
            save_module(self._run, module, name=name, example=inputs)


class Held:
    """A module, to be kept at the end. Only a small one on the host is kept alive until then: the memory that the
    program lets go of, of a device above all, it may need."""

    def __init__(self, module: nn.Module) -> None:
        self._reference = weakref.ref(module)
        small = _bytes(module) <= _MOST_HELD_BYTES and all(tensor.device.type == "cpu" for tensor in _tensors(module))
        self._module = module if small else None

    @property
    def module(self) -> nn.Module | None:
        """The module; None where it is gone."""
        return self._reference() if self._module is None else self._module


def _tensors(module: nn.Module) -> list[Tensor]:
    return [*module.parameters(), *module.buffers()]


def _bytes(module: nn.Module) -> int:
    return sum(modules.size(tensor) * tensor.element_size() for tensor in _tensors(module))


def _of_kind(found: list[tuple[str, Any]], kind: type) -> dict[str, Any]:
    return {name: value for name, value in found if isinstance(value, kind)}
