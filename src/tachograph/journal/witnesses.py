"""Witnesses: events that a machine adds for a writer whose process died on it, for those who can't look there.

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


def testify(root: Path, runs: Iterable[str], on_witness: Callable[[str], object]) -> None:
    """Add a witness for each crashed writer in these runs of the store in ``root``. ``on_witness`` is called at once
    with each run that gets one: if all of it was sent, it has to be sent again."""
    host = f"-{process.this().place}-"
    for run in runs:
        with contextlib.suppress(OSError):  # it is not ours to write to, or was removed just now
            for writer in journal.writers(root / "runs" / run):
                if host in writer.name and _testify(writer):
                    on_witness(run)


def _testify(writer: Path) -> bool:
    """Add a witness for a writer if its process has provably died and there is no witness yet; whether this added
    one."""
    if journal.has_ended(writer):
        return False
    start = journal.header(writer)
    if start is None or not journal.is_gone(start):
        return False
    last, at = journal.last(writer)
    folder = writer.with_name(f"{writer.name}.gone-{last}")
    if journal.segments(folder):
        return False
    witness = msgspec.structs.replace(start, writer=folder.name, role=events.WITNESS)
    journal.write_whole(folder, [witness, RunEnd(status="crashed", of=writer.name, last=last, at=at)])
    return True
