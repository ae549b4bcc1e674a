"""How a bucket holds a store."""

from __future__ import annotations

import random

import pytest

from tachograph.bucket import layout
from tachograph.bucket.layout import Segment


def test_paths_and_back():
    path = layout.segment_path("r", "0-host-7-abc", 1, 250)
    assert path == "runs/r/0-host-7-abc/00000000000000000001-00000000000000000250.jsonl.gz"
    assert layout.segment(path) == Segment("r", "0-host-7-abc", 1, 250)


@pytest.mark.parametrize(
    ("path", "segment"),
    [
        ("runs/r/w/17.jsonl", Segment("r", "w", 17, 0, False)),
        ("runs/r/w/17.jsonl.gz", Segment("r", "w", 17, 0, True)),
        ("runs/r/w/17.sums", None),
        ("runs/r/w/.received", None),
        ("runs/r/w/x/17.jsonl", None),
        ("runs/r/17.jsonl", None),
        ("blobs/aa/17.jsonl", None),
        ("runs/r/w/0.jsonl", None),
        (layout.segment_path("r", "w", 9, 8), None),
        (layout.segment_path("r", "w", 1, 2**64), None),
        ("runs/../w/17.jsonl", None),
        ("runs/r/../17.jsonl", None),
        ("runs/r/.w/17.jsonl", None),
        ("runs/r/..\\w/17.jsonl", None),
    ],
)
def test_what_is_a_segment(path, segment):
    assert layout.segment(path) == segment


def of(*ranges: tuple[int, int], writer: str = "w") -> list[Segment]:
    return [Segment("r", writer, first, last) for first, last in ranges]


@pytest.mark.parametrize(
    ("ranges", "end"),
    [
        ([], None),
        ([(1, 10)], 10),
        ([(11, 20), (1, 10)], 20),
        ([(1, 10), (1, 7), (8, 15)], 15),
        ([(1, 30), (2, 5), (31, 32)], 32),
        ([(1, 10), (12, 20)], 10),
        ([(2, 10)], None),
        ([(17, 0), (1, 3)], 3),
    ],
)
def test_how_far_a_writer_is_held(ranges, end):
    assert layout.complete(of(*ranges)) == ({} if end is None else {"w": end})


def test_writers_are_kept_apart():
    assert layout.complete([*of((1, 5)), *of((1, 2), (3, 9), writer="v")]) == {"w": 5, "v": 9}


def test_whatever_is_held_without_a_gap_counts():
    chance = random.Random(1)
    for _ in range(200):
        ranges = [(first, first + chance.randrange(12)) for first in chance.choices(range(1, 60), k=15)]
        numbers = {number for first, last in ranges for number in range(first, last + 1)}
        end = next(number for number in range(1, 100) if number not in numbers) - 1
        assert layout.complete(of(*ranges)).get("w", 0) == end


def test_blobs():
    digest = "sha256:" + "ab" * 32
    assert layout.blob_path(digest) == "blobs/ab/" + "ab" * 32
    for odd in ("ab" * 32, "sha256:../../x", "md5:" + "ab" * 16):
        with pytest.raises(ValueError, match="no digest"):
            layout.blob_path(odd)
