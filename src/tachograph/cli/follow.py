"""Following a run's journals: what its writers append, a moment after they did."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from tachograph import journal
from tachograph.events import Event
from tachograph.journal import Damage


class Heard(NamedTuple):
    """An event and the folder name of the writer that recorded it."""

    writer: str
    event: Event


class Follower:
    """Reads each line of a run's journals once, also of writers and segments that appear meanwhile."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._places: dict[Path, tuple[int, int]] = {}  # of each segment: the next byte, the next line

    def new(self) -> list[Heard]:
        """What was appended since the last call, in the order of time."""
        heard = [heard for writer in journal.writers(self._folder) for heard in self._of_writer(writer)]
        return sorted(heard, key=lambda heard: heard.event.at)

    def _of_writer(self, folder: Path) -> Iterator[Heard]:
        for path in journal.segments(folder):
            offset, line = self._places.get(path, (0, 1))
            if journal.size(path) <= offset:
                continue
            while (block := journal.read_block(path, offset, line)).data:
                for item in block.items():
                    if item is not None and not isinstance(item, Damage):
                        yield Heard(folder.name, item)
                offset, line = block.end, block.next_line
            self._places[path] = offset, line
