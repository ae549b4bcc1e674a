"""Journals that are read while they grow."""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.parts.journals import append, header, lines, point

from tachograph.store.follow import Follower, JournalReader


def numbers(reader: JournalReader) -> list[tuple[str, int]]:
    """By writer the sequence numbers that come at once."""
    return [(writer, item.seq) for writer, block in reader.blocks() for item in block.items()]


@pytest.mark.parametrize("limit", [None, 1, 1000])
def test_each_line_is_read_once_also_of_segments_that_come_later(root: Path, limit: int | None) -> None:
    reader = JournalReader(root / "runs" / "r", limit)
    for writer in ("0-a", "1-b"):
        append(root, "r", writer, lines(header("r", writer), *[point(step, x=step) for step in range(20)]))
        append(root, "r", writer, lines(*[point(step, x=step) for step in range(20)], first=22), segment=22)
    seen = numbers(reader)
    assert limit is not None or len(seen) == 82
    while more := numbers(reader):
        seen += more
    assert sorted(seen) == [(writer, seq) for writer in ("0-a", "1-b") for seq in range(1, 42)]
    assert [seq for writer, seq in seen if writer == "0-a"] == list(range(1, 42))
    begun, whole = lines(point(20, x=20), first=42)[0][:10], lines(point(20, x=20), first=42)
    append(root, "r", "0-a", [begun], segment=22)
    assert numbers(reader) == []  # a line that is being written
    append(root, "r", "0-a", [whole[0][10:]], segment=22)
    append(root, "r", "2-c", lines(header("r", "2-c")))
    assert numbers(reader) == [("0-a", 42), ("2-c", 1)]


def test_events_come_in_the_order_of_time(root: Path) -> None:
    follower = Follower(root / "runs" / "r")
    assert follower.new() == []
    append(root, "r", "0-a", lines(header("r", "0-a"), point(0, x=0), point(1, x=1), at=10.0))
    append(root, "r", "1-b", lines(header("r", "1-b"), point(0, x=0), at=10.5))
    assert [(followed.writer, followed.event.seq) for followed in follower.new()] == [
        ("0-a", 1), ("1-b", 1), ("0-a", 2), ("1-b", 2), ("0-a", 3),
    ]  # fmt: skip
    assert follower.new() == []
