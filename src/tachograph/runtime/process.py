"""The identity of this process and of others: which one it is, whether it still runs, which one started it."""

from __future__ import annotations

import os
import re
import sys
import time
import zlib
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

import msgspec

if TYPE_CHECKING:
    from tachograph.events import RunStart


_FIRST_NAMESPACE = 4026531836  # of the numbers of processes: the machine's own, in every Linux


class Process(msgspec.Struct, frozen=True):
    """A process on some machine, told apart from any later one with the same number.

    ``boot`` changes when the machine restarts, ``born`` is the process's start time in clock ticks since boot
    (Linux) or hundredths of a second since 1970 (elsewhere); 0 where it could not be read. ``namespace`` is that of the
    process's number: a container has its own; 0 where it is not known. ``machine`` tells machines with equal host names
    apart, "" where nothing does (in a container, whose files may be those of many others), and None in what older
    versions have written.
    """

    host: str
    boot: str
    pid: int
    born: int
    namespace: int = 0
    machine: str | None = None

    @property
    def place(self) -> str:
        """The host in the form in which names of writers hold it."""
        return re.sub(r"[^A-Za-z0-9.]", "_", self.host)[:40]

    def __str__(self) -> str:
        return f"{self.host}:{self.boot}:{self.pid}:{self.born}"


def this() -> Process:
    """The running process."""
    return _describe(os.getpid())


def numbered(pid: int) -> Process:
    """The process that has this number now."""
    return Process(_host(), _boot(), pid, _born(pid) or 0, _namespace(), _machine())


def of(start: RunStart) -> Process:
    """The process that a writer's header names."""
    return Process(start.host, start.boot, start.pid, start.born, start.namespace, start.machine)


_described: dict[int, Process] = {}


def _describe(pid: int) -> Process:
    """:func:`numbered`, once for each number (a forked child asks with its own); again where not all could be read."""
    process = _described.get(pid)
    if process is None:
        process = numbered(pid)
        if process.born and (process.boot or sys.platform != "linux"):
            _described[pid] = process
    return process


def started(process: Process) -> float:
    """When a process of this machine was started, in seconds since 1970."""
    if sys.platform != "linux":
        return process.born / 100
    return time.time() - (time.clock_gettime(time.CLOCK_BOOTTIME) - process.born / os.sysconf("SC_CLK_TCK"))


def is_gone(process: Process) -> bool:
    """Whether ``process`` provably no longer runs.

    Nothing can be proven of a process on another machine, also where that has the same name, nor of one whose number
    is from another namespace than ours: a container that shares the host's name, say.
    """
    here = this()
    if process.host != here.host:
        return False
    if process.boot != here.boot:
        return "" not in (process.boot, here.boot) and _is_our_machine(process, here)
    if 0 not in (process.namespace, here.namespace) and process.namespace != here.namespace:
        return False
    born = _born(process.pid)
    return born is None or (0 not in (born, process.born) and born != process.born)


def _is_our_machine(process: Process, here: Process) -> bool:
    """Whether a process of another boot, on a host of our name, was on our machine, which has restarted since. Of older
    records the name is all there is."""
    return process.machine is None or process.machine == here.machine != ""


def _namespace() -> int:
    """The namespace of our processes' numbers; 0 where that can't be read."""
    try:
        return int(os.readlink("/proc/self/ns/pid").strip("pid:[]"))
    except (OSError, ValueError):
        return 0


def _machine() -> str:
    """What tells this machine from others, as a short digest: its id is not for others. "" where nothing does."""
    if _namespace() != _FIRST_NAMESPACE:
        return ""  # a container: its id comes with its image, if there is one
    try:
        with open("/etc/machine-id", "rb") as file:
            id = file.read().strip()
    except OSError:
        return ""
    return f"{zlib.crc32(id):08x}" if len(id) == 32 else ""


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
        return _born_by_psutil(pid)
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


def _born_by_psutil(pid: int) -> int | None:
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
        return _by_psutil(pid, "ppid") or 0
    try:
        with open(f"/proc/{pid}/stat", "rb") as file:
            return int(file.read().rpartition(b")")[2].split()[1])
    except OSError:
        return 0


def started_with(pid: int, names: Iterable[str]) -> dict[str, str | None]:
    """The values of some environment variables when ``pid`` was started; None for all where that can't be seen."""
    if sys.platform != "linux":
        variables = _by_psutil(pid, "environ") or {}
    else:
        try:
            with open(f"/proc/{pid}/environ", "rb") as file:
                pairs = (os.fsdecode(entry).partition("=") for entry in file.read().split(b"\0"))
                variables = {name: value for name, _, value in pairs}
        except OSError:
            variables = {}
    return {name: variables.get(name) for name in names}


def _by_psutil(pid: int, method: str) -> Any:
    import psutil

    try:
        return getattr(psutil.Process(pid), method)()
    except psutil.Error:
        return None


def user() -> str:
    """The name of the operating system's user; "" where there is none, as often in a container."""
    try:
        import getpass

        return getpass.getuser()
    except (KeyError, OSError, ImportError):
        return ""


def random_text(length: int) -> str:
    """Random letters and digits from the operating system: the user's random state is not ours to move."""
    alphabet = "0123456789abcdefghjkmnpqrstvwxyz"
    return "".join(alphabet[byte % 32] for byte in os.urandom(length))
