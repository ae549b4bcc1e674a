"""What a notebook shows of runs."""

from __future__ import annotations

import re
import xml.etree.ElementTree
from pathlib import Path
from typing import Any

import pytest

import tachograph
from tachograph.store.notebook import HEIGHT, MOST_POINTS, WIDTH, curve


def points(drawn: str) -> list[tuple[float, float]]:
    xml.etree.ElementTree.fromstring(drawn)
    return [(float(x), float(y)) for x, y in re.findall(r"([\d.]+),([\d.]+)", drawn)]


def test_it_falls_from_the_upper_left() -> None:
    drawn = points(curve([0, 1, 2], [3.0, 2.0, 1.0]))
    assert drawn == sorted(drawn)
    assert drawn[0][1] < drawn[1][1] < drawn[2][1]


def test_many_points_stay_inside_and_few() -> None:
    drawn = points(curve(list(range(10_000)), [float(step % 7) for step in range(10_000)]))
    assert len(drawn) <= MOST_POINTS
    assert all(0 <= x <= WIDTH and 0 <= y <= HEIGHT for x, y in drawn)


@pytest.mark.parametrize("values", [[], [1.0], [float("nan"), 1.0], [float("inf")] * 3])
def test_nothing_to_draw(values: Any) -> None:
    assert curve(list(range(len(values))), values) == ""


def test_a_flat_line_is_in_the_middle() -> None:
    assert {y for _, y in points(curve([0, 1], [5.0, 5.0]))} == {HEIGHT / 2}


def test_a_run_in_a_notebook_shows_its_curves(root: Path) -> None:
    with tachograph.start_run(params={"lr": 0.1}) as run:
        for step in range(5):
            run.log({"loss": 1.0 / (step + 1)}, step=step)
        run.log({"once": 1.0})
    page = tachograph.open_store().run(run.id)._repr_html_()
    assert page.count("<svg") == 1


def test_html_is_escaped(root: Path) -> None:
    bad = "<script>alert('x')</script>"
    with tachograph.start_run(bad, experiment=bad, params={bad: bad}, tags={bad: bad}) as run:
        run.log({bad: 1})
    store = tachograph.open_store()
    for page in (store.run(run.id)._repr_html_(), store.runs()._repr_html_()):
        assert "<script" not in page
        assert "&lt;script&gt;" in page
