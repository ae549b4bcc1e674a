"""Numbers in tensors: read at once on the host, copied without waiting from a device."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch

CELLS = 1024
_UNWRITTEN = {  # a NaN that no arithmetic makes
    torch.float32: (np.uint32, 0x7FDEAD01),
    torch.float64: (np.uint64, 0x7FFDEAD0_7AC0_0001),
}
_PINS = ("cuda", "xpu")  # devices that copy into pinned memory on their own


class Cells:
    """Pinned memory of the host, a cell for each number that is on its way.

    A cell shows by itself when its number has come: it no longer holds what it was filled with. So nothing has to be
    asked of the device, which could wait, or break a capture of its work that goes on in another thread.
    """

    def __init__(self, kind: torch.dtype) -> None:
        self._kind = kind
        self._integer, self._unwritten = _UNWRITTEN[kind]
        self._free: list[Cell] = []  # taken from and added to in one step each: a lock would stop a signal handler

    def copy(self, tensor: torch.Tensor) -> Cell:
        """Ask for a copy of a scalar, in the order of the work on its stream: later in-place changes don't reach it."""
        cell = self._take()
        cell.tensor.copy_(tensor.detach(), non_blocking=True)
        return cell

    def is_written(self, cell: Cell) -> bool:
        """Whether its number is there."""
        return bool(cell.bits[0] != self._unwritten)

    def take(self, cell: Cell) -> float:
        """Return its number, and free the cell."""
        number = float(cell.number[0])
        cell.bits[0] = self._unwritten
        self._free.append(cell)
        return number

    def _take(self) -> Cell:
        while True:
            try:
                return self._free.pop()
            except IndexError:
                self._grow()

    def _grow(self) -> None:
        memory = torch.empty(CELLS, dtype=self._kind, pin_memory=True)
        numbers = memory.numpy()
        bits = numbers.view(self._integer)
        bits[:] = self._unwritten
        self._free += [
            Cell(self, memory[index], numbers[index : index + 1], bits[index : index + 1]) for index in range(CELLS)
        ]


class Cell:
    """Where one number arrives: as a tensor to copy to, as a number and as bits to look at."""

    __slots__ = ("_cells", "bits", "number", "tensor")

    def __init__(self, cells: Cells, tensor: torch.Tensor, number: Any, bits: Any) -> None:
        self._cells, self.tensor, self.number, self.bits = cells, tensor, number, bits

    def ready(self) -> bool:
        """Whether the number is there."""
        return self._cells.is_written(self)

    def value(self) -> float:
        """The number, once it is there; to be asked for once."""
        return self._cells.take(self)


class Cloned:
    """A scalar that was copied on its own device, where that can't copy to the host on its own: reading it waits, in
    the thread that reads."""

    __slots__ = ("_copy",)

    def __init__(self, copy: Any) -> None:
        self._copy = copy

    def ready(self) -> bool:
        """Whether it may be read: at any time."""
        return True

    def value(self) -> float:
        """Wait for the number, and return it."""
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
        """The mean, once all are there."""
        return mean([part if type(part) is float else part.value() for part in self._parts])


class Sum(Mean):
    """The sum of several numbers, some of them on their way."""

    def value(self) -> float:
        """The sum, once all are there."""
        return super().value() * len(self._parts)


def mean(values: Sequence[float]) -> float:
    """The mean of at least one number."""
    return values[0] if len(values) == 1 else sum(values) / len(values)


_cells: dict[torch.dtype, Cells] = {}


def start_copy(tensor: Any) -> Cell | Cloned | None:
    """A copy of a one-element tensor that is on a device; None for one on the host, which can simply be read.

    Raises ValueError for a tensor that holds no number, or can't be read here.
    """
    tensor = local(tensor)
    kind = tensor.device.type
    if kind == "cpu":
        return None
    if tensor.numel() != 1 or kind == "meta":
        raise ValueError(f"a tensor of shape {tuple(tensor.shape)} on {kind} is no number")
    if kind not in _PINS:
        return Cloned(tensor.detach().clone())
    if getattr(getattr(torch, kind), "is_current_stream_capturing", bool)():
        raise ValueError("a tensor can't be read while a graph of its work is captured")
    dtype = torch.float64 if tensor.dtype in (torch.float64, torch.int64) else torch.float32
    if dtype not in _cells:
        _cells[dtype] = Cells(dtype)
    return _cells[dtype].copy(tensor.reshape(()) if tensor.ndim else tensor)


def local(tensor: Any) -> Any:
    """The tensor itself, or of a distributed one this rank's part: to gather it would be a message between ranks."""
    return getattr(tensor, "_local_tensor", tensor)


def read(tensor: Any) -> float | Cell | Cloned | None:
    """A one-element tensor as a number, or as a copy that will be one; None for what holds no number."""
    if tensor.numel() != 1:
        return None
    if tensor.is_cpu and type(tensor) is torch.Tensor:
        return float(tensor.item())
    try:
        copy = start_copy(tensor)
        return float(local(tensor).item()) if copy is None else copy
    except (ValueError, RuntimeError, NotImplementedError):  # a capture, or a stand-in for a tensor (fake, functional)
        return None
