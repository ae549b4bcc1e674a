"""What a mirror knows of its bucket."""

from __future__ import annotations

import random
import sqlite3

import pytest

from tachograph.bucket.mirror.state import ListedRun, MirroredWriter, MirrorState


def test_ranges_of_numbers():
    chance = random.Random(3)
    for _ in range(100):
        writer, numbers = MirroredWriter("r", "w"), set[int]()
        for _ in range(12):
            first = chance.randrange(1, 60)
            last = first + chance.randrange(8)
            added = set(range(first, last + 1))
            assert writer.holds(first, last) == (added <= numbers)
            assert writer.is_new(first, last) == (not added & numbers)
            writer.add(first, last)
            numbers |= added
        assert {number for start, end in writer.numbers for number in range(start, end + 1)} == numbers
        assert all(end + 1 < start for (_, end), (start, _) in zip(writer.numbers, writer.numbers[1:], strict=False))


def test_what_was_not_kept_is_forgotten(tmp_path):
    state = MirrorState(tmp_path)
    state.set_run("a", ListedRun(2, 7.0), [MirroredWriter("a", "w", has_ended=True)])
    state.keep()
    state.set_run("b", ListedRun(1, 8.0), [MirroredWriter("b", "w")])
    state.close()
    state = MirrorState(tmp_path)
    assert state.runs() == {"a": ListedRun(2, 7.0)}
    assert (state.run("a"), state.run("b")) == (ListedRun(2, 7.0), None)
    state.close()


def test_runs_in_the_order_of_their_paths(tmp_path):
    state = MirrorState(tmp_path)
    for id in ("run", "run-1", "run-2", "s"):
        state.set_run(id, ListedRun(1, 1.0), [])
    assert state.runs("run-2").keys() == {"run-2", "run", "s"}  # as run-2/ comes before run/
    assert state.runs("", "run").keys() == {"run-1", "run-2"}
    assert state.going_on("s", 0.0, 2) == ["run", "run-1"]
    state.close()


def test_a_damaged_database_says_so(tmp_path):
    (tmp_path / "mirror.sqlite").write_bytes(b"nonsense" * 100)
    with pytest.raises(sqlite3.DatabaseError):
        MirrorState(tmp_path)
