"""Figures become files without a trace in the user's plotting."""

from __future__ import annotations

import json
import xml.etree.ElementTree

import pytest

from tachograph.capture import figures

pytest.importorskip("matplotlib").use("Agg")
pyplot = pytest.importorskip("matplotlib.pyplot")
Figure = pytest.importorskip("matplotlib.figure").Figure


def drawn() -> Figure:
    figure = Figure()
    figure.subplots().plot([1, 3, 2])
    return figure


def test_a_matplotlib_figure_becomes_svg_which_is_the_same_each_time() -> None:
    content, filename = figures.render(drawn(), "roc")
    assert filename == "roc.svg"
    assert xml.etree.ElementTree.fromstring(content).tag.endswith("svg")
    assert figures.render(drawn(), "roc")[0] == content


def test_pyplot_and_its_settings_stay_as_they_are() -> None:
    current = pyplot.figure()
    before = dict(pyplot.rcParams)
    other = drawn()
    canvas, size = other.canvas, other.get_size_inches().tolist()
    figures.render(other, "roc")
    assert dict(pyplot.rcParams) == before
    assert pyplot.gcf() is current
    assert pyplot.get_fignums() == [current.number]
    assert other.canvas is canvas
    assert other.get_size_inches().tolist() == size
    pyplot.close(current)


def test_a_plotly_figure_becomes_its_json() -> None:
    graphs = pytest.importorskip("plotly.graph_objects")
    content, filename = figures.render(graphs.Figure(data=graphs.Scatter(y=[1, 3, 2])), "roc")
    assert filename == "roc.plotly.json"
    assert json.loads(content)["data"][0]["type"] == "scatter"


@pytest.mark.parametrize("wrong", [None, "roc.png", b"\x89PNG"], ids=repr)
def test_anything_else_is_refused_with_one_line(wrong: object) -> None:
    with pytest.raises(TypeError, match=r"^a figure is .*, got .*$"):
        figures.render(wrong, "roc")


def test_axes_stand_for_their_figure() -> None:
    figure = drawn()
    assert figures.render(figure.axes[0], "roc") == figures.render(figure, "roc")


def test_pyplot_itself_is_refused_and_makes_no_figure() -> None:
    with pytest.raises(TypeError, match="got module"):
        figures.render(pyplot, "roc")
    assert not pyplot.get_fignums()
