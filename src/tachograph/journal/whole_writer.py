"""Writing all of a writer's journal at once: it is there whole, or not at all."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from tachograph import events
from tachograph.events import Event
from tachograph.journal import changes
from tachograph.journal.reading import segment
from tachograph.runtime import whole_files


def write_whole(folder: Path, writer_events: Sequence[Event]) -> None:
    """Write these events, numbered from 1, as a writer's only segment, in place of one that is there. They are on disk
    when this returns; where it is interrupted, nothing has changed."""
    for seq, event in enumerate(writer_events, start=1):
        event.v, event.seq = events.VERSION, seq
    folder.mkdir(exist_ok=True)
    content = b"".join(events.encode(event) + b"\n" for event in writer_events)
    whole_files.write(Path(segment(folder, 1)), content, durable=True)
    changes.announce(folder)
