"""Walking from node to node, whoever knows the edges."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import pytest

from tachograph.lineage import Edge
from tachograph.lineage.graph import split, walk


class Listed:
    """A list of edges that answers, and counts how often it is asked about each node."""

    def __init__(self, *pairs: tuple[str, str]) -> None:
        self.edges = [Edge(f"run:{above}", f"run:{below}", "parent") for above, below in pairs]
        self.asked: list[str] = []
        self.calls = 0

    def above(self, ids: Sequence[str]) -> Iterator[Edge]:
        self.calls += 1
        self.asked += ids
        return (edge for edge in self.edges if edge.to in ids)

    def below(self, ids: Sequence[str]) -> Iterator[Edge]:
        self.calls += 1
        self.asked += ids
        return (edge for edge in self.edges if edge.from_ in ids)

    def labels(self, ids: Sequence[str]) -> list[str]:
        return [split(id)[1].upper() for id in ids]


def keys(lineage) -> str:
    return "".join(split(node.id)[1] for node in lineage.nodes)


def test_up_down_and_both():
    chain = Listed(("a", "b"), ("b", "c"), ("x", "c"), ("c", "d"))
    assert keys(walk("run:c", chain)) == "cbxa"
    assert keys(walk("run:b", chain, "down")) == "bcd"
    assert keys(walk("run:b", chain, "both")) == "bacd"  # not what else c came of
    assert walk("run:b", chain, "up").plain() == {
        "nodes": [{"id": "run:b", "kind": "run", "label": "B"}, {"id": "run:a", "kind": "run", "label": "A"}],
        "edges": [{"from": "run:a", "to": "run:b", "kind": "parent"}],
    }


@pytest.mark.parametrize(("depth", "reached"), [(0, "d"), (1, "dc"), (2, "dcbx"), (9, "dcbxa"), (None, "dcbxa")])
def test_depth(depth, reached):
    chain = Listed(("a", "b"), ("b", "c"), ("x", "c"), ("c", "d"))
    found = walk("run:d", chain, "up", depth)
    assert keys(found) == reached
    assert {end for edge in found.edges for end in (edge.from_, edge.to)} <= {node.id for node in found.nodes}


def test_circles_end_and_each_node_is_asked_about_once():
    circle = Listed(("a", "b"), ("b", "c"), ("c", "a"), ("c", "c"), ("a", "c"))
    found = walk("run:a", circle, "down")
    assert keys(found) == "abc"
    assert len(found.edges) == 5
    assert sorted(circle.asked) == ["run:a", "run:b", "run:c"]


def test_all_nodes_of_a_distance_are_asked_about_together():
    fan = Listed(*(("a", f"{number}") for number in range(1000)), *((f"{number}", "z") for number in range(1000)))
    found = walk("run:a", fan, "down")
    assert (len(found.nodes), len(found.edges), fan.calls) == (1002, 2000, 3)


@pytest.mark.parametrize("wrong", [{"direction": "sideways"}, {"depth": -1}, {"depth": True}, {"depth": "2"}])
def test_wrong_arguments(wrong):
    with pytest.raises(ValueError, match=r"direction is one of|depth is a number"):
        walk("run:a", Listed(), **wrong)


def test_it_is_shown_by_how_much_there_is():
    assert repr(walk("run:b", Listed(("a", "b")))) == "<tachograph lineage of run:b, 2 nodes, 1 edges>"
