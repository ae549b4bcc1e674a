"""The plain loops of this process: which run each records to, and what is heard of it.

A loop has no call that could be watched. It is seen by its ``backward`` and its optimizer's steps, by the data loaders
it reads and by what it saves. It belongs to the user's run where one is open, else to a run of its own, from the first
``backward`` to the end of its thread, or of the process. Inside of another framework's training, nothing is heard.
"""

from __future__ import annotations

import threading
import weakref
from collections.abc import Callable
from functools import update_wrapper, wraps
from time import perf_counter, time
from typing import Any

import torch
from torch.optim import Optimizer, optimizer

from tachograph import guard, settings
from tachograph.hooks import Hooks, session
from tachograph.hooks.session import inside
from tachograph.record import active_run, launchers, open_runs, outcome, start
from tachograph.record.open_runs import stack
from tachograph.record.run import Run
from tachograph.runtime import notebooks
from tachograph_frameworks.torch import hot_path, loss_names
from tachograph_frameworks.torch.checkpoints import Files
from tachograph_frameworks.torch.data_loaders import Reading, Readings
from tachograph_frameworks.torch.device import read
from tachograph_frameworks.torch.recording import PERIOD, Recording
from tachograph_frameworks.torch.strand import Strand
from tachograph_frameworks.torch.user_variables import Sight, suspendable_calls
from tachograph_frameworks.torch.waiting import WaitingByCalls

NAME = "torch"
MEASURE_SECONDS = 0.5  # between two steps that are measured


def _contained(site: str) -> Callable[[Callable[[Any, Any], None]], Callable[[Any, Any], None]]:
    """Decorate a method that the hot path calls: its faults are reported, and go no further."""

    def contain(method: Callable[[Any, Any], None]) -> Callable[[Any, Any], None]:
        @wraps(method)
        def call(self: Any, subject: Any) -> None:
            try:
                method(self, subject)
            except guard.FAULTS as error:
                guard.fault(f"torch: {site}", error, open_runs.here())

        return call

    return contain


class _Here(threading.local):
    """Where the calling thread records to.

    ``strand`` is found anew when other runs are open in its context (``stack``), or the run that decides (``target``)
    has ended. ``scaled`` is a loss that mixed precision has scaled, and its number before that. ``waiting`` is what
    was heard before the first step.
    """

    strand: Strand | None = None
    stack: tuple[Run, ...] | None = None
    target: Run | None = None
    scaled: tuple[weakref.ref[Any], Any] | None = None

    def __init__(self) -> None:
        self.waiting = WaitingByCalls()


class Loop(hot_path.StepListener):
    """Listens to the plain loops of this process; there is one for each set of hooks that is installed.

    ``only`` are the optimizers whose steps count; None for all. ``models`` were named by the user.
    """

    _plain: Strand | None

    def __init__(self) -> None:
        self.readings = Readings(self)
        self.files = Files(self.current)
        self.gradient_norm = settings.flag("gradient_norm", False)
        self.only: weakref.WeakSet[Optimizer] | None = None
        self.models: dict[str, torch.nn.Module] = {}
        self._recordings: dict[int, Recording] = {}
        self._owned: weakref.WeakSet[Run] = weakref.WeakSet()
        self._here = _Here()
        self._plain = None
        self._original: Callable[..., Any] = torch.Tensor.backward

    def install(self, hooks: Hooks) -> None:
        """Listen to the loop."""
        hooks.native(self.end)
        hooks.native(self._leave_hot_path)
        hooks.replace(torch.Tensor, "backward", self._replace_backward(hooks))
        hooks.native(optimizer.register_optimizer_step_post_hook(self.stepped))
        self.readings.install(hooks)
        self.files.install(hooks)
        scaler = torch.amp.GradScaler
        hooks.listen(scaler, "scale", before=lambda scaler, outputs: outputs, after=self.scaled)
        hooks.listen(scaler, "update", before=lambda scaler, *_: scaler, after=lambda scaler, _: self.rescaled(scaler))
        hooks.listen(torch.nn.utils.clip_grad, "clip_grad_norm_", after=lambda _, norm: self.clipped(norm))

    # -- what is heard --

    def _replace_backward(self, hooks: Hooks) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
        def replacement(original: Callable[..., Any]) -> Callable[..., Any]:
            self._original = original
            return update_wrapper(self.backward_hook(hooks, original), original)

        return replacement

    @_contained("Tensor.backward")
    def _backward(self, tensor: Any) -> None:
        began = perf_counter()
        self._plain = None
        if type(tensor) is not torch.Tensor and loss_names.is_running(hot_path.FRAMES, self._original):
            return
        strand = self.strand()
        if strand is None:
            return
        scaled, self._here.scaled = self._here.scaled, None
        value = scaled[1] if scaled is not None and scaled[0]() is tensor else None
        loss = loss_names.loss(hot_path.FRAMES, tensor, value, strand.calls)
        if loss is not None:
            strand.add_loss(loss, tensor)
        recording = strand.recording
        recording.run.spent += (perf_counter() - began) * recording.weight

    @_contained("optimizer step")
    def _stepped(self, optimizer: Optimizer) -> None:
        began = perf_counter()
        strand = self.strand()
        if strand is None or (self.only is not None and optimizer not in self.only):
            return
        recording = strand.recording
        if self.gradient_norm:
            strand.add_value("grad_norm", read(_gradient_norm(optimizer)))
        is_due = recording.stepped(strand, optimizer)
        if self.only is None and not self.gradient_norm and not strand.is_waiting:  # as after the step of an inner one
            strand.is_heard_hot()
            self._plain = strand
        recording.run.spent += (perf_counter() - began) * recording.weight
        recording.weight = 1
        if is_due:
            self._settle(strand)

    @_contained("optimizer step")
    def _settle(self, strand: Strand) -> None:
        """Record what was noted. Now and then the next step, which comes after it, is measured."""
        began = perf_counter()
        recording, strand.due = strand.recording, time() + PERIOD
        before = recording.recorded
        recording.settle_unless_busy()
        recording.steps_since += recording.recorded - before
        if began - recording.measured_at > MEASURE_SECONDS:
            recording.measured_at, self._plain = began, None
            recording.weight, recording.steps_since = max(1, recording.steps_since), 0
        recording.run.spent += perf_counter() - began

    def _leave_hot_path(self) -> None:
        """Let the coming step be heard in full: there is something special about it."""
        self._plain = None

    @_contained("optimizer step")
    def _train_on(self, strand: Strand) -> None:
        """A step is made on the first batch of a data loader: it is trained on."""
        strand.calls = suspendable_calls()
        if strand.slot is not None:
            strand.recording.epochs.trained_on(strand, strand.slot)

    def batch_is_new(self, reading: Reading) -> None:
        """A data loader has given a batch after which it is to be seen whether something is trained on it."""
        strand = self.strand(False)
        if strand is None:
            self._here.waiting.at(suspendable_calls()).add_reading(reading)
        else:
            strand.add_reading(reading)

    def reading_over(self, reading: Reading) -> None:
        """A data loader has given its last batch."""
        strand = self.strand(False)
        if strand is not None and strand.recording.epochs.reading_over(strand, reading):
            self._leave_hot_path()

    def scaled(self, outputs: Any, result: Any) -> None:
        """Mixed precision has scaled a loss: what it was before is recorded."""
        if isinstance(result, torch.Tensor) and result is not outputs and not inside():
            self._here.scaled = (weakref.ref(result), read(outputs))
            self._leave_hot_path()

    def rescaled(self, scaler: Any) -> None:
        """Mixed precision has chosen its next scale; where it is switched off, there is none."""
        scale = getattr(scaler, "_scale", None)
        strand = self.strand(False)
        if strand is not None and isinstance(scale, torch.Tensor):
            strand.add_value("amp_scale", read(scale))
            self._leave_hot_path()

    def clipped(self, norm: Any) -> None:
        """The user's code has clipped gradients, and so knows their norm."""
        strand = self.strand(False)
        if strand is not None and isinstance(norm, torch.Tensor):
            strand.add_gradient_norm(loss_names.first_argument(1), read(norm))
            self._leave_hot_path()

    # -- where it belongs --

    def strand(self, begins: bool = True) -> Strand | None:
        """Where this thread records to. None if recording is off here, or has not begun and ``begins`` is false."""
        if inside():
            return None
        here = self._here
        if here.stack is not stack() or here.target is None or here.target.ended:
            if not begins:
                return None
            self._find_strand()
        if here.strand is not None:
            here.strand.calls = suspendable_calls()
        return here.strand

    def current(self) -> Strand | None:
        """This thread's part of a recording that has begun already, or None."""
        return self.strand(False)

    def _find_strand(self) -> None:
        here = self._here
        open_run = active_run.find_for_training() or self._run_of_other_thread()
        if open_run is not None and open_run in self._owned:
            run, here.target = (open_run if open_run.rank == 0 else None), open_run
        elif open_run is not None and open_run.opener not in ("user", NAME):
            run, here.target = None, open_run  # inside another framework's training that is no call
        else:
            training = session.begin(NAME, start.script_name(), True, False, (), apart=launchers.job() is None)
            run, here.target = training.run, training.run or training.owned or open_run
            self._owned.update([training.owned] if training.owned is not None else [])
        here.stack = stack()
        here.strand = None if run is None else self._recording_of(run).strand(stack())
        if here.strand is not None:
            here.strand.begin_with(here.waiting)

    def _run_of_other_thread(self) -> Run | None:
        """The run of another thread's loop, where that has made steps with the nearest optimizer in sight."""
        others = [recording for recording in self._recordings.values() if recording.owned and not recording.run.ended]
        nearest = Sight(Optimizer).paths[:1] if others else []
        return next((other.run for path in nearest for other in others if other.has_stepped(path.value)), None)

    def _recording_of(self, run: Run) -> Recording:
        recording = self._recordings.get(id(run))
        if recording is None:
            run.recorder.before_end(self.readings.leave)
            run.recorder.before_end(self._leave_hot_path)
            recording = self._recordings[id(run)] = Recording(run, run in self._owned, self.models)
            run.recorder.before_end(lambda: self._recordings.pop(id(run), None))
            self.files.run_began(run)
            if run in self._owned:
                notebooks.at_end(lambda error: run.finish(outcome.status(error), error))
        return recording

    def end(self, error: BaseException | None = None) -> None:
        """End the runs that were opened for loops."""
        for run in list(self._owned):
            if not run.ended:
                run.finish(outcome.status(error), error)


def _gradient_norm(optimizer: Optimizer) -> torch.Tensor:
    """The 2-norm of all gradients that the optimizer has used, as ``clip_grad_norm_`` has it."""
    gradients = [p.grad for group in optimizer.param_groups for p in group["params"] if p.grad is not None]
    norms = torch._foreach_norm(gradients) if gradients else [torch.zeros(())]
    return torch.linalg.vector_norm(torch.stack([norm.to(norms[0].device) for norm in norms]))
