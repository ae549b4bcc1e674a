"""Steps that are left out count 0, 1, 2 ... for each name, however the names are logged together."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from tests.unit.journal.test_writing import open_journal

from tachograph import journal
from tachograph.events import Metrics
from tachograph.journal.steps import StepCounts

SHAPES = st.lists(st.lists(st.sampled_from("abcd"), min_size=1, max_size=4, unique=True).map(tuple), max_size=30)


def counted_simply(shapes: list[tuple[str, ...]], start: dict[str, int]) -> list[dict[str, int]]:
    """What is expected: a count for each name."""
    counts = dict(start)
    found = []
    for shape in shapes:
        found.append({name: counts.get(name, 0) for name in shape})
        counts.update({name: counts.get(name, 0) + 1 for name in shape})
    return found


@given(SHAPES)
@example([("a", "b"), ("b", "a"), ("a",), ("a", "b")])
@example([("a",), ("a", "b"), ("b", "c"), ("c",), ("a", "b", "c")])
def test_each_name_counts_for_itself(shapes: list[tuple[str, ...]]) -> None:
    steps = StepCounts()
    assert [steps.take(shape) for shape in shapes] == counted_simply(shapes, {})


@given(SHAPES, st.dictionaries(st.sampled_from("abcd"), st.integers(0, 100)))
def test_a_resumed_run_goes_on_from_where_it_was(shapes: list[tuple[str, ...]], start: dict[str, int]) -> None:
    steps = StepCounts()
    steps.resume(start)
    assert [steps.take(shape) for shape in shapes] == counted_simply(shapes, start)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None, max_examples=50)
@given(SHAPES)
def test_the_fast_way_counts_the_same(tmp_path: Path, shapes: list[tuple[str, ...]]) -> None:
    folder = tmp_path / str(len(list(tmp_path.iterdir())))
    writing = open_journal(folder)

    def unusual(values: dict[str, float], step: int | None) -> None:
        for name, own in writing.steps.take(tuple(values)).items():
            writing.append(Metrics(0, 0, 0.0, own if step is None else step, {name: values[name]}))

    writing.unusual = unusual
    for shape in shapes:
        writing.log(dict.fromkeys(shape, 0.5))
    found: dict[str, list[int]] = {}
    for event in journal.read_writer(folder):
        if isinstance(event, Metrics):
            for name in event.values:
                found.setdefault(name, []).append(event.step)
    assert all(steps == list(range(len(steps))) for steps in found.values())
    assert {name: len(steps) for name, steps in found.items()} == {
        name: sum(name in shape for shape in shapes) for name in set().union(*shapes)
    }


@pytest.mark.parametrize("shape", [("",), ("a", ""), (3,), (None,), ("a", 3)])
def test_names_that_are_none_are_refused_and_nothing_counted(shape: tuple[str, ...]) -> None:
    steps = StepCounts()
    with pytest.raises(ValueError):
        steps.take(shape)
    assert steps.take(("a",)) == {"a": 0}
