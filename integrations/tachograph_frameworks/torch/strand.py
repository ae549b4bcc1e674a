"""What one thread hears of the training that it does in one run, until its next step."""

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
        self.recording, self.names, self.stack = recording, recording.names, stack
        self.thread, self.owner = get_ident(), current_thread()
        self.noted, self.due = recording.noted, 0.0
        self.slot = None  # of the last step
        self.name = self.value = None  # of the coming step's loss on the hot path
        self.batch_is_new = False
        self.training: Reading | None = None  # the epoch that goes on
        self.endings: list[Reading] = []  # epochs whose last step is still to come
        self.curves: dict[str, str] = {}  # of losses without an optimizer
        self.fresh: list[Reading] = []  # data loaders that have given a batch since the last step, for the first time
        self._losses: dict[str, list[Any]] = {}
        self._shares: set[str] = set()
        self._extras: dict[str, Any] = {}
        self._norms: dict[str, Any] = {}
        self._bare: dict[str, int] | None = None  # where no optimizer makes steps: how many each loss has made
        self._is_new = True

    def forked(self) -> None:
        """In a forked child: what waits is the parent's."""
        self.name = self.value = None
        self.training = None
        self.fresh, self.endings = [], []
        self._losses, self._extras, self._norms = {}, {}, {}
        self.thread, self.owner = get_ident(), current_thread()

    # -- what is heard --

    def lost(self, loss: Loss, tensor: Tensor) -> None:
        """A backward pass has begun, from ``tensor``, at a loss."""
        self._gather()
        if loss.is_share:
            self._shares.add(loss.name)
        if self._bare is None and self.slot is None and self._is_without_optimizer(loss.name, tensor):
            self._go_bare()
        if self._bare is not None:
            self._step_bare(loss.name, loss.value)
            return
        parts = self._losses.setdefault(loss.name, [])
        parts.append(loss.value)
        if len(parts) >= MOST_ACCUMULATED:
            self._go_bare()

    def _is_without_optimizer(self, name: str, tensor: Tensor) -> bool:
        """Whether none can be seen from here, or (with the second pass) none that moves what the loss depends on."""
        if self._is_new:
            self._is_new = False
            return Sight(Optimizer).is_empty
        return len(self._losses.get(name, ())) == 1 and not _is_optimized(tensor, Sight(Optimizer).of(Optimizer))

    def _gather(self) -> None:
        """What the hot path has kept of the coming step is put with the rest."""
        if self.name is not None:
            parts = self._losses.setdefault(self.name, [])
            parts += self.value if type(self.value) is list else [self.value]
            self.name = self.value = None

    def _go_bare(self) -> None:
        """There is no optimizer, as in loops that move the weights by hand: each backward pass is a step."""
        self._bare = {}
        for name in list(self._losses):
            self._step_each(name)

    def _step_each(self, name: str) -> None:
        for value in self._losses.pop(name):
            self._step_bare(name, value)

    def _step_bare(self, name: str, value: Any) -> None:
        assert self._bare is not None
        step = self._bare.get(name, 0)
        self._bare[name] = step + 1
        if step % options.every_n_steps == 0:
            self.recording.note({self.recording.names.without_optimizer(self, name): value}, step, self)

    def extra(self, name: str, value: Any) -> None:
        """A value that belongs to the coming step."""
        if value is not None:
            self._extras[name] = value

    def clipped(self, variable: str, norm: Any) -> None:
        """The norm of gradients, which the coming step uses."""
        if norm is not None:
            self._norms[variable] = norm

    # -- a step --

    def waiting(self) -> list[str]:
        """What the losses are called that wait for a step."""
        self._gather()
        return list(self._losses)

    @property
    def is_waiting(self) -> bool:
        """Whether it has heard what the hot path knows nothing of, and the coming step is to have."""
        return bool(self._losses or self._norms or self._extras)

    def end_bare(self) -> dict[str, int]:
        """There is an optimizer: how many steps each loss has made until now without one."""
        steps, self._bare = self._bare or {}, None
        return steps

    def take_endings(self) -> list[Reading]:
        """The epochs whose last step was made."""
        endings, self.endings = self.endings, []
        return endings

    def take(self, slot: Slot) -> dict[str, Any]:
        """What was heard since the last step, under the names of the optimizer that has made this one."""
        self._gather()
        losses, self._losses = self._losses, {}
        values: dict[str, Any] = {}
        for base in sorted(losses, key=lambda name: name == UNNAMED):
            total = _sum if base in self._shares else _mean
            values[self.names.of_optimizer(slot, base)] = total(losses[base])
        self._shares.clear()
        values.update(self._take_norms(slot))
        extras, self._extras = self._extras, {}
        for base, value in extras.items():
            values[self.names.of_optimizer(slot, base)] = value
        return values

    def _take_norms(self, slot: Slot) -> list[tuple[str, Any]]:
        """One is the optimizer's, ``grad_norm``; several have their variables' names, whichever steps come first."""
        norms, self._norms = self._norms, {}
        if len(norms) == 1:
            name = "grad_norm" if slot.label is None else f"grad_norm/{slot.label}"
            return [(name, norm) for norm in norms.values()]
        curve = self.names.of_optimizer
        return [(curve(slot, f"grad_norm/{variable or 'other'}"), norm) for variable, norm in norms.items()]

    @property
    def last_step(self) -> int:
        """The number of the last step that was made."""
        steps = self.slot.steps if self.slot is not None else max((self._bare or {}).values(), default=0)
        return max(steps - 1, 0)

    def leave(self) -> None:
        """The run ends: losses whose step did not come are recorded with it."""
        self._gather()
        slot, self.slot, self.thread = self.slot, None, 0  # the hot path ends here
        if slot is None:
            if self._losses:
                self._go_bare()
            return
        self._bare = {}
        for name in [name for name, parts in self._losses.items() if name not in slot.curves and len(parts) > 1]:
            self._step_each(name)  # steps by hand, after those of an optimizer
        if self._losses:
            self.recording.note(self.take(slot), slot.steps, self)


def _is_optimized(tensor: Tensor, some: list[Optimizer]) -> bool:
    """Whether one of some optimizers has a parameter that the tensor depends on; also where that can't be seen."""
    ids = {id(parameter) for optimizer in some for group in optimizer.param_groups for parameter in group["params"]}
    leaves = list(_leaves(tensor))
    return any(id(leaf) in ids for leaf in leaves) or not leaves


def _leaves(tensor: Tensor) -> Iterator[Any]:
    """The leaves that a tensor's gradient flows to, in the nearer part of its graph."""
    left, seen = deque([tensor.grad_fn]), {tensor.grad_fn}
    while left and len(seen) < _MOST_NODES:
        node = left.popleft()
        leaf = getattr(node, "variable", None)
        if leaf is not None:
            yield leaf
        for inner, _ in getattr(node, "next_functions", ()):
            if inner is not None and inner not in seen:
                seen.add(inner)
                left.append(inner)


def _mean(parts: list[Any]) -> Any:
    """The mean of a step's losses: a float where all are on the host."""
    return mean(parts) if all(type(part) is float for part in parts) else Mean(parts)


def _sum(parts: list[Any]) -> Any:
    return sum(parts) if all(type(part) is float for part in parts) else Sum(parts)
