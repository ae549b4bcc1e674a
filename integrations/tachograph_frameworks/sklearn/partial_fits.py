"""``partial_fit``: all calls on one object add to one run, each a step of it.

A program may call it a thousand times a second, so a further call goes a quick way wherever nothing can have changed
since the call before: which run is open here, and that no other training is going on.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

from tachograph import guard
from tachograph.hooks import Call, Hooks, Session, Watcher, conduct, session
from tachograph.record import active_run
from tachograph.runtime.quiet import quietly
from tachograph.trampoline import stand_in
from tachograph_frameworks.sklearn import estimators, fits, series
from tachograph_frameworks.sklearn.series import Series


def hook(hooks: Hooks, owner: type) -> None:
    """Watch each call of the class's own ``partial_fit``."""
    site = f"{hooks.plugin}: {owner.__name__}.partial_fit"

    def watched(original: Callable[..., Any]) -> Callable[..., Any]:
        def call(*args: Any, **kwargs: Any) -> Any:
            __tracebackhide__ = True
            if not hooks.on:
                return original(*args, **kwargs)
            calls = estimators.series_of(args[0]) if args else None
            if calls is None or not (calls.is_as_before() or _goes_on(calls, site)):
                if not hooks.listening():
                    return original(*args, **kwargs)
                return conduct(note, site, original, *args, **kwargs)
            inside = calls.inside()
            try:
                session.enter(inside)
                started = time.perf_counter()
                result = original(*args, **kwargs)
                seconds = time.perf_counter() - started
            finally:
                inside.open = False  # before any call is made, in which a Ctrl-C might come
                session.leave(inside)
            try:
                calls.add(Call(original, args, kwargs), seconds)
            except guard.FAULTS as error:
                guard.fault(site, error, calls.run)
            return result

        return stand_in(call, original)

    hooks.replace(owner, "partial_fit", watched)


def _goes_on(calls: Series, site: str) -> bool:
    """Whether a call made now adds to its object's run: no other one is active, and no training or ``suppress()``."""
    with guard.contained(site, calls.run):
        if not session.inside() and active_run.find_for_training() in (None, calls.run):
            calls.look_around()
            return True
    return False


def note(call: Call) -> Watcher:
    """Watch a call that is no further one: the first on its object, or inside of a training."""
    if session.current() is None:
        series.LAST_OF_MANY.record_all()
    yield from _FIRST(call)


def _note_first(call: Call, session_: Session) -> Watcher:
    run = session_.run
    assert run is not None
    fits.record_inputs(run, call)
    started = time.perf_counter()
    yield
    calls = Series(run, _conclude)
    calls.begin(call, time.perf_counter() - started)
    estimators.remember(call.instance, run, calls)


_FIRST = fits.training(_note_first)


@quietly()
def _conclude(calls: Series, call: Call, seconds: float, step: int) -> None:
    fits.log_params(calls.run, call.instance)
    fits.record_results(calls.run, call, seconds, step, calls)
