"""Following a run: what its writers append, a moment after they did."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from tachograph import journal
from tachograph.events import Event
from tachograph.journal import Block, Damage
from tachograph.store.bucket import MirrorQuestions
from tachograph.store.run_record import RunRecord
from tachograph.store.store import Store

PERIOD = 0.25  # seconds between two looks at journals
BUCKET_PERIOD = 5.0  # between two at a bucket: each costs money, and who sends to one hands over what came in a minute
PATIENCE = 5.0  # seconds for what was there before, until a part of it is shown
LAST_EVENTS = 2000  # of each writer, in which the last lines are looked for where all would come through a network


class FollowedEvent(NamedTuple):
    """An event and the folder name of the writer that recorded it."""

    writer: str
    event: Event


def follow(store: Store, run: RunRecord, is_all: bool) -> Iterator[list[FollowedEvent]]:
    """The events of a run as they come, until the run is over. Those that are there already come first, together: with
    ``is_all`` all of them, else the last ones at least."""
    if isinstance(store.questions, MirrorQuestions):
        return _from_journals(store, run, store.questions.journals / run.id, BUCKET_PERIOD)
    if store.questions.root is None:
        return _from_server(store, run, is_all)
    return _from_journals(store, run, run.dir, PERIOD)


def _from_journals(store: Store, run: RunRecord, folder: Path, period: float) -> Iterator[list[FollowedEvent]]:
    follower, status = Follower(folder), "running"
    while status == "running":
        # Asked before what is new is read, so that what came just before the end is not missed.
        status = store.run(run.id).status
        yield follower.new()
        if status == "running":
            time.sleep(period)


def _from_server(store: Store, run: RunRecord, is_all: bool) -> Iterator[list[FollowedEvent]]:
    from tachograph.client import stream
    from tachograph.store.http import HttpQuestions

    assert isinstance(store.questions, HttpQuestions)
    server = store.questions.server
    behind = stream.positions(server, run.id)  # writers whose earlier events are yet to come: these are one batch
    begin = {} if is_all else {writer: max(0, seq - LAST_EVENTS) for writer, seq in behind.items()}
    pending: list[FollowedEvent] = []
    until = time.monotonic() + PATIENCE
    for batch in stream.follow(server, run.id, begin):
        pending += [FollowedEvent(writer, event) for writer, event in batch]
        for writer, event in batch:
            if event.seq >= behind.get(writer, 0):
                behind.pop(writer, None)
        if not behind or time.monotonic() > until:
            yield pending
            pending = []
    yield pending


class Follower:
    """Reads each line of a run's journals once, also of writers and segments that appear meanwhile."""

    def __init__(self, folder: Path) -> None:
        self._reader = JournalReader(folder)

    def new(self) -> list[FollowedEvent]:
        """What was appended since the last call, in the order of time."""
        followed = [
            FollowedEvent(writer, item)
            for writer, block in self._reader.blocks()
            for item in block.items()
            if item is not None and not isinstance(item, Damage)
        ]
        return sorted(followed, key=lambda one: one.event.at)


class JournalReader:
    """Reads the journals of a run on and on, each line once: at a time about ``limit`` bytes of each writer, or all."""

    def __init__(self, folder: Path, limit: int | None = None) -> None:
        self._folder, self._limit = folder, limit
        self._positions: dict[Path, tuple[int, int]] = {}  # of each segment: the next byte, the next line

    def blocks(self) -> Iterator[tuple[str, Block]]:
        """The next lines of each writer that has any, with the name of its folder."""
        for writer in journal.writers(self._folder):
            for block in self._blocks_of(writer):
                yield writer.name, block

    def _blocks_of(self, writer: Path) -> Iterator[Block]:
        for path in journal.segments(writer):
            while (block := self._next_block(path)) is not None:
                yield block
                if self._limit is not None and block.end < journal.size(path):
                    return  # the next segment when this one is read to its end

    def _next_block(self, path: Path) -> Block | None:
        offset, line = self._positions.get(path, (0, 1))
        if journal.size(path) <= offset:
            return None
        block = journal.read_block(path, offset, line, limit=self._limit or journal.BLOCK_BYTES)
        if not block.data:  # a line that is being written; or was, when its writer died
            return None
        self._positions[path] = block.end, block.next_line
        return block
