"""Journals that are whole from the moment they are there."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from tachograph import events
from tachograph.events import Event
from tachograph.journal import changes
from tachograph.journal.reading import segment
from tachograph.runtime import whole_files


def place(folder: Path, happened: Sequence[Event]) -> None:
    """Let all that a writer records be these events, in a segment that takes the place of any that is there. Where this
    is interrupted there is none."""
    for seq, event in enumerate(happened, start=1):
        event.v, event.seq = events.VERSION, seq
    folder.mkdir(exist_ok=True)
    content = b"".join(events.encode(event) + b"\n" for event in happened)
    whole_files.write(Path(segment(folder, 1)), content, durable=True)
    changes.tell(folder)
