"""Reading on in a journal from a place."""

from __future__ import annotations

import tracemalloc
from collections.abc import Iterator
from pathlib import Path

import pytest

from tachograph import journal
from tachograph.journal import Unreadable
from tachograph.ship.cursor import BATCH_LINES, Portion, batches, behind, portions
from tachograph.ship.positions import SinkPosition

START = SinkPosition()


def line(seq: int, text: str = "x") -> bytes:
    return b'{"kind":"note","v":1,"seq":%d,"at":1.0,"text":"%s"}' % (seq, text.encode())


def write(folder: Path, first: int, lines: list[bytes], end: bytes = b"\n") -> Path:
    folder.mkdir(exist_ok=True)
    path = folder / f"{first}.jsonl"
    path.write_bytes(b"\n".join(lines) + end)
    return path


def read(folder: Path, place: SinkPosition = START, over: bool = False, size: int = 200) -> list[Portion]:
    return list(batches(folder, place, lambda: over, size))


def numbers(found: list[Portion]) -> list[int]:
    return [number for batch in found for number in batch.numbers]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "0-a"


def test_from_every_place_to_the_end(folder: Path) -> None:
    write(folder, 1, [line(seq) for seq in range(1, 21)])
    write(folder, 21, [line(seq) for seq in range(21, 31)])
    found = read(folder)
    assert numbers(found) == list(range(1, 31))
    for index, batch in enumerate(found):
        rest = found[index + 1 :]
        assert read(folder, batch.position) == rest
        assert numbers(read(folder, SinkPosition(batch.position.seq))) == numbers(rest)
        assert behind(folder, batch.position) == sum(len(line) + 1 for batch in rest for line in batch.lines)
    assert behind(folder, found[-1].position) == 0


def test_lines_are_given_as_they_stand_there(folder: Path) -> None:
    lines = [line(1), b' {"seq": 2, "kind": "new.kind", "at": 1e9}', line(7, "ünï")]
    write(folder, 1, lines)
    assert [line for batch in read(folder) for line in batch.lines] == lines


def test_batches_are_bounded_in_bytes_and_in_number(folder: Path) -> None:
    write(folder, 1, [line(seq) for seq in range(1, 3001)])
    assert all(sum(map(len, batch.lines)) < 400 for batch in read(folder))
    found = read(folder, size=1 << 20)
    assert [len(batch.lines) for batch in found] == [BATCH_LINES] * 3
    assert numbers(read(folder, found[0].position)) == list(range(BATCH_LINES + 1, 3001))


def test_a_line_longer_than_a_batch(folder: Path) -> None:
    write(folder, 1, [line(1), line(2, "y" * 5000), line(3)])
    assert numbers(read(folder)) == [1, 2, 3]


def test_what_can_not_be_read_takes_nothing_with_it(folder: Path) -> None:
    lines = [
        line(1),
        b"garbage",
        line(2),
        b"",
        b'{"kind":"note","v":1,"seq":3}',
        line(4),
        line(4),
        line(10**18),
        line(6),
    ]
    write(folder, 1, lines)
    for size in (60, 10_000):
        assert numbers(read(folder, size=size))[-1] in (6, 10**18)
    assert numbers(read(folder, size=10_000)) == [1, 2, 4, 6]
    assert behind(folder, read(folder)[-1].position) == 0


def test_a_last_line_without_its_end(folder: Path) -> None:
    write(folder, 1, [line(1), line(2)], end=b"")
    found = read(folder)
    assert numbers(found) == [1]
    assert behind(folder, found[-1].position) == len(line(2))
    assert numbers(read(folder, found[-1].position, over=True)) == [2]
    write(folder, 1, [line(1), line(2)[:-9]], end=b"")
    assert numbers(read(folder, over=True)) == [1]
    assert behind(folder, read(folder, over=True)[-1].position) == 0


def test_compressed_segments(folder: Path) -> None:
    path = write(folder, 1, [line(seq) for seq in range(1, 21)])
    found = read(folder)
    journal.compress(path)
    write(folder, 21, [line(21)])
    assert numbers(read(folder, found[2].position)) == list(range(found[2].position.seq + 1, 22))


@pytest.mark.slow
def test_memory_is_bounded(folder: Path) -> None:
    write(folder, 1, [line(seq, "z" * 100) for seq in range(1, 100_001)])
    tracemalloc.start()
    try:
        count = sum(len(batch.lines) for batch in batches(folder, SinkPosition(), lambda: False))
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert count == 100_000
    assert peak < 2 << 20  # of 15 MB


def batch(*numbers: int) -> Portion:
    return Portion(list(numbers), [b"x" * 10 for _ in numbers], SinkPosition(numbers[-1] if numbers else 0, 1, 5))


def test_batches_are_put_together():
    found = list(portions(iter([batch(1, 2), batch(3), batch(4, 5), batch(6)]), 30))
    assert found == [None, batch(1, 2, 3), None, batch(4, 5, 6)]


def test_without_a_size_each_is_its_own():
    given = [batch(1, 2), batch(), batch(3)]
    assert list(portions(iter(given), 0)) == given


def test_the_last_comes_whatever_its_size():
    assert list(portions(iter([batch(1)]), 1000)) == [None, batch(1)]
    assert list(portions(iter([]), 1000)) == []
    assert list(portions(iter([batch()]), 1000)) == [None, batch()]  # its place counts


def test_what_was_read_before_a_fault_comes_before_it():
    def read() -> Iterator[Portion]:
        yield batch(1)
        raise Unreadable(5, "damaged", "file")

    found = portions(read(), 1000)
    assert [next(found), next(found)] == [None, batch(1)]
    with pytest.raises(Unreadable):
        next(found)
