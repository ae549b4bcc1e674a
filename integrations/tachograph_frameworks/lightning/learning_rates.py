"""Learning rates, under the names and at the steps of Lightning's own monitor."""

from __future__ import annotations

from typing import Any

from tachograph_frameworks.lightning.packages import Package, name_of


class LearningRates:
    """The learning rates of one training; none where the user has Lightning's monitor, which hands them out."""

    def __init__(self, trainer: Any) -> None:
        self._monitor_class = Package(name_of(trainer)).find("callbacks", "LearningRateMonitor")
        self._is_monitored = any(isinstance(callback, self._monitor_class) for callback in trainer.callbacks)
        self._optimizers: list[Any] = []
        self._names: list[list[str]] = []
        self._step = -1

    def at(self, trainer: Any, step: int) -> dict[str, Any]:
        """The rates that apply at ``step``, by name; none if they were asked for at that step before."""
        if self._is_monitored or step == self._step:
            return {}
        self._step = step
        if not self._names or any(map(_has_grown, self._optimizers, self._names)):
            self._name(trainer)
        return {
            name: group["lr"]
            for optimizer, names in zip(self._optimizers, self._names, strict=True)
            for name, group in zip(names, optimizer.param_groups, strict=True)
            if "lr" in group
        }

    def _name(self, trainer: Any) -> None:
        monitor, configs = self._monitor_class(), trainer.lr_scheduler_configs
        scheduled, seen, types = monitor._find_names_from_schedulers(configs)
        others, optimizers = monitor._find_names_from_optimizers(trainer.optimizers, seen, types)
        self._names = [*scheduled, *others]
        self._optimizers = [*(config.scheduler.optimizer for config in configs), *optimizers]


def _has_grown(optimizer: Any, names: list[str]) -> bool:
    """Whether a layer was unfrozen, for example: its parameters come as a group of their own."""
    return len(optimizer.param_groups) != len(names)
