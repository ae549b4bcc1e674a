"""What is done at every step of a plain loop.

This happens when nothing of ours is in the processor's caches: hence few calls, few things that are touched, and all of
it here. It is the hot path: what is special about a step is left to methods of the classes that are made of these.
``_in_c.c`` is the same in C, which takes half the time. It is used where it could be built.
"""

from __future__ import annotations

from collections.abc import Callable
from sys import _getframe
from threading import get_ident
from time import perf_counter, time
from types import FrameType
from typing import Any, TypeAlias

from torch import Tensor

from tachograph import guard
from tachograph.events import Metrics
from tachograph.hooks import Hooks, session
from tachograph.hooks.session import alive
from tachograph.record import open_runs
from tachograph.record.open_runs import stack
from tachograph_frameworks.torch.device import read
from tachograph_frameworks.torch.loss_names import KnownPlace, latest_names

FRAMES = 3  # of Python's, from inside of ``StepListener._backward`` to the user's call of ``backward``
LAYOUT = 5  # of the classes below: changed with them, here and in C
MOST_WAITING = 200  # passes of one loss that wait for a step on the hot path
READING = "_tachograph_reading"  # the attribute of an iterator that has its pass

# A step, when it was (seconds since 1970), and values. On the hot path, where there are one loss and one rate, None
# for values, and then the name of the loss (None without one), its value, the name of the rate and its value.
Note: TypeAlias = tuple[int, float, dict[str, Any] | None, Any, Any, Any, Any]


class Slot:
    """An optimizer's steps, and of how many one is recorded. ``id`` is the optimizer's, ``rate`` the name of its only
    learning rate, or None, and ``curves`` has what each loss is called."""

    __slots__ = ("curves", "every", "id", "rate", "steps")


class Notes:
    """What was heard in one thread, in the context ``stack``, and is to be recorded.

    ``name`` and ``value`` are the coming step's loss, None where there is none yet, and a list of numbers where there
    were several passes; ``slot`` is the optimizer that made the last step, and ``slots`` has all of them by their ids.
    ``call`` is the generator or coroutine in which all this is, by the id of its frame, or 0. ``due`` is when what is
    ``noted`` is to be recorded, in seconds since 1970. ``batch_is_new`` says that the coming step is the first one on
    what a data loader gives.
    """

    __slots__ = ("batch_is_new", "call", "due", "name", "noted", "slot", "slots", "stack", "thread", "value")

    batch_is_new: bool
    call: int
    due: float
    name: str | None
    noted: list[Note]
    slot: Any
    slots: dict[int, Any]
    stack: Any
    thread: int
    value: Any


class Pass:
    """A pass over a data loader: the ``id`` of its iterator, once its batches need not be looked at; how many there
    were, when the last one came, and how long was waited for them, in seconds on the clock of ``perf_counter``."""

    __slots__ = ("batches", "id", "last", "waited")


class StepListener:
    """Listens to ``backward`` and to the steps of optimizers.

    ``_plain`` is where the last step was noted, if nothing was special about it. It is used where the coming step is
    made in the same thread and context; all others go to the methods of the class that is made of this one.
    """

    __slots__ = ("_plain",)

    _plain: Any
    _backward: Callable[[Any], None]
    _stepped: Callable[[Any], None]
    _settle: Callable[[Any], None]
    _train_on: Callable[[Any], None]

    def backward_hook(self, hooks: Hooks, original: Callable[..., Any]) -> Callable[..., Any]:
        """Returns what is called in the place of ``Tensor.backward``; all in one function."""

        def backward(tensor: Any, *args: Any, **kwargs: Any) -> Any:
            try:
                plain = self._plain
                if alive and session.inside():
                    pass
                elif (
                    plain is None
                    or plain.thread != get_ident()
                    or stack() is not plain.stack
                    or type(tensor) is not Tensor
                ):
                    if hooks.on:
                        self._backward(tensor)
                else:
                    caller = _getframe(1)
                    known = latest_names.get(caller.f_lasti)
                    if known is None or not _is_at(caller, known, plain) or not _has_room(plain, known.name):
                        self._backward(tensor)
                    else:
                        try:
                            value = tensor.item() if tensor.is_cpu else read(tensor)
                        except RuntimeError:  # it has several elements, or none
                            value = None
                        if value is not None:
                            _add_loss(plain, known.name, value)
            except guard.FAULTS as error:
                guard.fault("torch: Tensor.backward", error, open_runs.here())
            if args or kwargs:
                return original(tensor, *args, **kwargs)
            return original(tensor)  # as most call it, which takes less

        return backward

    def stepped(self, optimizer: Any, args: Any, kwargs: Any) -> None:
        """An optimizer has made its step. Called by torch itself."""
        if alive and session.inside():
            return
        plain = self._plain
        if (
            plain is None
            or plain.thread != get_ident()
            or stack() is not plain.stack
            or (slot := _slot_of(plain, optimizer)) is None
            or slot.rate is None
            or (plain.name is not None and (plain.name not in slot.curves or type(plain.value) is list))
        ):
            self._stepped(optimizer)
            return
        try:
            (group,) = optimizer.param_groups
            rate = group["lr"]
        except (LookupError, TypeError, ValueError, AttributeError):
            rate = None
        if type(rate) is not float and type(rate) is not int:
            self._stepped(optimizer)
            return
        plain.slot = slot
        if plain.batch_is_new:
            self._train_on(plain)
        step, now = slot.steps, time()
        slot.steps = step + 1
        if step % slot.every == 0:
            name = None if plain.name is None else slot.curves[plain.name]
            plain.noted.append((step, now, None, name, plain.value, slot.rate, rate))
        plain.name = None
        if now > plain.due:
            self._settle(plain)


def _is_at(caller: FrameType, known: KnownPlace, plain: Notes) -> bool:
    """Whether ``backward`` is called at this place, in the same generator or coroutine, if any, as the last step."""
    if known.code is not caller.f_code or known.call != plain.call:
        return False
    outer: FrameType | None = caller
    for _ in range(known.depth):
        outer = None if outer is None else outer.f_back
    return known.call in (0, id(outer))


def _slot_of(plain: Notes, optimizer: Any) -> Any:
    """The optimizer's slot; None where it has none yet, or may be a suspended generator's."""
    slot = plain.slot
    if slot is not None and slot.id != id(optimizer) and plain.call == 0:
        slot = plain.slots.get(id(optimizer))
    return slot if slot is not None and slot.id == id(optimizer) else None


def _has_room(plain: Notes, name: str) -> bool:
    """Whether one more pass of the loss can wait for its step here."""
    is_full = type(plain.value) is list and len(plain.value) >= MOST_WAITING
    return plain.name is None or (plain.name is name and not is_full)


def _add_loss(plain: Notes, name: str, value: Any) -> None:
    if plain.name is None:
        plain.value, plain.name = value, name
    elif type(plain.value) is list:
        plain.value.append(value)
    else:
        plain.value = [plain.value, value]


class LoaderListener:
    """Listens to data loaders. ``latest`` is the pass that gave the last batch; ``ignored`` is the id of the last
    iterator that has none, until another one is made."""

    __slots__ = ("ignored", "latest")

    ignored: int
    latest: Any
    _batch_came: Callable[[Any, Any, Any], None]
    _stopped: Callable[[Any], None]

    def next_hook(self, hooks: Hooks, original: Callable[[Any], Any]) -> Callable[[Any], Any]:
        """Returns what is called in the place of ``__next__`` of a data loader's iterator; all in one function."""

        def call(iterator: Any) -> Any:
            reading, is_looked_at = self.latest, False
            if reading is None or reading.id != id(iterator):
                if self.ignored == id(iterator):
                    return original(iterator)
                reading, is_looked_at = getattr(iterator, READING, None) if hooks.on else None, True
                if reading is None:
                    self.ignored = id(iterator)
                    return original(iterator)
            began = perf_counter()
            try:
                batch = original(iterator)
            except StopIteration:
                self._stopped(reading)
                raise
            reading.last = now = perf_counter()
            reading.waited += now - began
            reading.batches += 1
            if is_looked_at:
                self._batch_came(iterator, reading, batch)
            return batch

        return call


def plain_events(notes: list[Note], start: int, events: list[Metrics]) -> int:
    """Add the events that notes of the hot path are, from number ``start`` on, up to the first one that is not plain.
    Returns the number of that one, or how many notes there are."""
    for index in range(start, len(notes)):
        step, at, values, name, value, rate_name, rate = notes[index]
        if values is not None or not (_is_finite(rate) and (name is None or _is_finite(value))):
            return index
        events.append(Metrics(0, 0, at, step, {rate_name: rate} if name is None else {name: value, rate_name: rate}))
    return len(notes)


def _is_finite(value: Any) -> bool:
    return type(value) is float and value - value == 0.0
