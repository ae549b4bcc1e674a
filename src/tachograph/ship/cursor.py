"""Reading a writer's journal from a position on, in batches of lines that can be sent."""

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
    """Some lines of a writer with their numbers, and the reader's position behind them. There may be no lines, where
    none of those that were read can be sent."""

    numbers: list[int]
    lines: list[bytes]
    position: SinkPosition


def batches(
    folder: Path, position: SinkPosition, is_over: Callable[[], bool], size: int = BATCH_BYTES
) -> Iterator[Portion]:
    """What a writer recorded behind ``position``, about ``size`` bytes at a time.

    As for every reader, damaged lines are left out, and a line that was written twice counts once. A last line without
    its end counts only if the writer ``is_over``.
    """
    paths = journal.segments(folder)
    for path in _from(paths, position):
        for block in _blocks(path, position, is_over if path == paths[-1] else lambda: True, size):
            for batch in _split(block, position):
                yield batch
                position = batch.position


def portions(read_batches: Iterator[Portion], size: int) -> Iterator[Portion | None]:
    """The same lines in batches of at least ``size`` bytes, but for the last; None whenever that is not reached yet.

    What was read before a segment that can't be read comes before that is raised.
    """
    numbers, lines, length, position, fault = list[int](), list[bytes](), 0, None, None
    try:
        for batch in read_batches:
            numbers.extend(batch.numbers)
            lines.extend(batch.lines)
            position = batch.position
            length += sum(map(len, batch.lines))
            if length < size:
                yield None
                continue
            yield Portion(numbers, lines, position)
            numbers, lines, length, position = [], [], 0, None
    except Unreadable as error:
        fault = error
    if position is not None:
        yield Portion(numbers, lines, position)
    if fault is not None:
        raise fault


def behind(folder: Path, position: SinkPosition) -> int:
    """How many bytes a writer's journal holds behind ``position``."""
    try:
        sizes, _ = journal.sizes(folder)
    except FileNotFoundError:
        return 0
    return sum(size for first, size in sizes.items() if first > position.first) + max(
        0, sizes.get(position.first, 0) - position.offset
    )


def _from(paths: list[Path], position: SinkPosition) -> list[Path]:
    """The segments from the position on; where it names none, from the one in which the next number would be."""
    first = position.first or max((int(path.stem) for path in paths if int(path.stem) <= position.seq + 1), default=0)
    return [path for path in paths if int(path.stem) >= first]


def _blocks(path: Path, position: SinkPosition, is_over: Callable[[], bool], size: int) -> Iterator[Block]:
    offset = position.offset if position.first == int(path.stem) else 0
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


def _split(block: Block, position: SinkPosition) -> Iterator[Portion]:
    """The lines of a block, at most so many at a time; the last position, also where no line comes
    with it, is that behind the block."""
    numbered = list(_good(block, position.seq))
    first = int(block.path.stem)
    for start in range(0, max(len(numbered), 1), BATCH_LINES):
        part = numbered[start : start + BATCH_LINES]
        numbers, lines = [number for number, _ in part], [line for _, line in part]
        seq = numbers[-1] if numbers else position.seq
        is_last = start + BATCH_LINES >= len(numbered)
        yield Portion(numbers, lines, SinkPosition(seq, first, block.end if is_last else block.offset))


def _good(block: Block, seq: int) -> Iterator[tuple[int, bytes]]:
    lines = block.data.split(b"\n")
    numbered = [(item.seq, line) for item, line in zip(block.items(), lines, strict=False) if isinstance(item, Event)]
    for (number, line), (following, _) in pairwise([*numbered, (0, b"")]):
        # A number that the next line falls behind is damaged: it would hide all the lines after it.
        if number > seq and not seq < following < number:
            seq = number
            yield number, line
