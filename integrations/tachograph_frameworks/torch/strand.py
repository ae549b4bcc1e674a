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
from tachograph_frameworks.torch.user_variables import Calls, Sight
from tachograph_frameworks.torch.waiting import Waiting, WaitingByCalls

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
        self.calls: Calls = ()  # the generators and coroutines that are at work,
        self._hot_calls: Calls = ()  # and those in which the hot path is used
        self.slots, self.call = recording.slots.by_id, 0
        self.training: Reading | None = None  # the epoch that goes on
        self.endings: list[Reading] = []  # epochs whose last step is still to come
        self.curves: dict[str, str] = {}  # of losses without an optimizer
        self._waiting = WaitingByCalls()
        self._loss_steps: dict[str, int] | None = None  # where no optimizer makes steps: how many each loss has made
        self._is_first_pass = True

    def forked(self) -> None:
        """In a forked child: what waits is the parent's."""
        self.name = self.value = None
        self.training = None
        self.endings, self._waiting = [], WaitingByCalls()
        self.thread, self.owner = get_ident(), current_thread()

    # -- what is heard --

    def add_loss(self, loss: Loss, tensor: Tensor) -> None:
        """A backward pass has begun, from ``tensor``, at a loss."""
        self._take_from_hot_path()
        if self._loss_steps is None and self.slot is None and self._is_without_optimizer(loss.name, tensor):
            self._count_passes_as_steps()
        if self._loss_steps is not None:
            self._record_pass(loss.name, loss.value)
            return
        waiting = self._waiting.at(self.calls)
        if loss.is_share:
            waiting.shares.add(loss.name)
        parts = waiting.losses.setdefault(loss.name, [])
        parts.append(loss.value)
        if len(parts) >= MOST_ACCUMULATED:
            self._count_passes_as_steps()

    def _is_without_optimizer(self, name: str, tensor: Tensor) -> bool:
        """Whether no optimizer can be found, or (with the second pass) none that moves what the loss depends on."""
        if self._is_first_pass:
            self._is_first_pass = False
            return Sight(Optimizer).is_empty
        passes = sum(len(waiting.losses.get(name, ())) for waiting in self._waiting.related(self.calls))
        return passes == 1 and not _is_optimized(tensor, Sight(Optimizer).of(Optimizer))

    def _take_from_hot_path(self) -> None:
        """Put what the hot path has kept of the coming step with the rest."""
        if self.name is not None:
            parts = self._waiting.at(self._hot_calls).losses.setdefault(self.name, [])
            parts += self.value if type(self.value) is list else [self.value]
            self.name = self.value = None

    def is_heard_hot(self) -> None:
        """What comes next is heard by the hot path, where it is in the same generator or coroutine as this."""
        self._hot_calls = self.calls
        self.call = self.calls[-1] if self.calls else 0

    def _count_passes_as_steps(self) -> None:
        """Let each backward pass be a step: there is no optimizer, as in loops that move the weights by hand."""
        self._loss_steps = {}
        for waiting in self._waiting.values():
            self._record_passes(waiting, list(waiting.losses))

    def _record_passes(self, waiting: Waiting, names: list[str]) -> None:
        for name in names:
            for value in waiting.losses.pop(name):
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
            self._waiting.at(self.calls).extras[name] = value

    def add_gradient_norm(self, variable: str, norm: Any) -> None:
        """Add the norm of clipped gradients, which the coming step uses. ``variable`` is what was clipped."""
        if norm is not None:
            self._waiting.at(self.calls).norms[variable] = norm

    def add_reading(self, reading: Reading) -> None:
        """Add a data loader that may be trained on by the coming step."""
        self._waiting.at(self.calls).add_reading(reading)
        self.batch_is_new = True

    # -- a step --

    def waiting_losses(self) -> list[str]:
        """The names of the losses that wait for a step."""
        self._take_from_hot_path()
        return [name for waiting in self._waiting.related(self.calls) for name in waiting.losses]

    @property
    def is_waiting(self) -> bool:
        """Whether it has heard what the hot path knows nothing of, and the coming step is to have."""
        return any(waiting.has_values for waiting in self._waiting.values())

    @property
    def has_readings(self) -> bool:
        """Whether the coming step may be the first on what a data loader gives."""
        return any(waiting.readings for waiting in self._waiting.related(self.calls))

    def take_loss_steps(self) -> dict[str, int]:
        """How many steps each loss has made without an optimizer; from now on there is one."""
        steps, self._loss_steps = self._loss_steps or {}, None
        return steps

    def begin_with(self, waiting: WaitingByCalls) -> None:
        """Take over the data loaders that were begun before the thread's first step."""
        self._waiting.take_over(waiting)

    def take_readings(self) -> list[Reading]:
        """The data loaders that this step may train on, each given once."""
        self.batch_is_new = False
        return self._waiting.take_readings(self.calls)

    def take_endings(self) -> list[Reading]:
        """The epochs whose last step was made, each given once."""
        endings, self.endings = self.endings, []
        return endings

    def take_step(self, slot: Slot) -> dict[str, Any]:
        """The values heard since the last step, under the names of the optimizer that has made this one."""
        self._take_from_hot_path()
        waiting = self._waiting.take(self.calls)
        values: dict[str, Any] = {}
        for base in sorted(waiting.losses, key=lambda name: name == UNNAMED):
            total = _sum if base in waiting.shares else _mean
            values[self.curve_names.of_optimizer(slot, base)] = total(waiting.losses[base])
        values.update(self._name_norms(slot, waiting.norms))
        for base, value in waiting.extras.items():
            values[self.curve_names.of_optimizer(slot, base)] = value
        return values

    def _name_norms(self, slot: Slot, norms: dict[str, Any]) -> list[tuple[str, Any]]:
        """One is the optimizer's, ``grad_norm``; several have their variables' names, whichever steps come first."""
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
            if any(waiting.losses for waiting in self._waiting.values()):
                self._count_passes_as_steps()
            return
        self._loss_steps = {}
        related = self._waiting.related(self.calls)
        for waiting in self._waiting.values():
            is_next = waiting in related
            self._record_passes(  # steps by hand, after those of an optimizer
                waiting,
                [
                    name
                    for name, parts in waiting.losses.items()
                    if not is_next or (name not in slot.curves and len(parts) > 1)
                ],
            )
        if any(waiting.losses for waiting in related):
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
