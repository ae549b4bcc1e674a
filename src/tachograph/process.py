"""Who am I: this process's identity, and the processes that it comes from."""

from __future__ import annotations

import os
import re
import sys
import time
from collections.abc import Iterable
from functools import lru_cache
from typing import Any

import msgspec


class Process(msgspec.Struct, frozen=True):
    """A process on some machine, told apart from any later one with the same number.

    ``boot`` changes when the machine restarts, ``born`` is the process's start time in clock ticks since boot
    (Linux) or hundredths of a second since 1970 (elsewhere); 0 where it could not be read.
    """

    host: str
    boot: str
    pid: int
    born: int

    @property
    def place(self) -> str:
        """The host as it stands in the names of writers."""
        return re.sub(r"[^A-Za-z0-9.]", "_", self.host)[:40]

    def __str__(self) -> str:
        return f"{self.host}:{self.boot}:{self.pid}:{self.born}"


def this() -> Process:
    """The running process."""
    return _describe(os.getpid())


def numbered(pid: int) -> Process:
    """The process that has this number now."""
    return Process(_host(), _boot(), pid, _born(pid) or 0)


_describe = lru_cache(maxsize=4)(numbered)  # by number: a forked child asks with its own


def started(process: Process) -> float:
    """When a process of this machine was started, in seconds since 1970."""
    if sys.platform != "linux":
        return process.born / 100
    return time.time() - (time.clock_gettime(time.CLOCK_BOOTTIME) - process.born / os.sysconf("SC_CLK_TCK"))


def is_gone(process: Process) -> bool:
    """Whether ``process`` provably no longer runs. Of a process on another machine nothing can be proven."""
    here = this()
    if process.host != here.host:
        return False
    if process.boot != here.boot:
        return True
    born = _born(process.pid)
    return born is None or (0 not in (born, process.born) and born != process.born)


def _host() -> str:
    if hasattr(os, "uname"):
        return os.uname().nodename
    import socket

    return socket.gethostname()


def _boot() -> str:
    try:
        with open("/proc/sys/kernel/random/boot_id", encoding="ascii") as file:
            return file.read().strip()
    except OSError:
        return ""


def _born(pid: int) -> int | None:
    """When ``pid`` started; None where no such process runs (a zombie has ended: it only waits to be reaped), and 0
    where that can't be seen."""
    if sys.platform != "linux":
        return _born_elsewhere(pid)
    try:
        with open(f"/proc/{pid}/stat", "rb") as file:
            # The second field is the program's name in parentheses, and may itself hold blanks and parentheses.
            fields = file.read().rpartition(b")")[2].split()
    except (FileNotFoundError, ProcessLookupError):
        return 0 if _is_hidden(pid) else None
    except OSError:
        return 0
    return None if fields[0] in (b"Z", b"X") else int(fields[19])


def _is_hidden(pid: int) -> bool:
    """Whether ``pid`` runs though ``/proc`` doesn't show it: the ``hidepid`` of many clusters hides other users'."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except OSError:
        return True
    return False  # it is ours, and would be shown: it ended between the two looks


def _born_elsewhere(pid: int) -> int | None:
    import psutil

    try:
        process = psutil.Process(pid)
        return None if process.status() == psutil.STATUS_ZOMBIE else int(process.create_time() * 100)
    except psutil.NoSuchProcess:
        return None
    except psutil.Error:
        return 0


def is_child() -> bool:
    """Whether ``multiprocessing``, or what is built on it, started this process."""
    module = sys.modules.get("multiprocessing.process")
    return module is not None and module.parent_process() is not None


def parent() -> Process | None:
    """The process that started this one; None where it is gone."""
    number = starter_of_child() or os.getppid()
    return _describe(number) if number > 1 and _born(number) is not None else None


def starter_of_child() -> int:
    """The number of the process that started this one with ``multiprocessing``, which may do so through a server."""
    module = sys.modules.get("multiprocessing.process")
    parent = module.parent_process() if module is not None else None
    return parent.pid or 0 if parent is not None else 0


def parent_of(pid: int) -> int:
    """The number of the process that started ``pid``; 0 where that can't be seen."""
    if sys.platform != "linux":
        return _elsewhere(pid, "ppid") or 0
    try:
        with open(f"/proc/{pid}/stat", "rb") as file:
            return int(file.read().rpartition(b")")[2].split()[1])
    except OSError:
        return 0


def started_with(pid: int, names: Iterable[str]) -> dict[str, str | None]:
    """The values of some environment variables when ``pid`` was started; None for all where that can't be seen."""
    if sys.platform != "linux":
        variables = _elsewhere(pid, "environ") or {}
    else:
        try:
            with open(f"/proc/{pid}/environ", "rb") as file:
                pairs = (os.fsdecode(entry).partition("=") for entry in file.read().split(b"\0"))
                variables = {name: value for name, _, value in pairs}
        except OSError:
            variables = {}
    return {name: variables.get(name) for name in names}


def _elsewhere(pid: int, what: str) -> Any:
    import psutil

    try:
        return getattr(psutil.Process(pid), what)()
    except psutil.Error:
        return None
