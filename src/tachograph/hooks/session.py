"""Who owns the run when one training call happens inside another.

The outermost hooked call opens a *session*; every hooked training call inside it, in this thread, in a thread that was
started from it, or in a child process, is inner and passes through. A session has a run: the user's, if one is open
here, else one of its own, which it ends with the call.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar

import msgspec

from tachograph import guard
from tachograph.hooks.call import Call
from tachograph.hooks.patch import Hooks
from tachograph.hooks.watch import Watch, Watcher
from tachograph.record import active_run, outcome
from tachograph.record.options import Options as Options
from tachograph.record.options import options as options
from tachograph.record.run import Run
from tachograph.record.start import open_run
from tachograph.runtime import deferred

_STARTED_IN = "_tachograph_started_in"
_threads_follow = False  # whether any thread was ever started inside a session or a ``suppress()``
alive: set[object] = set()  # the calls and ``suppress()`` blocks that last, of all threads: mostly there are none


class Session(msgspec.Struct, eq=False, weakref=True):
    """An outermost training call, while it lasts.

    ``run`` takes what is recorded; None in a quiet session (preprocessing), and in the ranks of a job that leave
    metrics to rank 0. ``many`` says that the call holds several trainings (a search), whose curves would be mixed up.
    ``further`` says that the call is one more step of a run that an earlier one has begun.
    """

    plugin: str
    run: Run | None
    owned: Run | None = None
    many: bool = False
    silences: tuple[str, ...] = ()
    claimed: set[str] = msgspec.field(default_factory=set)
    open: bool = True
    further: bool = False

    def end(self, error: BaseException | None) -> None:
        """The call is over."""
        self.open = False
        alive.discard(self)
        if self.owned is not None:
            self.owned.finish(outcome.status(error), error)
        elif self.run is not None:
            deferred.do_now(self.run)


def enter(session: Session) -> None:
    """Make ``session``, which may be used again and again, the current one until :func:`leave` is called here."""
    session.open = True
    alive.add(session)
    _session.set(session)


def leave(session: Session) -> None:
    """End what :func:`enter` began."""
    session.open = False
    alive.discard(session)
    _session.set(None)


class Quiet(msgspec.Struct, eq=False):
    """A ``suppress()`` block, while it lasts: a thread that was started in it may go on after it."""

    open: bool = True


_session: ContextVar[Session | None] = ContextVar("tachograph_session", default=None)
_quiet: ContextVar[Quiet | None] = ContextVar("tachograph_quiet", default=None)


def current() -> Session | None:
    """The open session that this code runs in, or None."""
    session = _session.get()
    if session is not None and session.open:
        return session
    session = _started_in()[0]
    return session if session is not None and session.open else None


def suppressed() -> bool:
    """Whether ``suppress()`` is in force here."""
    return _current_quiet() is not None


def quiet_here() -> bool:
    """Whether nothing that is trained here is recorded: under ``suppress()``, or in a session without a run."""
    session = current()
    return suppressed() or (session is not None and session.run is None)


def be_quiet() -> None:
    """Let autolog record nothing from now on: this process was started from where it records nothing."""
    quiet = Quiet()
    alive.add(quiet)
    _quiet.set(quiet)


def _current_quiet() -> Quiet | None:
    return next((quiet for quiet in (_quiet.get(), _started_in()[1]) if quiet is not None and quiet.open), None)


def _started_in() -> tuple[Session | None, Quiet | None]:
    """The session and the ``suppress()`` block from which this thread was started."""
    started_in: tuple[Session | None, Quiet | None] = getattr(threading.current_thread(), _STARTED_IN, (None, None))
    return started_in


@contextmanager
def suppress() -> Iterator[None]:
    """Autolog records nothing inside; verbs that are called by name still do."""
    if suppressed():
        yield
        return
    quiet = Quiet()
    alive.add(quiet)
    token = _quiet.set(quiet)
    try:
        yield
    finally:
        quiet.open = False
        alive.discard(quiet)
        _quiet.reset(token)


def enabled(plugin: str) -> bool:
    """Whether the hooks of ``plugin`` may listen here: no session silences it, and no ``suppress()``."""
    if suppressed():
        return False
    session = current()
    return session is None or plugin not in session.silences


def inside() -> bool:
    """Whether this code runs in an open session or under ``suppress()``; quick enough to be asked at every step."""
    if not alive:
        return False
    session, quiet = _session.get(), _quiet.get()
    if (session is not None and session.open) or (quiet is not None and quiet.open):
        return True
    return _threads_follow and (current() is not None or suppressed())


def follow_threads(hooks: Hooks) -> None:
    """Let each new thread remember in whose session it was started: a context variable does not reach it."""
    hooks.around(threading.Thread, "start", _thread_start)


def _thread_start(call: Call) -> Watcher:
    global _threads_follow
    session, quiet = current(), _current_quiet()
    if session is not None or quiet is not None:
        _threads_follow = True
        setattr(call.instance, _STARTED_IN, (session, quiet))
    yield


def training(
    note: Callable[[Call, Session], Watcher],
    *,
    plugin: str,
    name: Callable[[Call], str],
    records: Callable[[Call], bool] = lambda call: True,
    many: Callable[[Call], bool] = lambda call: False,
    silences: tuple[str, ...] = (),
    goes_on: Callable[[Call], Run | None] = lambda call: None,
) -> Callable[[Call], Watcher]:
    """A wrapper for ``Hooks.around`` that gives the outermost call its session, and lets ``note`` watch it.

    ``plugin`` is the name of the plug-in's entry point, ``name(call)`` that of the run. ``note(call, session)`` is a
    generator like any wrapper; it is not called where nothing is to be recorded. If it fails, the run still ends as the
    call did. ``records(call)`` false makes the session quiet; ``many`` says that a call holds several trainings.

    ``goes_on(call)`` gives the run that the call is a further step of, which may have ended: it takes what is recorded
    still, and ends again with the call. Where another run is open by now, the call gets one of its own. In ``note``,
    ``session.further`` says which of the two it is.
    """

    def wrapper(call: Call) -> Watcher:
        if current() is not None:
            yield
            return
        title = name(call)
        before = goes_on(call)
        if before is not None and is_at(before):
            session = _go_on(plugin, before, silences)
        else:
            session = begin(plugin, title, records(call), many(call), silences)
        alive.add(session)
        token = _session.set(session)
        watch: Watch | None = None
        failure: BaseException | None = None
        try:
            if session.run is not None:
                with guard.timed(session.run):
                    watch = Watch(note, f"{plugin}: {title}", call, session)
            result = yield
        except BaseException as error:  # also Ctrl-C while the data is looked at, before the call
            failure = error
            _session.reset(token)
            if watch is not None:
                with guard.timed(session.run):
                    watch.raised(error)
            raise
        else:
            _session.reset(token)
            if watch is not None:
                with guard.timed(session.run):
                    watch.returned(result)
        finally:
            session.end(failure)

    return wrapper


def _go_on(plugin: str, run: Run, silences: tuple[str, ...]) -> Session:
    return Session(plugin, run, owned=run if run.reopen() else None, silences=silences, further=True)


def is_at(run: Run) -> bool:
    """Whether what is trained here may be a further step of ``run``, the user's or one that autolog has opened."""
    active = active_run.find_for_training()
    return run is active if run.opener == "user" else run.parent_id == (None if active is None else active.id)


def begin(plugin: str, name: str, records: bool, many: bool, silences: tuple[str, ...], apart: bool = False) -> Session:
    """The session of an outermost call: in the user's run, else in a run of its own.

    ``apart`` says that a training in a child process of one by the same plug-in is a training of its own.
    """
    if not records:
        return Session(plugin, None, silences=silences)
    outer = active_run.find_for_training()
    if outer is not None and outer.opener == "user":
        return Session(plugin, outer if outer.rank == 0 else None, many=many, silences=silences)
    is_apart = apart and outer is not None and outer.joined and outer.opener == plugin
    if outer is not None and (outer.role == "worker" or outer.opener == plugin) and not is_apart:
        # In a child process of a training that is recorded, or inside one that goes on without being a call.
        return Session(plugin, None, silences=silences)
    # What is open here is another framework's training that isn't a call (a loop, a callback): it is the parent.
    run = open_run(options.name or name, options.experiment, parent=outer, opener=plugin, sinks=options.sinks)
    if options.tags:
        run.set_tags(options.tags)
    if outer is None:
        run.registers = options.register
    return Session(plugin, run if run.rank == 0 else None, owned=run, many=many, silences=silences)
