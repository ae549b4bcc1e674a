"""The plain loop of this process: which run it records to, and what is heard of it.

A loop has no call that could be watched. It is seen by its ``backward`` and its optimizer's steps, by the data loaders
it reads and by what it saves. It belongs to the user's run where one is open, else to a run of its own, from the first
``backward`` to the end of the process. Inside of another framework's training, nothing is heard.
"""

from __future__ import annotations

import weakref
from collections.abc import Callable
from functools import update_wrapper, wraps
from time import perf_counter
from typing import Any

import torch
from torch.optim import Optimizer, optimizer

from tachograph import active, cells, ending, guard, opening, session, settings
from tachograph.active import stack
from tachograph.patch import Hooks
from tachograph.run import Run
from tachograph.session import inside
from tachograph_frameworks.torch import naming
from tachograph_frameworks.torch.device import read
from tachograph_frameworks.torch.quick import short
from tachograph_frameworks.torch.readings import Reading, Readings
from tachograph_frameworks.torch.recording import Recording
from tachograph_frameworks.torch.saving import Files

NAME = "torch"
MEASURE_SECONDS = 0.5  # between two steps that are measured


def _contained(site: str) -> Callable[[Callable[[Any, Any], None]], Callable[[Any, Any], None]]:
    """A method that the short way calls, so that it keeps its faults to itself."""

    def contain(method: Callable[[Any, Any], None]) -> Callable[[Any, Any], None]:
        @wraps(method)
        def call(self: Any, subject: Any) -> None:
            try:
                method(self, subject)
            except guard.FAULTS as error:
                guard.fault(f"torch: {site}", error, active.here())

        return call

    return contain


class Loop(short.Hearing):
    """What is known of the loop; one for each installed set of hooks.

    ``only`` are the optimizers whose steps count; None for all. ``models`` were named by the user.
    """

    _plain: Recording | None
    _fresh: Recording | None  # where the last backward pass was recorded, and the steps after it are

    def __init__(self) -> None:
        self.readings = Readings(self)
        self.files = Files(self.current)
        self.gradient_norm = settings.flag("gradient_norm", False)
        self.only: weakref.WeakSet[Optimizer] | None = None
        self.models: dict[str, torch.nn.Module] = {}
        self._recordings: weakref.WeakKeyDictionary[Run, Recording] = weakref.WeakKeyDictionary()
        self._recording: Recording | None = None
        self._owned: Run | None = None
        self._target: Run | None = None
        self._stack: tuple[Run, ...] | None = None
        self._fresh = self._plain = None
        self._measured = 0.0
        self._taken = 0  # steps of it that were taken when one was last measured
        self._weight = 1  # for how many steps the one that is measured stands
        self._scaled: tuple[weakref.ref[Any], Any] | None = None

    def install(self, hooks: Hooks) -> None:
        """Listen to the loop."""
        hooks.native(self.end)
        hooks.native(self._special)
        hooks.replace(torch.Tensor, "backward", self._hearing(hooks))
        hooks.native(optimizer.register_optimizer_step_post_hook(self.stepped))
        self.readings.install(hooks)
        self.files.install(hooks)
        scaler = torch.amp.GradScaler
        hooks.listen(scaler, "scale", before=lambda scaler, outputs: outputs, after=self.scaled)
        hooks.listen(scaler, "update", before=lambda scaler, *_: scaler, after=lambda scaler, _: self.rescaled(scaler))
        hooks.listen(torch.nn.utils.clip_grad, "clip_grad_norm_", after=lambda _, norm: self.clipped(norm))

    # -- what is heard --

    def _hearing(self, hooks: Hooks) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
        return lambda original: update_wrapper(self.backward_hook(hooks, original), original)

    @_contained("Tensor.backward")
    def _backward(self, tensor: Any) -> None:
        began = perf_counter()
        self._plain = None
        recording = self._fresh = self.recording()
        if recording is None:
            return
        scaled, self._scaled = self._scaled, None
        value = scaled[1] if scaled is not None and scaled[0]() is tensor else read(tensor)
        if value is not None:
            recording.lost(naming.loss_name(short.FRAMES), value)
        if self.readings.new is not None:
            self._train_on(recording)
        self._weight, self._taken = max(1, recording.taken - self._taken), recording.taken
        recording.run.spent += (perf_counter() - began) * self._weight

    @_contained("optimizer step")
    def _stepped(self, optimizer: Optimizer) -> None:
        recording = self._fresh or self.recording()
        if recording is None:
            return
        began = perf_counter()
        if recording.run.ended or (self.only is not None and optimizer not in self.only):
            return
        if self.gradient_norm:
            recording.extra("grad_norm", read(_gradient_norm(optimizer)))
        is_due = recording.stepped(optimizer)
        if self.only is None and not self.gradient_norm:
            self._plain = self._fresh
        recording.run.spent += (perf_counter() - began) * self._weight
        if is_due:
            self._settle(recording)

    @_contained("optimizer step")
    def _settle(self, recording: Recording) -> None:
        """Record what was noted. Now and then the next step, which comes after it, is measured."""
        began = perf_counter()
        if began - self._measured > MEASURE_SECONDS:
            self._measured, self._plain = began, None
        recording.settle_unless_busy()
        recording.run.spent += perf_counter() - began

    def _special(self) -> None:
        """There is something special about the coming step."""
        self._plain = None

    @_contained("Tensor.backward")
    def _train_on(self, recording: Recording) -> None:
        """A backward pass comes after the first batch of a data loader: it trains on it."""
        recording.batch_is_new = False
        reading, self.readings.new = self.readings.new, None
        if reading is not None and not (reading.over and recording.has_stepped):
            reading.trained = True
            recording.trained_on(reading)

    def batch_is_new(self) -> None:
        """A data loader has given a batch after which it is to be seen whether something is trained on it. A first
        backward pass sees to that by itself."""
        if self._recording is not None:
            self._recording.batch_is_new = True

    def reading_over(self, reading: Reading) -> None:
        """A data loader has given its last batch."""
        if self._recording is not None and not self._recording.run.ended:
            self._recording.reading_over(reading)

    def scaled(self, outputs: Any, result: Any) -> None:
        """Mixed precision has scaled a loss: what it was before is recorded."""
        if isinstance(result, torch.Tensor) and result is not outputs and not inside():
            self._scaled = (weakref.ref(result), read(outputs))
            self._special()

    def rescaled(self, scaler: Any) -> None:
        """Mixed precision has chosen its next scale."""
        if self._recording is not None and isinstance(scaler._scale, torch.Tensor) and not inside():
            self._recording.extra("amp_scale", read(scaler._scale))
            self._special()

    def clipped(self, norm: Any) -> None:
        """The user's code has clipped gradients, and so knows their norm."""
        if self._recording is not None and isinstance(norm, torch.Tensor) and not inside():
            self._recording.extra("grad_norm", read(norm))
            self._special()

    # -- where it belongs --

    def recording(self) -> Recording | None:
        """Where to record; None where nothing is to be recorded."""
        if inside():
            return None
        if stack() is not self._stack or self._target is None or self._target.ended:
            self._find()
        return self._recording

    def current(self) -> Recording | None:
        """The recording that has begun and goes on; none is begun."""
        if inside() or self._recording is None or self._recording.run.ended:
            return None
        return self._recording

    def _find(self) -> None:
        given = active.given()
        if given is None and self._owned is not None and not self._owned.ended:
            given = self._owned  # in another thread
        if given is not None and given is not self._owned and given.opener not in ("user", NAME):
            run, self._target = None, given  # inside another framework's training that is no call
        elif given is None or given is not self._owned:
            found = session.begin(NAME, opening._script_name(), True, False, ())
            self._owned = found.owned or self._owned
            run, self._target = found.run, found.run or found.owned or given
        else:
            run, self._target = (given if given.rank == 0 else None), given
        self._stack = stack()
        self._recording = None if run is None else self._of(run)

    def _of(self, run: Run) -> Recording:
        recording = self._recordings.get(run)
        if recording is None:
            run._before_end(self.readings.leave)
            run._before_end(self._special)
            recording = self._recordings[run] = Recording(run, run is self._owned, self.models)
            self.files.begun(run)
            if run is self._owned:
                cells.at_end(lambda error: run.finish(ending.outcome(error), error))
        return recording

    def end(self, error: BaseException | None = None) -> None:
        """End the run that was opened for the loop."""
        if self._owned is not None and not self._owned.ended:
            self._owned.finish(ending.outcome(error), error)


def _gradient_norm(optimizer: Optimizer) -> torch.Tensor:
    """The 2-norm of all gradients that the optimizer has used, as ``clip_grad_norm_`` has it."""
    gradients = [p.grad for group in optimizer.param_groups for p in group["params"] if p.grad is not None]
    norms = torch._foreach_norm(gradients) if gradients else [torch.zeros(())]
    return torch.linalg.vector_norm(torch.stack([norm.to(norms[0].device) for norm in norms]))
