"""Numbers in tensors: read at once on the host, copied without waiting from a device."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch


class Arriving:
    """A scalar on its way from a device, in the order of the work on its stream: later in-place changes don't reach it.

    ``copy`` is the host's memory, ``event`` passes when it was filled.
    """

    __slots__ = ("_copy", "_event")

    def __init__(self, copy: Any, event: Any) -> None:
        self._copy, self._event = copy, event

    def ready(self) -> bool:
        """Whether the copy is there."""
        return bool(self._event.query())

    def value(self) -> float:
        """The number; waits for it."""
        self._event.synchronize()
        return float(self._copy)


class Cloned:
    """A scalar that was copied on its own device, where that has no events of ours to wait for: reading it waits, in
    the thread that reads."""

    __slots__ = ("_copy",)

    def __init__(self, copy: Any) -> None:
        self._copy = copy

    def ready(self) -> bool:
        """It may be read at any time."""
        return True

    def value(self) -> float:
        """The number; waits for it."""
        return float(self._copy.item())


class Mean:
    """The mean of several numbers, some of them on their way."""

    __slots__ = ("_parts",)

    def __init__(self, parts: Sequence[Any]) -> None:
        self._parts = parts

    def ready(self) -> bool:
        """Whether all have arrived."""
        return all(type(part) is float or part.ready() for part in self._parts)

    def value(self) -> float:
        """The mean; waits for the parts."""
        return mean([part if type(part) is float else part.value() for part in self._parts])


def mean(values: Sequence[float]) -> float:
    """The mean of at least one number."""
    return values[0] if len(values) == 1 else sum(values) / len(values)


def start_copy(tensor: Any) -> Arriving | Cloned | None:
    """A copy of a one-element tensor that is on a device; None for one on the host, which can simply be read.

    Raises ValueError for a tensor that holds no number, or can't be read here.
    """
    tensor = local(tensor)
    kind = tensor.device.type
    if kind == "cpu":
        return None
    if tensor.numel() != 1 or kind == "meta":
        raise ValueError(f"a tensor of shape {tuple(tensor.shape)} on {kind} is no number")
    backend: Any = getattr(torch, kind, None)
    if not hasattr(backend, "Event"):
        return Cloned(tensor.detach().clone())
    if getattr(backend, "is_current_stream_capturing", bool)():
        raise ValueError("a tensor can't be read while a graph of its work is captured")
    with backend.device(tensor.device):
        copy = tensor.detach().to("cpu", non_blocking=True)  # into pinned memory, which torch keeps for such copies
        event = backend.Event()
        event.record()
    return Arriving(copy, event)


def local(tensor: Any) -> Any:
    """The tensor itself, or of a distributed one this rank's part: to gather it would be a message between ranks."""
    return getattr(tensor, "_local_tensor", tensor)


def read(tensor: Any) -> float | Arriving | Cloned | None:
    """A one-element tensor as a number, or as a copy that will be one; None for what holds no number."""
    if tensor.numel() != 1:
        return None
    if type(tensor) is torch.Tensor and tensor.device.type == "cpu":
        return float(tensor.item())
    try:
        copy = start_copy(tensor)
        return float(local(tensor).item()) if copy is None else copy
    except (ValueError, RuntimeError, NotImplementedError):  # a capture, or a stand-in for a tensor (fake, functional)
        return None
