"""The graph, and how it is walked from a node."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any, Literal, Protocol, TypeAlias

from msgspec import Struct

from tachograph.printable import printable

KINDS = ("dataset", "code", "run", "artifact", "version", "deployment", "check")
Direction: TypeAlias = Literal["up", "down", "both"]
DIRECTIONS = ("up", "down", "both")


class Node(Struct, frozen=True):
    """A thing that has a place in the graph. ``id`` is its kind and its key, ``label`` what people call it."""

    id: str
    kind: str
    label: str


class Edge(Struct, frozen=True, rename={"from_": "from"}):
    """``to`` came of ``from_``, both the ids of nodes; ``kind`` says how."""

    from_: str
    to: str
    kind: str


class Lineage(Struct, frozen=True):
    """What a node came of ("up"), or what came of it ("down"), or both: the node itself, ``start``, is the first."""

    start: str
    direction: str
    nodes: list[Node]
    edges: list[Edge]

    def __repr__(self) -> str:
        return printable(f"<tachograph lineage of {self.start}, {len(self.nodes)} nodes, {len(self.edges)} edges>")

    def plain(self) -> dict[str, list[dict[str, str]]]:
        """Nodes and edges as plain values, for programs."""
        return {
            "nodes": [{"id": node.id, "kind": node.kind, "label": node.label} for node in self.nodes],
            "edges": [{"from": edge.from_, "to": edge.to, "kind": edge.kind} for edge in self.edges],
        }


class Sources(Protocol):
    """Whoever knows the edges. It is asked for many nodes at once, and may give an edge several times."""

    def above(self, ids: Sequence[str]) -> Iterable[Edge]:
        """The edges that lead to these nodes."""

    def below(self, ids: Sequence[str]) -> Iterable[Edge]:
        """The edges that lead away from them."""

    def labels(self, ids: Sequence[str]) -> Sequence[str]:
        """What people call these nodes."""


def node_id(kind: str, key: str) -> str:
    """The id of a node."""
    return f"{kind}:{key}"


def split(id: str) -> tuple[str, str]:
    """The kind and the key of a node's id; the kind is "" where there is none of that name."""
    kind, _, key = id.partition(":")
    return (kind, key) if kind in KINDS else ("", id)


def walk(start: str, sources: Sources, direction: str = "up", depth: int | None = None) -> Lineage:
    """All that can be reached from a node in a direction, at most ``depth`` edges away. Each node is looked at once,
    also where edges go in a circle, and all those of one distance together."""
    if direction not in DIRECTIONS:
        raise ValueError(f"direction is one of {', '.join(DIRECTIONS)}, not {direction!r}")
    if depth is not None and (isinstance(depth, bool) or not isinstance(depth, int) or depth < 0):
        raise ValueError(f"depth is a number of edges, 0 or more, not {depth!r}")
    ids: dict[str, Any] = {start: None}
    edges: dict[Edge, Any] = {}
    if direction in ("up", "both"):
        _follow(start, sources.above, lambda edge: (edge.to, edge.from_), depth, ids, edges)
    if direction in ("down", "both"):
        _follow(start, sources.below, lambda edge: (edge.from_, edge.to), depth, ids, edges)
    named = zip(ids, sources.labels(list(ids)), strict=True)
    return Lineage(start, direction, [Node(id, split(id)[0], label) for id, label in named], list(edges))


def _follow(
    start: str,
    ask: Callable[[Sequence[str]], Iterable[Edge]],
    ends: Callable[[Edge], tuple[str, str]],
    depth: int | None,
    ids: dict[str, Any],
    edges: dict[Edge, Any],
) -> None:
    """Add to ``ids`` and ``edges`` what is found; ``ends`` gives of an edge the end that was asked for, and the other
    one."""
    seen, frontier = {start}, [start]
    while frontier and depth != 0:
        asked, found = set(frontier), dict.fromkeys(ask(frontier))
        frontier = []
        for edge in found:
            near, far = ends(edge)
            if near in asked:
                edges[edge] = ids[far] = None
                if far not in seen:
                    seen.add(far)
                    frontier.append(far)
        depth = None if depth is None else depth - 1
