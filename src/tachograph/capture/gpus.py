"""NVIDIA's GPUs that this process may use: what they are, and their readings."""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from types import ModuleType
from typing import Any


@dataclass(frozen=True)
class Gpu:
    """A GPU of this process, read through NVIDIA's management library."""

    nvml: ModuleType
    handle: Any

    def read(self) -> dict[str, float]:
        """The readings that this GPU offers; a part of a GPU, for one, has no power meter of its own."""
        values: dict[str, float] = {}
        for reading in (self._utilization, self._memory, self._power, self._temperature, self._process_memory):
            with contextlib.suppress(self.nvml.NVMLError):
                values.update(reading())
        return values

    def describe(self) -> dict[str, Any]:
        """What it is: name, memory (bytes), uuid, driver, and the newest CUDA version that the driver supports."""
        facts: dict[str, Callable[[], Any]] = {
            "name": lambda: self.nvml.nvmlDeviceGetName(self.handle),
            "memory": lambda: int(self.nvml.nvmlDeviceGetMemoryInfo(self.handle).total),
            "uuid": lambda: self.nvml.nvmlDeviceGetUUID(self.handle),
            "driver": lambda: self.nvml.nvmlSystemGetDriverVersion(),
            "cuda": lambda: _cuda_version(self.nvml.nvmlSystemGetCudaDriverVersion()),
        }
        description = {}
        for name, fact in facts.items():
            with contextlib.suppress(self.nvml.NVMLError):
                description[name] = fact()
        return description

    def _utilization(self) -> dict[str, float]:
        return {"utilization": self.nvml.nvmlDeviceGetUtilizationRates(self.handle).gpu}

    def _memory(self) -> dict[str, float]:
        memory = self.nvml.nvmlDeviceGetMemoryInfo(self.handle)
        return {"memory.used": memory.used, "memory.percent": 100 * memory.used / memory.total}

    def _power(self) -> dict[str, float]:
        return {"power": self.nvml.nvmlDeviceGetPowerUsage(self.handle) / 1000}  # given in milliwatts

    def _temperature(self) -> dict[str, float]:
        return {"temperature": self.nvml.nvmlDeviceGetTemperature(self.handle, self.nvml.NVML_TEMPERATURE_GPU)}

    def _process_memory(self) -> dict[str, float]:
        # A container that has process numbers of its own doesn't find itself here, and has no such reading.
        processes = self.nvml.nvmlDeviceGetComputeRunningProcesses_v3(self.handle)
        used = [process.usedGpuMemory for process in processes if process.pid == os.getpid()]
        return {"process.memory": sum(used)} if used and None not in used else {}


def open_gpus(environment: Mapping[str, str] = os.environ) -> list[Gpu]:
    """The GPUs that ``CUDA_VISIBLE_DEVICES`` leaves to this process, in its order; none without NVIDIA's driver.

    The order of all GPUs is that of the bus, as ``nvidia-smi`` shows it. CUDA's own differs on a machine with several
    models of GPU, unless ``CUDA_DEVICE_ORDER=PCI_BUS_ID`` is set.
    """
    nvml = _open_nvml()
    if nvml is None:
        return []
    try:
        return [Gpu(nvml, handle) for handle in _visible(nvml, environment.get("CUDA_VISIBLE_DEVICES"))]
    except nvml.NVMLError:
        return []


def describe_gpus() -> list[dict[str, Any]]:
    """What the GPUs of this process are; see :meth:`Gpu.describe`."""
    return [gpu.describe() for gpu in open_gpus()]


def _open_nvml() -> Any:
    """The module of NVIDIA's management library, ready for use; None where there is no driver or no such module."""
    if not _has_driver():
        return None  # the import of pynvml takes 20 ms: only where it will be of use
    try:
        import pynvml

        pynvml.nvmlInit()
    except ImportError:
        return None
    except pynvml.NVMLError:
        return None
    return pynvml


def _has_driver() -> bool:
    import ctypes

    try:
        ctypes.CDLL("nvml.dll" if sys.platform == "win32" else "libnvidia-ml.so.1")
    except OSError:
        return False
    return True


def _visible(nvml: Any, variable: str | None) -> list[Any]:
    """The devices that ``variable`` names by number or UUID. As for CUDA, the first unknown one ends the list."""
    devices = [nvml.nvmlDeviceGetHandleByIndex(index) for index in range(nvml.nvmlDeviceGetCount())]
    if variable is None:
        return devices
    chosen: list[Any] = []
    for name in variable.split(","):
        device = _device(nvml, devices, name.strip())
        if device is None:
            break
        chosen.append(device)
    return chosen


def _cuda_version(number: int) -> str:
    """``12040`` as ``"12.4"``."""
    return f"{number // 1000}.{number % 1000 // 10}"


def _device(nvml: Any, devices: Sequence[Any], name: str) -> Any:
    """The device of that number, that UUID (a beginning of it suffices) or, of a part of a GPU, that whole UUID."""
    if name.isdecimal():
        return devices[int(name)] if int(name) < len(devices) else None
    if name.startswith("MIG-"):
        with contextlib.suppress(nvml.NVMLError):
            return nvml.nvmlDeviceGetHandleByUUID(name)
    if name.startswith("GPU-"):
        return next((device for device in devices if nvml.nvmlDeviceGetUUID(device).startswith(name)), None)
    return None
