"""Lines for a sink that wants a lot at once."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tachograph.journal import Unreadable
from tachograph.ship.cursor import Portion, portions
from tachograph.ship.positions import SinkPosition


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
