"""One thread's part of a training: its losses, kept until one of its optimizers makes a step."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from threading import current_thread, get_ident
from typing import TYPE_CHECKING, Any

from torch import Tensor
from torch.optim import Optimizer

from tachograph.hooks import options
from tachograph_frameworks.torch import hot_path
from tachograph_frameworks.torch.data_loaders import Reading
from tachograph_frameworks.torch.device import Mean, Sum, mean
from tachograph_frameworks.torch.loss_names import UNNAMED, Loss
from tachograph_frameworks.torch.slots import Slot
from tachograph_frameworks.torch.user_variables import Sight

if TYPE_CHECKING:
    from tachograph_frameworks.torch.recording import Recording

MOST_ACCUMULATED = 256  # backward passes without a step of any optimizer: with more there is none
_MOST_NODES = 2000  # of a graph that is looked through


class Strand(hot_path.Notes):
    """One thread's part of a recording, in one context (``stack``, the runs that are open in it).

    Losses wait here for the step of an optimizer: which one makes it says whose curve they are part of. Where there is
    no optimizer at all, each of them is a step of its own.
    """

    slot: Slot | None

    def __init__(self, recording: Recording, stack: tuple[Any, ...]) -> None:
        self.recording, self.curve_names, self.stack = recording, recording.curve_names, stack
        self.thread, self.owner = get_ident(), current_thread()
        self.noted, self.due = recording.noted, 0.0
        self.slot = None  # of the last step
        self.name = self.value = None  # of the coming step's loss on the hot path
        self.batch_is_new = False
        self.training: Reading | None = None  # the epoch that goes on
        self.endings: list[Reading] = []  # epochs whose last step is still to come
        self.curves: dict[str, str] = {}  # of losses without an optimizer
        self.new_readings: list[Reading] = []  # that have given their first batch since the last step
        self._losses: dict[str, list[Any]] = {}
        self._shares: set[str] = set()
        self._extras: dict[str, Any] = {}
        self._norms: dict[str, Any] = {}
        self._loss_steps: dict[str, int] | None = None  # where no optimizer makes steps: how many each loss has made
        self._is_first_pass = True

    def forked(self) -> None:
        """In a forked child: what waits is the parent's."""
        self.name = self.value = None
        self.training = None
        self.new_readings, self.endings = [], []
        self._losses, self._extras, self._norms = {}, {}, {}
        self.thread, self.owner = get_ident(), current_thread()

    # -- what is heard --

    def add_loss(self, loss: Loss, tensor: Tensor) -> None:
        """A backward pass has begun, from ``tensor``, at a loss."""
        self._take_from_hot_path()
        if loss.is_share:
            self._shares.add(loss.name)
        if self._loss_steps is None and self.slot is None and self._is_without_optimizer(loss.name, tensor):
            self._count_passes_as_steps()
        if self._loss_steps is not None:
            self._record_pass(loss.name, loss.value)
            return
        parts = self._losses.setdefault(loss.name, [])
        parts.append(loss.value)
        if len(parts) >= MOST_ACCUMULATED:
            self._count_passes_as_steps()

    def _is_without_optimizer(self, name: str, tensor: Tensor) -> bool:
        """Whether no optimizer can be found, or (with the second pass) none that moves what the loss depends on."""
        if self._is_first_pass:
            self._is_first_pass = False
            return Sight(Optimizer).is_empty
        return len(self._losses.get(name, ())) == 1 and not _is_optimized(tensor, Sight(Optimizer).of(Optimizer))

    def _take_from_hot_path(self) -> None:
        """Put what the hot path has kept of the coming step with the rest."""
        if self.name is not None:
            parts = self._losses.setdefault(self.name, [])
            parts += self.value if type(self.value) is list else [self.value]
            self.name = self.value = None

    def _count_passes_as_steps(self) -> None:
        """Let each backward pass be a step: there is no optimizer, as in loops that move the weights by hand."""
        self._loss_steps = {}
        for name in list(self._losses):
            self._record_passes(name)

    def _record_passes(self, name: str) -> None:
        for value in self._losses.pop(name):
            self._record_pass(name, value)

    def _record_pass(self, name: str, value: Any) -> None:
        assert self._loss_steps is not None
        step = self._loss_steps.get(name, 0)
        self._loss_steps[name] = step + 1
        if step % options.every_n_steps == 0:
            self.recording.note({self.recording.curve_names.without_optimizer(self, name): value}, step, self)

    def add_value(self, name: str, value: Any) -> None:
        """Add a value that belongs to the coming step."""
        if value is not None:
            self._extras[name] = value

    def add_gradient_norm(self, variable: str, norm: Any) -> None:
        """Add the norm of clipped gradients, which the coming step uses. ``variable`` is what was clipped."""
        if norm is not None:
            self._norms[variable] = norm

    # -- a step --

    def waiting_losses(self) -> list[str]:
        """The names of the losses that wait for a step."""
        self._take_from_hot_path()
        return list(self._losses)

    @property
    def is_waiting(self) -> bool:
        """Whether it has heard what the hot path knows nothing of, and the coming step is to have."""
        return bool(self._losses or self._norms or self._extras)

    def take_loss_steps(self) -> dict[str, int]:
        """How many steps each loss has made without an optimizer; from now on there is one."""
        steps, self._loss_steps = self._loss_steps or {}, None
        return steps

    def take_endings(self) -> list[Reading]:
        """The epochs whose last step was made, each given once."""
        endings, self.endings = self.endings, []
        return endings

    def take_step(self, slot: Slot) -> dict[str, Any]:
        """The values heard since the last step, under the names of the optimizer that has made this one."""
        self._take_from_hot_path()
        losses, self._losses = self._losses, {}
        values: dict[str, Any] = {}
        for base in sorted(losses, key=lambda name: name == UNNAMED):
            total = _sum if base in self._shares else _mean
            values[self.curve_names.of_optimizer(slot, base)] = total(losses[base])
        self._shares.clear()
        values.update(self._take_norms(slot))
        extras, self._extras = self._extras, {}
        for base, value in extras.items():
            values[self.curve_names.of_optimizer(slot, base)] = value
        return values

    def _take_norms(self, slot: Slot) -> list[tuple[str, Any]]:
        """One is the optimizer's, ``grad_norm``; several have their variables' names, whichever steps come first."""
        norms, self._norms = self._norms, {}
        if len(norms) == 1:
            name = "grad_norm" if slot.label is None else f"grad_norm/{slot.label}"
            return [(name, norm) for norm in norms.values()]
        curve = self.curve_names.of_optimizer
        return [(curve(slot, f"grad_norm/{variable or 'other'}"), norm) for variable, norm in norms.items()]

    @property
    def last_step(self) -> int:
        """The number of the last step that was made."""
        steps = self.slot.steps if self.slot is not None else max((self._loss_steps or {}).values(), default=0)
        return max(steps - 1, 0)

    def leave(self) -> None:
        """Record losses whose step did not come: the run ends."""
        self._take_from_hot_path()
        slot, self.slot, self.thread = self.slot, None, 0  # the hot path ends here
        if slot is None:
            if self._losses:
                self._count_passes_as_steps()
            return
        self._loss_steps = {}
        for name in [name for name, parts in self._losses.items() if name not in slot.curves and len(parts) > 1]:
            self._record_passes(name)  # steps by hand, after those of an optimizer
        if self._losses:
            self.recording.note(self.take_step(slot), slot.steps, self)


def _is_optimized(tensor: Tensor, optimizers: list[Optimizer]) -> bool:
    """Whether one of the optimizers has a parameter that the tensor depends on; also where that can't be seen."""
    groups = [group for optimizer in optimizers for group in optimizer.param_groups]
    ids = {id(parameter) for group in groups for parameter in group["params"]}
    leaves = list(_leaves(tensor))
    return any(id(leaf) in ids for leaf in leaves) or not leaves


def _leaves(tensor: Tensor) -> Iterator[Any]:
    """The leaves that a tensor's gradient flows to, in the nearer part of its graph."""
    queue, seen = deque([tensor.grad_fn]), {tensor.grad_fn}
    while queue and len(seen) < _MOST_NODES:
        node = queue.popleft()
        leaf = getattr(node, "variable", None)
        if leaf is not None:
            yield leaf
        for inner, _ in getattr(node, "next_functions", ()):
            if inner is not None and inner not in seen:
                seen.add(inner)
                queue.append(inner)


def _mean(parts: list[Any]) -> Any:
    """The mean of a step's losses: a float where all are on the host."""
    return mean(parts) if all(type(part) is float for part in parts) else Mean(parts)


def _sum(parts: list[Any]) -> Any:
    return sum(parts) if all(type(part) is float for part in parts) else Sum(parts)
