"""Calls every recording verb once, or again and again, in a condition that is bad for a program.

The verbs are those that the package has, also those which are yet to come: of ``tachograph`` itself and of a run. A
verb's arguments are chosen by the names of its parameters.

    python every_verb.py CONDITION
"""

from __future__ import annotations

import contextlib
import faulthandler
import inspect
import json
import os
import resource
import signal
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from typing import Any

import numpy

import tachograph

faulthandler.dump_traceback_later(50, exit=True)

GIVEN: dict[str, Any] = {
    "values": {"loss": numpy.float32(0.5)},
    "params": {"lr": 0.1, "net": {"width": 3}},
    "tags": {"purpose": "test"},
    "text": "a remark",
    "path": "",  # a file, see below
    "name": "named",
    "figure": None,  # no figure at all: that is a misuse
    "rows": [{"a": 1}],
    "data": numpy.ones((4, 2)),
    "timeout": 0.5,
    "version": "named@latest",  # which is not there: that is a misuse, too
}
LIFE = {"finish", "join", "reopen"}  # of a run: "finish" is called on a child, below
call_counts: Counter[str] = Counter()


def arguments(verb: Callable[..., Any]) -> dict[str, Any]:
    required = [
        name
        for name, parameter in inspect.signature(verb).parameters.items()
        if (parameter.default is parameter.empty or name == "timeout") and name != "self"
    ]
    return {name: GIVEN[name] for name in required if name in GIVEN or name == "name"}


def of_a_run(run: tachograph.Run) -> list[tuple[str, Callable[[], Any]]]:
    names = [name for name, found in inspect.getmembers(type(run), callable) if not name.startswith("_")]
    return [(name, bound(getattr(run, name))) for name in names if name not in LIFE]


def of_the_module() -> list[tuple[str, Callable[[], Any]]]:
    from tachograph.record import verbs

    names = [
        name for name, found in inspect.getmembers(verbs, inspect.isfunction) if found.__module__ == verbs.__name__
    ]
    return [(name, bound(getattr(tachograph, name))) for name in names if not name.startswith("_")]


def bound(verb: Callable[..., Any]) -> Callable[[], Any]:
    return lambda: verb(**arguments(verb))


def open_and_end(open_run: Callable[..., tachograph.Run]) -> Callable[[], None]:
    def call() -> None:
        child = open_run(name="inner")
        child.log_note("of a child")
        child.finish()

    return call


def every_verb(run: tachograph.Run) -> list[tuple[str, Callable[[], Any]]]:
    own = [(name, verb) for name, verb in of_a_run(run) if name != "child"]
    lives = [("child", open_and_end(run.child)), ("start_run", open_and_end(tachograph.start_run))]
    return own + of_the_module() + lives


def call_all(run: tachograph.Run) -> None:
    for name, verb in every_verb(run):
        began = time.monotonic()
        verb()
        took = time.monotonic() - began
        assert took < 5, f"{name} took {took:.1f} s"
        call_counts[name] += 1


# ---- conditions ------------------------------------------------------------------------------------------------------


def quiet() -> None:
    with tachograph.start_run("outer") as run:
        call_all(run)


def in_a_signal_handler(seconds: float = 8.0) -> None:
    """Handlers that come upon ``log``, on our threads holding what they like, and on other handlers."""
    import tachograph.runtime.background

    tachograph.runtime.background.TICK = (
        0.002  # the background syncs all the time, and so holds the journal as often as it can
    )
    with tachograph.start_run("outer") as run:
        verbs, depth = every_verb(run), 0
        for _, verb in verbs:  # a first time: what is imported then, is imported half while a handler comes
            verb()

        def handler(*_: Any) -> None:
            nonlocal depth
            name, verb = verbs[sum(call_counts.values()) % len(verbs)]
            call_counts[name] += 1
            depth += 1
            if depth < 3:  # another one may come on top of this one
                signal.setitimer(signal.ITIMER_REAL, 0.0005)
            verb()
            depth -= 1
            if depth == 0:
                signal.setitimer(signal.ITIMER_REAL, 0.002)

        signal.signal(signal.SIGALRM, handler)
        signal.setitimer(signal.ITIMER_REAL, 0.002)
        until, step = time.monotonic() + seconds, 0
        while time.monotonic() < until:
            run.log({"main": 1.0}, step=step)
            if step % 50 == 0:
                run.log_note("of the main program")
                call_counts["log_note"] += 1
            step += 1
        signal.setitimer(signal.ITIMER_REAL, 0)
        call_counts["main"] = step
    call_counts.update(name for name, _ in verbs)


def out_of_file_descriptors() -> None:
    """All are taken, for runs that are open already and for those that begin now."""
    quiet()
    resource.setrlimit(resource.RLIMIT_NOFILE, (256, 256))
    with tachograph.start_run("outer") as run, contextlib.ExitStack() as taken:
        with contextlib.suppress(OSError):
            while True:
                taken.callback(os.close, os.dup(1))
        call_all(run)
        taken.close()


def on_a_full_disk() -> None:
    quiet()
    root = os.environ["TACHOGRAPH_DIR"]
    with tachograph.start_run("outer") as run:
        filler = os.path.join(root, "filler")
        with open(filler, "wb", buffering=0) as file, contextlib.suppress(OSError):
            while file.write(b"x" * 512):
                pass
        call_all(run)
        os.unlink(filler)


def in_a_folder_that_was_removed() -> None:
    folder = os.getcwd()
    os.unlink(__file__)
    os.rmdir(folder)
    quiet()


def main(condition: str) -> None:
    with tempfile.NamedTemporaryFile(suffix=".txt") as file:
        file.write(b"content")
        file.flush()
        GIVEN["path"] = file.name
        CONDITIONS[condition]()
    print(json.dumps(call_counts))


CONDITIONS = {
    "quiet": quiet,
    "in a signal handler": in_a_signal_handler,
    "out of file descriptors": out_of_file_descriptors,
    "in a folder that was removed": in_a_folder_that_was_removed,
    "on a full disk": on_a_full_disk,
}

if __name__ == "__main__":
    main(sys.argv[1])
