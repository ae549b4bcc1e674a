"""The probe: a process, started by ``environment.slow``, that looks for packages, git and GPUs, which takes time.

Gets one request, ``{"path": [...], "cwd": ..., "entry": ...}``, where ``path`` is the
training process's ``sys.path`` and ``entry`` its main script or null. Writes one JSON object a line, a fact each, so
that whoever loses patience keeps what was found. Once it has written one, SIGTERM tells it that somebody waits.
"""

from __future__ import annotations

import importlib.metadata
import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from tachograph.capture import gpus, hardware
from tachograph.capture.git import GitState, Hurry, git_states


def main(request: dict[str, Any]) -> None:
    """Answer ``request`` on standard output, and end the process."""
    hurry = Hurry()
    signal.signal(signal.SIGTERM, lambda *_: _begin(hurry))
    for fact in facts(request, hurry):
        print(json.dumps(fact), flush=True)
    os._exit(0)  # an interpreter that is being taken down would end by the signal


def _begin(hurry: Hurry) -> None:
    hurry.since = min(hurry.since, time.monotonic())


def facts(request: dict[str, Any], hurry: Hurry) -> Iterator[dict[str, Any]]:
    """One fact after the other; git, which may take long, comes last and is given again as more of it is known."""
    yield {"cpu": {"model": _cpu_model()}, "memory": hardware.memory_size()}
    yield {"packages": _packages(request["path"])}
    yield {"gpus": gpus.describe_gpus()}
    state: GitState | None = None
    for state in _git(request["entry"], request["cwd"], hurry):
        yield {"git": state}
    if state is None:
        yield {"git": None}
    elif "late" in state:
        yield {"error": f"{state['error']}: {_missing(state)} not recorded"}


def _missing(state: GitState) -> str:
    return "the uncommitted changes are" if "commit" in state else "the commit and the uncommitted changes are"


def _packages(path: Sequence[str]) -> dict[str, str]:
    """Version by canonical name. Where a name is installed twice, the first on the path is the one that is imported."""
    versions: dict[str, str] = {}
    for distribution in importlib.metadata.distributions(path=list(path)):
        metadata = _metadata(distribution)
        if "Name" in metadata and "Version" in metadata:
            versions.setdefault(re.sub(r"[-_.]+", "-", metadata["Name"]).lower(), metadata["Version"])
    return dict(sorted(versions.items()))


def _metadata(distribution: importlib.metadata.Distribution) -> Mapping[str, str]:
    """What a package says of itself; nothing where it is half removed."""
    try:
        return distribution.metadata  # type: ignore[return-value]  # which is one, but for two methods
    except FileNotFoundError:  # from newer versions of it
        return {}


def _git(entry: str | None, cwd: str | None, hurry: Hurry) -> Iterator[GitState]:
    """The repository of the main script; if that is in none, of the current folder."""
    folders = [os.path.dirname(entry)] if entry else []
    folders += [cwd] if cwd else []
    for folder in dict.fromkeys(folders):
        states = git_states(folder, hurry)
        if first := next(states, None):
            yield first
            yield from states
            return


def _cpu_model() -> str | None:
    if sys.platform == "darwin":
        return _output("sysctl", "-n", "machdep.cpu.brand_string")
    elif sys.platform == "win32":  # noqa: RET505 - a plain `if` would be unreachable code to a type checker
        return os.environ.get("PROCESSOR_IDENTIFIER")
    else:
        return _linux_cpu_model()


def _linux_cpu_model() -> str | None:
    try:
        with open("/proc/cpuinfo", encoding="utf-8", errors="replace") as file:
            match = re.search(r"^(?:model name|cpu model|Model)\s*:\s*(.+)$", file.read(), re.MULTILINE)
    except OSError:
        return None
    return match[1].strip() if match else None


def _output(*command: str) -> str | None:
    try:
        return subprocess.run(command, capture_output=True, text=True, timeout=2, check=True).stdout.strip() or None
    except (OSError, subprocess.SubprocessError):
        return None
