"""Reading a writer's journal on from a place, in batches of lines that can be sent."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import pairwise
from pathlib import Path
from typing import NamedTuple

from tachograph import journal
from tachograph.events import Event
from tachograph.journal import Block, Unreadable
from tachograph.ship.positions import SinkPosition

BATCH_BYTES = 64 << 10  # a longer line makes a longer batch
BATCH_LINES = 1000


class Portion(NamedTuple):
    """Some lines of a writer with their numbers, and where its reader stands behind them. It may hold no lines, where
    none of those that were read can be sent."""

    numbers: list[int]
    lines: list[bytes]
    place: SinkPosition


def batches(
    folder: Path, place: SinkPosition, is_over: Callable[[], bool], size: int = BATCH_BYTES
) -> Iterator[Portion]:
    """What a writer recorded behind ``place``, about ``size`` bytes at a time.

    As for every reader, damaged lines are left out, and a line that was written twice counts once. A last line without
    its end counts only if the writer ``is_over``.
    """
    found = journal.segments(folder)
    for path in _from(found, place):
        for block in _blocks(path, place, is_over if path == found[-1] else lambda: True, size):
            for batch in _split(block, place):
                yield batch
                place = batch.place


def portions(found: Iterator[Portion], size: int) -> Iterator[Portion | None]:
    """The same lines in batches of at least ``size`` bytes, but for the last; None whenever that is not reached yet.

    What was read before a segment that can't be read comes before that is raised.
    """
    numbers, lines, length, place, fault = list[int](), list[bytes](), 0, None, None
    try:
        for batch in found:
            numbers.extend(batch.numbers)
            lines.extend(batch.lines)
            place = batch.place
            length += sum(map(len, batch.lines))
            if length < size:
                yield None
                continue
            yield Portion(numbers, lines, place)
            numbers, lines, length, place = [], [], 0, None
    except Unreadable as error:
        fault = error
    if place is not None:
        yield Portion(numbers, lines, place)
    if fault is not None:
        raise fault


def behind(folder: Path, place: SinkPosition) -> int:
    """How many bytes a writer's journal holds behind ``place``."""
    try:
        found, _ = journal.sizes(folder)
    except FileNotFoundError:
        return 0
    return sum(size for first, size in found.items() if first > place.first) + max(
        0, found.get(place.first, 0) - place.offset
    )


def _from(found: list[Path], place: SinkPosition) -> list[Path]:
    """The segments from the place on; where it names none, from the one in which the next number would be."""
    first = place.first or max((int(path.stem) for path in found if int(path.stem) <= place.seq + 1), default=0)
    return [path for path in found if int(path.stem) >= first]


def _blocks(path: Path, place: SinkPosition, is_over: Callable[[], bool], size: int) -> Iterator[Block]:
    offset = place.offset if place.first == int(path.stem) else 0
    with journal.opened(path) as file:
        file.seek(offset)
        while data := file.read(size):
            if not data.endswith(b"\n"):
                data += file.readline()
            if not data.endswith(b"\n") and not is_over():
                data = data[: data.rfind(b"\n") + 1]
                if data:
                    yield Block(path, offset, 1, data)
                return
            yield Block(path, offset, 1, data)
            offset += len(data)


def _split(block: Block, place: SinkPosition) -> Iterator[Portion]:
    """The lines of a block, at most so many at a time; the last batch, which may be empty, stands behind the block."""
    found = list(_good(block, place.seq))
    first = int(block.path.stem)
    for start in range(0, max(len(found), 1), BATCH_LINES):
        part = found[start : start + BATCH_LINES]
        numbers, lines = [number for number, _ in part], [line for _, line in part]
        seq = numbers[-1] if numbers else place.seq
        is_last = start + BATCH_LINES >= len(found)
        yield Portion(numbers, lines, SinkPosition(seq, first, block.end if is_last else block.offset))


def _good(block: Block, seq: int) -> Iterator[tuple[int, bytes]]:
    lines = block.data.split(b"\n")
    numbered = [(item.seq, line) for item, line in zip(block.items(), lines, strict=False) if isinstance(item, Event)]
    for (number, line), (following, _) in pairwise([*numbered, (0, b"")]):
        # A number that the next line falls behind is damaged: it would hide all the lines after it.
        if number > seq and not seq < following < number:
            seq = number
            yield number, line
