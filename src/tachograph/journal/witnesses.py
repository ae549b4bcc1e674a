"""Witnesses: what a machine knows of a process that died on it, for those who can't look there.

Of a process on another machine nothing can be proven: one that was killed would read as running for ever on a server,
in a bucket, in a folder that machines share. So who can prove that it is gone (the next run in the store, and
``tachograph sync``) adds a witness to its run, a further writer with two events:

    <root>/runs/<run>/<writer>.gone-<last>/1.jsonl   a run.start with the role "witness", else as the writer's own
                                                     a run.end with the status "crashed": ``of`` the writer, ``last``
                                                     is the number of its last event, ``at`` the time of that

They follow from the writer's journal alone. So it doesn't matter who writes them, nor how many do at once; and they
are sent where the journal is sent. Readers take them for the writer's end where it has none of its own and was not
heard of since (:func:`tachograph.index.projection.ends`): where one was wrong, that shows with the next event.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterable
from pathlib import Path

import msgspec

from tachograph import events, journal
from tachograph.events import RunEnd
from tachograph.runtime import process


def testify(root: Path, runs: Iterable[str], spoken_for: Callable[[str], object]) -> None:
    """Add what witnesses there can be to runs of the store in ``root``. ``spoken_for`` is called with each run that
    gets one, at once: what was all sent of it is to be sent again."""
    host = f"-{process.this().place}-"
    for run in runs:
        with contextlib.suppress(OSError):  # it is not ours to write to, or was removed just now
            for writer in journal.writers(root / "runs" / run):
                if host in writer.name and _testify(writer):
                    spoken_for(run)


def _testify(writer: Path) -> bool:
    """Add a witness of a writer's death, if that can be proven, and there is none yet."""
    if journal.has_ended(writer):
        return False
    start = journal.header(writer)
    if start is None or not journal.is_gone(start):
        return False
    last, at = journal.last(writer)
    folder = writer.with_name(f"{writer.name}.gone-{last}")
    if journal.segments(folder):
        return False
    own = msgspec.structs.replace(start, writer=folder.name, role=events.WITNESS)
    journal.place(folder, [own, RunEnd(status="crashed", of=writer.name, last=last, at=at)])
    return True
