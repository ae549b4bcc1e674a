"""The arguments of a call, by name."""

from __future__ import annotations

from typing import Any

from tests.parts.hooked import Base

from tachograph.hooks import Call


def train(data: Any, rounds: int = 10, callbacks: Any = None) -> Any:
    return data, rounds, callbacks


def test_an_argument_by_position_by_keyword_and_left_out() -> None:
    call = Call(train, ("data",), {"callbacks": 3})
    assert call.argument("data") == "data"
    assert call.argument("callbacks") == 3
    assert call.argument("rounds") == 10
    assert call.argument("rounds", 5) == 10
    assert Call(train, (), {}).argument("data") is None
    assert call.argument("no such argument", 5) == 5
    assert Call(train, ("data", 7), {}).argument("rounds") == 7
    assert Call(dict.update, ({}, 7), {}).argument("rounds", 5) == 5
    base = Base()
    assert Call(Base.fit, (base, 1), {}).instance is base


def test_a_function_that_can_not_be_hashed() -> None:
    class Unhashable:
        __hash__ = None  # type: ignore[assignment]

        def __call__(self, data: Any) -> Any:
            return data

    assert Call(Unhashable(), (3,), {}).argument("data") == 3
