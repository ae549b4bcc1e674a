"""The one failure boundary between recording and training.

No fault of ours may reach the user's code. Everything that runs on the user's threads goes through here: the
recording verbs through :func:`shield`, the plug-ins' hooks through :func:`contained`. A fault warns once for each
place it comes from and is noted in the run. With ``TACHOGRAPH_STRICT=1`` it is raised instead, for our own tests.

A *misuse* by the caller (a metric that is no number) is not a fault: it warns once, is noted, and never raises.
"""

from __future__ import annotations

import contextlib
import functools
import os
import sys
import threading
import time
import warnings
from collections.abc import Callable, Iterator
from types import CodeType, FrameType, TracebackType
from typing import ParamSpec, Protocol, TypeVar

from tachograph import settings
from tachograph.errors import TachographWarning
from tachograph.printable import line as on_one_line
from tachograph.trampoline import is_stand_in

P = ParamSpec("P")
R = TypeVar("R")

_CORE = os.path.dirname(os.path.abspath(__file__)) + os.sep
_PLUGINS = f"{os.sep}tachograph_frameworks{os.sep}"
OURS = "tachograph: "  # what our warnings begin with
FAULTS = Exception  # what counts as a fault, for the one hot path that can't afford the call of shield
_MOST_NOTING = 3  # a fault while noting a fault must not go round in circles; but a signal handler may come in between
_seen: set[str] = set()
_muted = False
_inside = threading.local()


class Notes(Protocol):
    """Where a warning is noted: a run, by its recorder, or whatever has the same method."""

    def remark(self, text: str) -> None: ...


class Accountable:
    """What a run is to this module: its faults are noted in it, and ``spent`` counts the seconds that it takes."""

    spent = 0.0


def mute(on: bool) -> None:
    """Say nothing on standard error; notes in the run go on."""
    global _muted
    _muted = on


def forget() -> None:
    """Warn again of what was already warned of."""
    _seen.clear()


def shield(verb: Callable[P, R], run_of: Callable[[object], object] | None = None) -> Callable[P, R | None]:
    """Decorator for a method of a run, or of what has one as its ``run``: it never raises ``Exception``. A fault is
    reported, noted in the run, and None is returned. ``run_of`` finds another run from the first argument."""
    find = _run_of if run_of is None else run_of

    @functools.wraps(verb)
    def shielded(*args: P.args, **kwargs: P.kwargs) -> R | None:
        run = find(args[0] if args else None)
        with timed(run):
            try:
                return verb(*args, **kwargs)
            except FAULTS as error:
                fault(f"{verb.__qualname__}", error, run)
                return None

    return shielded


def _run_of(owner: object) -> Accountable | None:
    """The run that ``owner`` is, or has as its ``run``. An object of the user's is not asked: its attributes are its
    own, and may run code."""
    if issubclass(type(owner), Accountable):
        return owner  # type: ignore[return-value]
    try:
        run = object.__getattribute__(owner, "__dict__").get("run")
    except AttributeError:  # it has none
        return None
    return run if issubclass(type(run), Accountable) else None


@contextlib.contextmanager
def timed(run: object) -> Iterator[None]:
    """A block whose time counts as recording's own, in ``run.spent``; once, where such blocks lie in each other."""
    if getattr(_inside, "timed", False) or not isinstance(run, Accountable):
        yield
        return
    _inside.timed = True
    began = time.perf_counter()
    try:
        yield
    finally:
        _inside.timed = False
        run.spent += time.perf_counter() - began


def untimed_thread() -> None:
    """What this thread does takes none of the user's time."""
    _inside.timed = True


@contextlib.contextmanager
def contained(site: str, run: object = None) -> Iterator[None]:
    """A block of instrumentation: what it raises stays here."""
    try:
        yield
    except Exception as error:
        fault(site, error, run)


def fault(site: str, error: Exception, run: object = None) -> None:
    """Report a fault of ours at ``site``; raise it in strict mode."""
    if settings.flag("strict"):
        raise error
    spot = _spot(error)
    kind = type(error).__name__
    text = f"{site} failed and recorded nothing here ({kind}: {shown(error)}, at {spot}); training goes on"
    warn(f"{site}:{spot}:{kind}", text, run)


def _spot(error: Exception) -> str:
    """File and line where ``error`` was raised. Nothing is imported for it: perhaps no file can be opened any more."""
    trace = error.__traceback__
    if trace is None:
        return "?"
    while trace.tb_next is not None:
        trace = trace.tb_next
    return f"{os.path.basename(trace.tb_frame.f_code.co_filename)}:{trace.tb_lineno}"


def shown(value: object) -> str:
    """``str(value)``, or the name of its class where the user's own ``__str__`` fails."""
    try:
        return str(value)
    except Exception:
        return f"<{type(value).__name__}>"


def misuse(text: str, run: object = None) -> None:
    """Report that the caller asked for something that can't be recorded."""
    warn(text, text, run)


def warn(key: str, text: str, run: object = None) -> None:
    """Warn of ``text`` once for each ``key``, and note it in ``run`` once for each run."""
    text = on_one_line(text)
    remark = getattr(getattr(run, "recorder", run), "remark", None)
    depth = getattr(_inside, "noting", 0)
    if remark is not None and depth < _MOST_NOTING:
        _inside.noting = depth + 1
        try:
            remark(text)
        except Exception as error:
            _say(f"a note was lost ({type(error).__name__}: {shown(error)})")
        finally:
            _inside.noting = depth
    if key not in _seen:
        _seen.add(key)
        _say(text)


def _say(text: str) -> None:
    if _muted:
        return
    filename, line = _caller()
    try:
        warnings.warn_explicit(OURS + text, TachographWarning, filename, line)
    except Exception:  # the user's filter turns warnings into errors: ours must not end their training
        with contextlib.suppress(Exception):  # and there may be no standard error, or a closed one
            sys.stderr.write(f"{OURS}{text}\n")


def say(text: str) -> None:
    """Write a line to standard error that is no warning; nothing where that was muted."""
    if not _muted:
        with contextlib.suppress(OSError, ValueError, AttributeError):  # there may be none, or a closed one
            sys.stderr.write(f"{OURS}{on_one_line(text)}\n")


def is_ours(filename: str) -> bool:
    """Whether a source file belongs to this library."""
    return filename.startswith(_CORE) or _PLUGINS in filename


def is_our_code(code: CodeType) -> bool:
    """Whether code belongs to this library, also where it says that it stands in somebody else's file."""
    return is_ours(code.co_filename) or is_stand_in(code)


def without_ours(trace: TracebackType | None) -> TracebackType | None:
    """A traceback without our frames; the given one stays as it is.

    Its end stays whosever it is: that is where things went wrong.
    """
    parts: list[TracebackType] = []
    while trace is not None:
        parts.append(trace)
        trace = trace.tb_next
    kept: TracebackType | None = None
    for part in reversed(parts):
        if kept is None or not is_our_code(part.tb_frame.f_code):
            kept = TracebackType(kept, part.tb_frame, part.tb_lasti, part.tb_lineno)
    return kept


def _caller() -> tuple[str, int]:
    """The user's line: the innermost frame that is neither ours nor the beginning of our thread."""
    frame: FrameType | None = sys._getframe(1)
    while frame is not None and (is_our_code(frame.f_code) or frame.f_code.co_filename == threading.__file__):
        frame = frame.f_back
    return ("tachograph", 0) if frame is None else (frame.f_code.co_filename, frame.f_lineno)
