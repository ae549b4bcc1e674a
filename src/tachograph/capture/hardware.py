"""What the machine did while it trained: processor, memory, disk, network, GPUs.

Readings are taken from counters; nothing is measured over an interval of waiting. Rates are since the sample before.
"""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from tachograph.capture.gpus import open_gpus

_SHORTEST = 0.1  # seconds; the clocks of processes tick every 0.01 seconds, and tell nothing of a shorter time
_LOOPBACK = ("lo", "lo0", "Loopback Pseudo-Interface 1")


class Sampler:
    """Takes samples of the hardware, named ``system/...``.

    * ``cpu.percent`` of the whole machine; ``memory.percent`` and ``memory.available`` (bytes), both of the container
      where it has a limit; ``disk.free`` (bytes) where ``folder`` is; ``disk.read``, ``disk.written``,
      ``network.sent`` and ``network.received`` (bytes since the sampler was made, the whole machine, without loopback).
    * ``process.cpu.percent`` (100 = one core) and ``process.memory.rss`` (bytes) of this process alone;
      ``workers.count``, ``workers.cpu.percent`` and ``workers.memory.rss`` of its descendants, such as data loaders,
      while there are any. They are kept apart because pages that workers share would count several times in a sum.
      These and ``cpu.percent`` need a tenth of a second since the sample before.
    * ``gpu.0.utilization`` (percent), ``.memory.used`` (bytes), ``.memory.percent``, ``.power`` (watts),
      ``.temperature`` (degrees Celsius) and ``.process.memory`` (bytes, this process's share): the GPUs that
      ``CUDA_VISIBLE_DEVICES`` leaves to this process, numbered as it numbers them.

    A reading that the machine does not offer is left out. Used in a forked child, a sampler starts anew.
    """

    def __init__(self, folder: str | os.PathLike[str] = ".") -> None:
        self._folder = os.fspath(folder)
        with contextlib.suppress(OSError):  # the working folder was removed
            self._folder = os.path.abspath(folder)
        self._open()

    def _open(self) -> None:
        import psutil

        self._psutil: Any = psutil
        self._pid = os.getpid()
        self._process = psutil.Process()
        self._workers: dict[Any, float] = {}  # processor seconds of each worker at the last sample
        self._gpus = open_gpus()
        self._io_at_start = self._offered(self._disk_io, self._network_io)
        self._machine_before = self._machine_times()
        self._process_before = _seconds(self._process.cpu_times())
        self._elapsed = 0.0  # seconds between the last two samples
        self._at = time.monotonic()

    def sample(self) -> dict[str, float]:
        """The readings of now, by the names that the class describes. Takes a millisecond or two."""
        if os.getpid() != self._pid:
            self._open()
        values = self._offered(self._memory, self._disk, self._own_memory)
        now = time.monotonic()
        if now - self._at >= _SHORTEST:
            self._elapsed, self._at = now - self._at, now
            values.update(self._offered(self._machine, self._own_share, self._descendants))
        for name, value in self._offered(self._disk_io, self._network_io).items():
            values[name] = value - self._io_at_start.get(name, 0)
        for number, gpu in enumerate(self._gpus):
            values.update({f"gpu.{number}.{name}": value for name, value in gpu.read().items()})
        return {f"system/{name}": value for name, value in values.items()}

    def _offered(self, *readings: Callable[[], dict[str, float]]) -> dict[str, float]:
        """The values of all ``readings``. Where the system hides one of them, as sandboxes do, the others are there."""
        values: dict[str, float] = {}
        for reading in readings:
            with contextlib.suppress(OSError, NotImplementedError, self._psutil.Error):
                values.update(reading())
        return values

    def _machine(self) -> dict[str, float]:
        before, self._machine_before = self._machine_before, self._machine_times()
        busy, total = (now - then for now, then in zip(self._machine_before, before, strict=True))
        return {"cpu.percent": min(100.0, max(0.0, 100 * busy / total))} if total > 0 else {}

    def _machine_times(self) -> tuple[float, float]:
        """Seconds that all processors were busy, and seconds altogether.

        Not psutil's own percentage: its memory of the last call is shared with the user's calls.
        """
        times = self._psutil.cpu_times()._asdict()
        total = sum(times.values()) - times.get("guest", 0.0) - times.get("guest_nice", 0.0)  # within user and nice
        return total - times["idle"] - times.get("iowait", 0.0), total

    def _memory(self) -> dict[str, float]:
        machine = self._psutil.virtual_memory()
        values = {"memory.percent": machine.percent, "memory.available": machine.available}
        if container := container_memory(machine.total):
            values["memory.percent"] = 100 * container.used / container.limit
            values["memory.available"] = min(machine.available, max(0, container.limit - container.used))
        return values

    def _disk(self) -> dict[str, float]:
        return {"disk.free": self._psutil.disk_usage(self._folder).free}

    # nowrap=False: the correction for wrapped counters keeps a memory that is shared with the user's calls.

    def _disk_io(self) -> dict[str, float]:
        disk = self._psutil.disk_io_counters(nowrap=False)
        return {"disk.read": disk.read_bytes, "disk.written": disk.write_bytes} if disk else {}

    def _network_io(self) -> dict[str, float]:
        networks = self._psutil.net_io_counters(pernic=True, nowrap=False)
        cards = [card for name, card in networks.items() if name not in _LOOPBACK]
        return {
            "network.sent": sum(card.bytes_sent for card in cards),
            "network.received": sum(card.bytes_recv for card in cards),
        }

    def _own_memory(self) -> dict[str, float]:
        return {"process.memory.rss": self._process.memory_info().rss}

    def _own_share(self) -> dict[str, float]:
        before, self._process_before = self._process_before, _seconds(self._process.cpu_times())
        return {"process.cpu.percent": 100 * (self._process_before - before) / self._elapsed}

    def _descendants(self) -> dict[str, float]:
        """The workers' share. What one did between its last sample and its end is not counted."""
        before, self._workers = self._workers, {}
        spent = memory = 0.0
        for worker in self._process.children(recursive=True):
            with contextlib.suppress(self._psutil.Error), worker.oneshot():
                seconds = _seconds(worker.cpu_times())
                memory += worker.memory_info().rss
                spent += seconds - before.get(worker, 0.0)
                self._workers[worker] = seconds
        if not self._workers:
            return {}
        return {
            "workers.count": len(self._workers),
            "workers.cpu.percent": 100 * spent / self._elapsed,
            "workers.memory.rss": memory,
        }


def _seconds(times: Any) -> float:
    """Processor time of a process, without that of its ended children."""
    return float(times.user + times.system)


# ---- memory of a container -------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class ContainerMemory:
    """The memory of a control group in bytes: its limit, and what is used of it without file cache that can be
    dropped."""

    limit: int
    used: int


# Where a version of control groups is mounted, its files for limit and use, and what it calls the idle file cache.
_GROUPS = {
    "": ("/sys/fs/cgroup", "memory.max", "memory.current", "inactive_file"),
    "memory": ("/sys/fs/cgroup/memory", "memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file"),
}


def container_memory(machine: int) -> ContainerMemory | None:
    """The tightest memory limit around this process; None where it has the ``machine``'s whole memory (bytes)."""
    limited = [group for group in _control_groups() if group.limit < machine]
    return min(limited, key=lambda group: group.limit - group.used, default=None)


def memory_size() -> dict[str, int]:
    """Bytes of memory: the machine's ``total`` and, in a container that has one, its ``limit``."""
    import psutil

    total = psutil.virtual_memory().total
    container = container_memory(total)
    return {"total": total, "limit": container.limit} if container else {"total": total}


def _control_groups() -> Iterator[ContainerMemory]:
    """The limited control groups that this process is in, from its own up to the root."""
    for controllers, path in _memberships():
        mount, limit, used, cache = _GROUPS[controllers]
        parts = [part for part in path.split("/") if part]
        for depth in range(len(parts), -1, -1):
            folder = "/".join([mount, *parts[:depth]])
            # In a container the path is often that of the host, and doesn't exist: then its root is ours.
            with contextlib.suppress(OSError, ValueError):  # "max", no limit, is no number
                bound = int(_read(f"{folder}/{limit}"))
                yield ContainerMemory(
                    bound, int(_read(f"{folder}/{used}")) - _idle_cache(f"{folder}/memory.stat", cache)
                )


def _memberships() -> list[tuple[str, str]]:
    """Controllers and path of the control groups that bear on memory."""
    try:
        lines = _read("/proc/self/cgroup").splitlines()
    except OSError:  # not Linux
        return []
    fields = (line.split(":", 2) for line in lines)
    return [(controllers, path) for _, controllers, path in fields if controllers in _GROUPS]


def _idle_cache(file: str, name: str) -> int:
    fields = dict(line.split() for line in _read(file).splitlines())
    return int(fields.get(name, 0))


def _read(file: str) -> str:
    with open(file, encoding="ascii", errors="replace") as opened:
        return opened.read()
