"""What users hand over, as it is recorded."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import pytest

from tachograph import values


class Plain:
    """One whose text has its address."""


MAKERS: list[Callable[[], Any]] = [
    lambda: Plain(),
    lambda: [Plain()],
    lambda: {"a": Plain()},
    lambda: (x for x in "a"),
    lambda: functools.partial(lambda x: x, Plain()),
    lambda: Plain().__str__,
]


@pytest.mark.parametrize("make", MAKERS)
def test_of_equal_objects_the_text_is_the_same(make: Any) -> None:
    first, second = make(), make()
    found, _ = values.params({"value": [first]})
    assert found == values.params({"value": [second]})[0]
    assert "0x" not in str(found)


def test_a_text_of_the_users_stays_as_it_is() -> None:
    said = "crashed at 0x7fff12345678"
    assert values.params({"value": said})[0] == {"value": said}
    assert values.text(said) == said


def test_a_distribution_is_named_with_its_arguments() -> None:
    stats = pytest.importorskip("scipy.stats")
    found, _ = values.params({"a": stats.loguniform(0.001, 1), "b": stats.norm(loc=2)})
    assert found == {"a": "loguniform(0.001, 1)", "b": "norm(loc=2)"}
