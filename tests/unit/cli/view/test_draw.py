"""Curves, and what fits where."""

from __future__ import annotations

import math

import numpy as np
import pytest

from tachograph.cli.view import draw

nan, inf = math.nan, math.inf


def test_a_spark_shows_the_course_of_the_values():
    assert draw.spark([0, 1, 2, 3], [0, 1, 2, 3], 10) == "▁▃▆█"
    assert draw.spark(range(800), range(800), 8) == "▁▂▃▄▅▆▇█"


def test_points_are_drawn_at_their_steps_in_whatever_order_they_came():
    assert draw.spark([3, 1, 0, 2], [3, 1, 0, 2], 10) == "▁▃▆█"


def test_points_without_steps_of_their_own_are_drawn_as_they_came():
    assert draw.spark([0, 0, 0], [1, 2, 3], 10) == "▁▅█"


@pytest.mark.parametrize(
    ("values", "drawn"),
    [
        ([], ""),
        ([nan, inf], ""),
        ([5], "▁"),
        ([5, 5, 5], "▁▁▁"),
        ([nan, 1, 2], "▁█"),
        ([1e308, -1e308, 1e308], "█▁█"),
    ],
)
def test_odd_values(values, drawn):
    assert draw.spark(range(len(values)), values, 10) == drawn


def test_uneven_steps_leave_no_hole():
    steps = [0, 1, 2, 3, 1000]
    assert len(draw.spark(steps, [0, 0, 0, 0, 1], 4)) == 4


def test_a_chart_has_its_scale_and_its_width():
    lines = draw.chart("loss", np.arange(1000), np.exp(-np.arange(1000) / 200), 40, height=4)
    assert [len(line) for line in lines] == [40] * 6
    assert lines[0].rstrip() == "loss"
    assert lines[-1].split() == ["0", "999"]
    top, bottom = lines[1].split()[0], lines[4].split()[0]
    assert (float(top), float(bottom)) == (pytest.approx(1, rel=0.05), pytest.approx(math.exp(-5), rel=0.05))


def test_a_steep_line_has_no_holes():
    line = draw._braille([0.0, 1.0], 3)
    assert line == ["⢸", "⢸", "⢸"] or all(cell != "\u2800" for cell in line)


def test_the_scale_is_that_of_what_is_drawn():
    values = np.zeros(100_000)
    values[50_000] = 1000.0  # one point of a stretch of a thousand and more
    top = draw.chart("x", np.arange(100_000), values, 40)[1].split()[0]
    assert float(top) < 2


@pytest.mark.parametrize("values", [[1.0], [2.0, 2.0], [1e308, -1e308], [nan, 1.0], [nan], [inf, -inf]])
@pytest.mark.parametrize("width", [20, 40, 41])
def test_charts_of_odd_values(values, width):
    lines = draw.chart("損失 with a very long name that does not fit into the width", range(len(values)), values, width)
    from rich.cells import cell_len

    assert {cell_len(line) for line in lines} == {width}


def columns() -> list[draw.TableColumn]:
    return [
        draw.TableColumn("ID", ["abcdef", "b"]),
        draw.TableColumn("LONG", ["x" * 30, ""], rank=1),
        draw.TableColumn("損失", ["1", "2"], rank=2, right=True),
        draw.TableColumn("LAST", ["end", "end"], rank=1),
    ]


@pytest.mark.parametrize(
    ("room", "headers"),
    [
        (10_000, ["ID", "LONG", "損失", "LAST"]),
        (50, ["ID", "LONG", "損失", "LAST"]),
        (49, ["ID", "LONG", "LAST"]),
        (41, ["ID", "LONG"]),
        (37, ["ID", "損失", "LAST"]),
        (12, ["ID", "LAST"]),
        (6, ["ID"]),
        (1, []),
    ],
)
def test_columns_of_lower_rank_are_kept_where_there_is_room(room, headers):
    assert [column.header for column in draw.fitting(columns(), room)] == headers


def test_long_cells_are_cut():
    assert draw.clipped(["abc", "abcd", "abcde", "損失損"], 4) == ["abc", "abcd", "abc…", "損 …"]
