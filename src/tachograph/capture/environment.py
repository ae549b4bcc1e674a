"""Where a training ran: the machine, the interpreter, the packages, the variables.

:func:`quick` is for the training thread: facts that this process holds already. :func:`slow` is for a background
thread: it lets a process of its own (``probe.py``) look for packages, git and GPUs, because a thread doing that would
hold this process's interpreter lock for a good part of a second.
"""

from __future__ import annotations

import contextlib
import functools
import os
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Any

from tachograph.redaction import is_secret_name, redact_argv, redact_text
from tachograph.runtime import forks

if TYPE_CHECKING:
    import subprocess

_VALUE_LIMIT = 4096  # characters of one environment variable
_VARIABLES = (  # beginnings of names; not "TF_" alone, which is Terraform's, too
    *("CUDA_", "CUDNN_", "CUBLAS_", "NVIDIA_", "NCCL_", "HIP_", "HSA_", "ROCR_", "GPU_DEVICE_ORDINAL", "TPU_", "UCX_"),
    *("OMP_", "KMP_", "GOMP_", "MKL_", "OPENBLAS_", "BLIS_", "VECLIB_", "NUMEXPR_", "NUMBA_", "LOKY_", "JOBLIB_"),
    *("TORCH", "PYTORCH_", "TRITON_", "GLOO_", "PL_", "LIGHTNING_", "ACCELERATE_", "DEEPSPEED_", "FSDP_"),
    *("TF_CONFIG", "TF_CPP_", "TF_CUDNN_", "TF_DETERMINISTIC_", "TF_ENABLE_", "TF_FORCE_", "TF_GPU_", "TF_NUM_"),
    *(
        "TF_USE_",
        "TF_XLA_",
        "XLA_",
        "JAX_",
        "KERAS_",
        "XGBOOST_",
        "SKLEARN_",
        "TOKENIZERS_PARALLELISM",
        "TRANSFORMERS_",
        "HF_",
    ),
    *("PYTHON", "VIRTUAL_ENV", "CONDA_DEFAULT_ENV", "CONDA_PREFIX", "LD_LIBRARY_PATH", "LD_PRELOAD", "MALLOC_"),
    *("SLURM_", "OMPI_COMM_WORLD_", "PMI_", "PMIX_RANK", "MV2_COMM_WORLD_", "LSB_JOBID", "PBS_JOBID"),
    *("RANK", "WORLD_SIZE", "LOCAL_RANK", "LOCAL_WORLD_SIZE", "GROUP_RANK", "NODE_RANK", "MASTER_ADDR", "MASTER_PORT"),
)


def quick(argv: Sequence[str] | None = None) -> dict[str, Any]:
    """The facts that this process holds already: python, os, cpu, argv, cwd and variables. Takes about 0.1 ms.

    ``argv`` is the command line to record, ``sys.argv`` if left out; it and the variables come without secrets.
    """
    return {
        "python": _python(),
        "os": dict(_system()),
        "cpu": _cpu(),
        "argv": redact_argv(sys.argv if argv is None else argv),
        "cwd": _cwd(),
        "variables": _variables(),
    }


def probe_request() -> dict[str, Any]:
    """Where :func:`slow` is to look, as it is now. At the end of a script Python forgets the name of its file."""
    path = [entry for entry in sys.path if isinstance(entry, str)]  # others, Path objects say, Python itself ignores
    return {"path": path, "cwd": _cwd(), "entry": _entry()}


def slow(
    timeout: float = 10.0,
    on_fact: Callable[[dict[str, Any]], object] | None = None,
    request: dict[str, Any] | None = None,
) -> dict[str, Any]:
    """The facts that have to be looked for: packages, git, memory, gpus, and cpu once more, with its model.

    Blocks for some tenths of a second, at most ``timeout`` seconds. ``request`` is what :func:`probe_request` gave;
    that of now, if left out. ``on_fact`` is called with each part as it is found. What wasn't found in time is missing,
    and ``error`` says why. Where no Python can be started beside this one, the looking is done right here.
    """
    import json

    facts: dict[str, Any] = {}

    def take_fact(fact: dict[str, Any]) -> None:
        fact |= {"cpu": {**_cpu(), **fact["cpu"]}} if "cpu" in fact else {}
        facts.update(fact)
        if on_fact is not None:
            on_fact(fact)

    request = probe_request() if request is None else request
    process = _start_probe(json.dumps(request)) if _can_start_python() else None
    if process is None:
        _probe_in_this_process(request, take_fact)
    elif error := _read_facts(process, timeout, take_fact):
        take_fact({"cpu": {}, "error": error})
    return facts


def hurry() -> None:
    """The process is about to end: from now on git is only waited for as long as it usually takes."""
    global _hurried
    _hurried = True
    if _probe is not None:
        _tell_to_hurry(_probe)


# ---- quick -----------------------------------------------------------------------------------------------------------


def _python() -> dict[str, Any]:
    return {
        "version": sys.version.split()[0],
        "implementation": sys.implementation.name,
        "executable": sys.executable,
        "virtual": sys.prefix != sys.base_prefix,
    }


@functools.cache
def _system() -> dict[str, str]:
    # Not from the module `platform`: on some systems it starts a program to find these out.
    if sys.platform == "win32":
        version = sys.getwindowsversion()
        names = ["Windows", f"{version.major}.{version.minor}.{version.build}"]
        names += [os.environ.get("PROCESSOR_ARCHITECTURE", ""), os.environ.get("COMPUTERNAME", "")]
    else:
        uname = os.uname()
        names = [uname.sysname, uname.release, uname.machine, uname.nodename]
    return dict(zip(("system", "release", "machine", "host"), names, strict=True))


def _cpu() -> dict[str, int | None]:
    """Processors of the machine, and those that this process may run on."""
    usable = count = os.cpu_count()
    if sys.platform == "linux":
        usable = len(os.sched_getaffinity(0))
    return {"count": count, "usable": usable}


def _cwd() -> str | None:
    try:
        return os.getcwd()
    except OSError:  # it was removed
        return None


def _variables() -> dict[str, str]:
    return {
        name: value[:_VALUE_LIMIT]
        for name, value in os.environ.items()
        if name.startswith(_VARIABLES) and not _is_secret(name, value)
    }


def _is_secret(name: str, value: str) -> bool:
    return is_secret_name(name) or redact_text(value) != value


# ---- slow ------------------------------------------------------------------------------------------------------------

# `-I -S` starts in a tenth of the time and keeps the user's modules away: a `calendar.py` beside a training script
# must not be imported, and so run, in place of the standard library's. For the same reason paths are only ever
# appended. `-m` and running by path would both put a folder in front.
# The training's own path comes behind the standard library, which therefore can't be shadowed by the user's files.
# The training has the processor first, from the start on; where it runs in real time nice would change nothing.
_BOOTSTRAP = """
import json, os, sys
if sys.platform == "linux" and os.sched_getscheduler(0) in (os.SCHED_FIFO, os.SCHED_RR):
    os.sched_setscheduler(0, os.SCHED_OTHER, os.sched_param(0))
if hasattr(os, "nice"):
    os.nice(10)
request = json.loads(sys.argv[2])
sys.path.extend([sys.argv[1], *request["path"]])
from tachograph.capture.probe import main
main(request)
"""
_OUR_PARENT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))


def _entry() -> str | None:
    """The main script; None in a notebook or an interactive session."""
    file = getattr(sys.modules.get("__main__"), "__file__", None)
    try:
        return os.path.abspath(file) if file else None
    except OSError:  # a relative name, in a working folder that was removed
        return None


def _can_start_python() -> bool:
    # An application that embeds Python, or is frozen with it, has itself as sys.executable: don't start it twice.
    program = os.path.basename(sys.executable or "").lower()
    return program.startswith(("python", "pypy")) and not getattr(sys, "frozen", False)


def _start_probe(request: str) -> subprocess.Popen[bytes] | None:
    import subprocess  # like the other modules that only the probe needs, not before it is needed

    try:
        return subprocess.Popen(
            [sys.executable, "-I", "-S", "-c", _BOOTSTRAP, _OUR_PARENT, request],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            bufsize=0,
            start_new_session=True,  # Ctrl-C in the terminal is meant for the training
            creationflags=getattr(subprocess, "CREATE_NO_WINDOW", 0),
        )
    except OSError:  # no memory or no right to start one, or a path that is too long for a command line
        return None


_probe: subprocess.Popen[bytes] | None = None  # the one that runs, and can be told to hurry
_hurried = False


def _read_facts(
    process: subprocess.Popen[bytes], timeout: float, take_fact: Callable[[dict[str, Any]], object]
) -> str | None:
    """Hand the facts that come in time to ``take_fact``; returns what went wrong. The process has ended afterwards."""
    global _probe
    until = time.monotonic() + timeout
    with process:
        try:
            for fact in _facts(process, until):
                _probe = process  # before it has told anything it is still starting
                if _hurried:
                    _tell_to_hurry(process)
                take_fact(fact)
            if is_late := time.monotonic() >= until:
                _end(process)
        except BaseException:
            _kill(process)
            raise
        finally:
            _probe = None
    if is_late:
        return f"the probe took longer than {timeout:g} seconds"
    return f"the probe ended with status {process.returncode}" if process.returncode else None


def _facts(process: subprocess.Popen[bytes], until: float) -> Iterator[dict[str, Any]]:
    """Each fact of which the whole line came in time."""
    import json

    rest = b""
    for chunk in _chunks(process, until):
        *lines, rest = (rest + chunk).split(b"\n")
        yield from map(json.loads, lines)


def _chunks(process: subprocess.Popen[bytes], until: float) -> Iterator[bytes]:
    """What ``process`` writes, as it comes, until that moment or its end."""
    assert process.stdout is not None
    if sys.platform == "win32":  # nothing to wait for a pipe with
        import subprocess

        with contextlib.suppress(subprocess.TimeoutExpired):
            yield process.communicate(timeout=until - time.monotonic())[0]
    else:
        import selectors

        with selectors.DefaultSelector() as selector:
            selector.register(process.stdout, selectors.EVENT_READ)
            while selector.select(max(0.0, until - time.monotonic())):
                if not (chunk := os.read(process.stdout.fileno(), 65536)):
                    return
                yield chunk


def _tell_to_hurry(process: subprocess.Popen[bytes]) -> None:
    if sys.platform != "win32":  # there it would end
        process.terminate()


def _forked() -> None:
    global _probe, _hurried
    _probe, _hurried = None, False  # the parent's


forks.in_child("environment", _forked)


def _end(process: subprocess.Popen[bytes]) -> None:
    """Let ``process`` end git, which is in a group of its own, and kill it if it doesn't end by itself."""
    import subprocess

    _tell_to_hurry(process)
    with contextlib.suppress(subprocess.TimeoutExpired):
        process.wait(1)
    _kill(process)


def _kill(process: subprocess.Popen[bytes]) -> None:
    import signal

    if sys.platform == "win32":
        process.kill()
    else:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)  # it hasn't been waited for, so the number is still its own


def _probe_in_this_process(request: dict[str, Any], take_fact: Callable[[dict[str, Any]], object]) -> None:
    from tachograph.capture import git, probe

    for fact in probe.facts(request, git.Hurry()):
        take_fact(fact)
