"""Which run is active here: by context, by thread, by process.

A run becomes active where it was opened, and what is called from there sees it (a context variable). Three cases fall
outside of that: a worker thread, which starts with an empty context, takes the innermost run of its process where that
is unambiguous; a forked child goes on with its parent's runs; any other child process finds its parent's open run by
reading the parent's journals, which are on disk anyway, so nothing has to be sent.
"""

from __future__ import annotations

import os
import time
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING

from tachograph import journal, settings
from tachograph.record import launchers, open_runs
from tachograph.record.launchers import PARENT
from tachograph.runtime import process

if TYPE_CHECKING:
    from tachograph.events import RunStart
    from tachograph.record.run import Run

LOOK_AGAIN = 2.0
OLD_NS = 1_000_000_000  # older changes of a folder show in its time, whatever the file system's clock is like

_joined: _Joined | None = None
_nothing_in: tuple[Path, int] | None = None  # a folder, with its time, in which the parent process had no open run
_look_again_at = 0.0


def find() -> Run | None:
    """The run that a verb such as ``tachograph.log()`` records to."""
    return open_runs.here() or _innermost(_own()) or _parents_run()


def find_for_training() -> Run | None:
    """The open run that a training call adds to, or opens its own below; none that autolog opened in another thread."""
    return open_runs.here() or _innermost([run for run in _own() if run.opener == "user"]) or _parents_run()


def _own() -> list[Run]:
    """The open runs of this process, without those of its parent: the parent decides which of these is active."""
    return [run for run in open_runs.open_runs() if not run.joined]


def _innermost(runs: list[Run]) -> Run | None:
    """The innermost of some open runs, where they form one line of parents and children."""
    for outer, inner in pairwise(runs):
        if inner.parent_id != outer.id:
            return None
    return runs[-1] if runs else None


def announce(root: Path) -> None:
    """Let child processes find this process's runs. Set once, and not changed from run to run: the environment of a
    process with threads should be left alone, and a pool's workers outlive the run in which they were started."""
    me = process.this()
    announced = f"{me.pid}:{me.born}:{me.namespace}:{root}"
    if os.environ.get(PARENT) != announced:
        os.environ[PARENT] = announced
        settings.share_root(root)


def _parents_run() -> Run | None:
    """The run that the parent process has open; this process joins it as a further writer."""
    global _joined
    if _joined is not None:
        if not _joined.run.ended and _joined.is_open():
            return _joined.run
        _joined.run.finish()
        _joined = None
    parent, root = _announced()
    if parent is None:
        return None
    if settings.get("dir") and settings.root() != root:
        return None  # this process was told to record elsewhere
    _joined = _join(parent, root)
    return _joined.run if _joined else None


def _announced() -> tuple[process.Process | None, Path]:
    """The process whose open run is ours too, and the folder of its runs."""
    number, _, rest = os.environ.get(PARENT, "").partition(":")
    born, _, rest = rest.partition(":")
    namespace, _, root = rest.partition(":")
    if not (number.isdecimal() and born.isdecimal() and namespace.isdecimal() and root):
        # A worker of a pool may be older than its parent's first run: who started it is known all the same.
        return process.parent() if process.is_child() else None, settings.root()
    me = process.this()
    parent = process.Process(me.host, me.boot, int(number), int(born), int(namespace), me.machine)
    return (None if parent == me else parent), Path(root)


def _join(parent: process.Process, root: Path) -> _Joined | None:
    from tachograph.record.run import Run

    global _nothing_in, _look_again_at
    state = (root, _changed(root / "runs"))
    if process.is_gone(parent) or (state == _nothing_in and time.monotonic() < _look_again_at):
        return None
    job = launchers.job()
    # A rank that rank 0 has started opens its own part of each run, as all ranks do.
    for folder in journal.newest(root / "runs") if job is None or job.first != parent else ():
        for writer in journal.writers(folder):
            start = journal.header(writer) if f"-{parent.pid}-" in writer.name else None
            if start is not None and _is_by(start, parent) and not journal.has_ended(writer):
                return _Joined(Run.join(root, folder.name, start), writer)
    if time.time_ns() - state[1] > OLD_NS:
        _nothing_in, _look_again_at = state, time.monotonic() + LOOK_AGAIN
    return None


def _is_by(start: RunStart, writer: process.Process) -> bool:
    """Whether a header was written by this process; hosts may have other names inside a container."""
    return (start.boot, start.pid, start.born) == (writer.boot, writer.pid, writer.born)


def _changed(folder: Path) -> int:
    """When an entry was last added to ``folder`` or taken from it."""
    try:
        return os.stat(folder).st_mtime_ns
    except OSError:
        return 0


class _Joined:
    """A run of the parent process, and whether the parent still has it open."""

    def __init__(self, run: Run, writer: Path) -> None:
        self.run = run
        self._writer = writer
        self._seen: tuple[Path | None, int] = (None, -1)  # its last segment, and how much of that was looked at

    def is_open(self) -> bool:
        # An end adds to the file: while its size stays the same there is nothing to read.
        segments = journal.segments(self._writer)
        now = (segments[-1], journal.size(segments[-1])) if segments else (None, 0)
        if now == self._seen:
            return True
        before, self._seen = self._seen, now
        return not journal.has_ended(self._writer, before[1] if before[0] == now[0] else 0)
