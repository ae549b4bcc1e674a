"""Journals that are whole from the moment they are there."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

from tachograph import events
from tachograph.events import Event
from tachograph.journal import changes
from tachograph.journal.compression import DRAFT
from tachograph.journal.reading import segment
from tachograph.runtime.locks import sync_folder


def place(folder: Path, happened: Sequence[Event]) -> None:
    """Let all that a writer records be these events, in a segment that takes the place of any that is there. Where this
    is interrupted there is none."""
    for seq, event in enumerate(happened, start=1):
        event.v, event.seq = events.VERSION, seq
    folder.mkdir(exist_ok=True)
    draft = folder / f"{DRAFT}{os.getpid()}-{os.urandom(6).hex()}"
    try:
        with open(draft, "xb") as file:
            file.write(b"".join(events.encode(event) + b"\n" for event in happened))
            file.flush()
            os.fsync(file.fileno())
        os.replace(draft, segment(folder, 1))
    finally:
        draft.unlink(missing_ok=True)
    sync_folder(folder)
    changes.tell(folder)
