"""The callback: for those who prefer to name it, and for autolog."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Mapping
from typing import Any

from keras.callbacks import Callback, CallbackList

from tachograph.runtime import stack_frames
from tachograph_frameworks.keras import recording
from tachograph_frameworks.keras.recording import TRAININGS, Recording


class TachographCallback(Callback):  # type: ignore[misc]
    """Records a training: ``model.fit(..., callbacks=[TachographCallback()])``.

    With no run open it opens one and ends it with the training. Where autolog records the training it stands aside.
    It belongs last in the list: then the model that it keeps is the one that the others leave, and it sees what they
    add to the epoch's values. What only the call of ``fit`` knows (its data, its arguments) is recorded by autolog.
    """

    params: Any = None
    _model: Any = None
    _claimed: Recording | None = None
    _recording: Recording | None = None

    def on_train_begin(self, logs: Mapping[str, Any] | None = None) -> None:
        """A training begins."""
        self._recording, self._claimed = self._claimed or self._begin(_container(self)), None
        if self._recording is not None:
            self._recording.started(self.model, self.params or {})

    def _begin(self, container: Any) -> Recording | None:
        left = self._recording
        if left is not None and left.container is container:  # an exception has ended that one
            TRAININGS.end(self.model)
        training = recording.begin(self.model, container)
        if training is not None and container is not None:
            # A list of its own: the one that was there is the user's, or is just being gone through.
            others = [other for other in container.callbacks if not isinstance(other, FirstCallback)]
            container.callbacks = [_ready(FirstCallback(training), container), *others]
        return training

    def on_epoch_end(self, epoch: int, logs: Mapping[str, Any] | None = None) -> None:
        """An epoch has ended, with its validation. ``logs`` are numbers on the host by now."""
        if self._recording is not None:
            self._recording.told(self.model, epoch, logs or {})

    def on_train_end(self, logs: Mapping[str, Any] | None = None) -> None:
        """The training has ended."""
        ended, self._recording = self._recording, None
        if ended is None:
            return
        ended.end(self.model)
        if ended.container is not None and not ended.added_callbacks:
            kept = [other for other in ended.container.callbacks if not isinstance(other, FirstCallback)]
            ended.container.callbacks = kept

    def __getstate__(self) -> dict[str, Any]:
        """A copy takes no part in the training that this one watches, and holds no model."""
        return {}


class FirstCallback(Callback):  # type: ignore[misc]
    """The first callback of a training that is recorded. It hears of an epoch before another callback raises, and sees
    the learning rate before another changes it."""

    def __init__(self, training: Recording) -> None:
        super().__init__()
        self._recording = training

    def on_epoch_end(self, epoch: int, logs: Mapping[str, Any] | None = None) -> None:
        """An epoch has ended, with its validation."""
        self._recording.epoch(self.model, epoch, logs or {})


def add_callbacks(container: Any) -> None:
    """Put our callbacks around those of a training that begins, unless it is recorded already.

    The container's collection of callbacks is one that Keras has made. :func:`remove_callbacks` takes ours out again.
    """
    model = getattr(container, "_model", None)
    training = None if model is None else recording.begin(model, container)
    if training is None:
        return
    first, last = _ready(FirstCallback(training), container), _ready(TachographCallback(), container)
    last._claimed = training
    container.callbacks.insert(0, first)
    container.callbacks.append(last)
    training.added_callbacks = (first, last)


def remove_callbacks(model: Any, outer: Recording | None) -> None:
    """Take our callbacks out after a ``fit`` of ``model``, however it ended.

    ``outer`` is what was being recorded of the model before the call.
    """
    ended = TRAININGS.of(model)
    if ended is None or ended is outer:
        return
    TRAININGS.end(model)
    container = ended.container
    if container is not None:
        container.callbacks[:] = [kept for kept in container.callbacks if not _is_among(kept, ended.added_callbacks)]


def _ready(callback: Any, container: Any) -> Any:
    """``callback``, prepared as those in ``container`` are."""
    callback.set_model(container._model)
    callback.set_params(getattr(container, "params", None))
    return callback


def _container(callback: Any) -> Any:
    """The list of callbacks that is calling ``callback``: Keras does not hand it to callbacks."""
    for frame in stack_frames.outward(sys._getframe(1)):
        caller = stack_frames.variables(frame).get("self")
        if isinstance(caller, CallbackList) and _is_among(callback, caller.callbacks):
            return caller
    return None


def _is_among(callback: Any, others: Iterable[Any]) -> bool:
    return any(callback is other for other in others)
