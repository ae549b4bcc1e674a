"""Points come out of their bytes as they went in."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tachograph.index.chunk_codec import columns, pack, pack_few, pack_many, unpack

STEPS = st.one_of(st.integers(-3, 3), st.integers(-(2**63), 2**63 - 1))
VALUES = st.one_of(st.floats(width=32), st.floats(), st.sampled_from([0.0, -0.0, 1e308, 5e-324]))
POINTS = st.tuples(st.integers(1, 2**20), STEPS, st.floats(0, 1e12), VALUES)


@given(points=st.lists(POINTS, min_size=1, max_size=20), start=st.integers(1, 2**52), even=st.booleans())
def test_points_are_the_same_again(points: list[tuple[int, int, float, float]], start: int, even: bool) -> None:
    distances, steps, times, values = (list(column) for column in zip(*points, strict=True))
    if even:
        distances, steps = (
            [distances[0]] * len(points),
            [steps[0] // 64 + steps[-1] // 64 * n for n in range(len(points))],
        )
    seqs = start + np.cumsum(np.array(distances, "<i8"))
    steps = [(step + 2**63) % 2**64 - 2**63 for step in steps]
    given_ = seqs, np.array(steps, "<i8"), np.array(times, "<f8"), np.array(values, "<f8")
    for packed in (pack_few(*(column.tolist() for column in given_)), pack_many(*given_)):
        facts = packed, int(seqs[0]), int(seqs[-1]), len(seqs)
        for before, after in zip(given_, unpack(*facts), strict=True):
            assert before.dtype == after.dtype
            np.testing.assert_array_equal(after, before)
            assert np.array_equal(np.signbit(after), np.signbit(before)) or np.isnan(before).any()
        for before, content in zip(given_[1:], columns(*facts), strict=True):
            np.testing.assert_array_equal(np.frombuffer(content, before.dtype), before)


@pytest.mark.parametrize(("count", "most"), [(1, 14), (2, 28), (4096, 16 + 12 * 4096 + 1)])
def test_what_trainings_log_takes_few_bytes(count: int, most: int) -> None:
    numbers = np.arange(count)
    values = np.sin(numbers).astype("<f4").astype("<f8")
    assert len(pack(7 + 3 * numbers, 100 * numbers, 1.7e9 + numbers / 7, values)) <= most
