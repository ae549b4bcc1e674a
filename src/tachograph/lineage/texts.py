"""A lineage as a text: a tree for a terminal, Mermaid, Graphviz.

Labels may hold anything. What a language would read as its own is escaped, and control characters are not written.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterator

from tachograph.lineage.graph import Edge, Lineage, Node
from tachograph.printable import clipped, line

_LONGEST = 200  # characters of a label in a picture
_PLAIN = frozenset(" .,-+_/:")  # beside letters and digits: what means nothing to Mermaid within quotes


def written(lineage: Lineage, format: str) -> Iterator[str]:
    """A lineage in one of ``FORMATS``, line by line."""
    return FORMATS[format](lineage)


def _tree(lineage: Lineage) -> Iterator[str]:
    """The node, and below it what it came of or what came of it. A node that is there already is not repeated with all
    that is below it."""
    nodes = {node.id: node for node in lineage.nodes}
    yield _named(nodes[lineage.start])
    for direction in ("up", "down"):
        if lineage.direction in (direction, "both"):
            yield from _branches(lineage, nodes, direction)


def _branches(lineage: Lineage, nodes: dict[str, Node], direction: str) -> Iterator[str]:
    next_to: defaultdict[str, list[tuple[Edge, str]]] = defaultdict(list)
    for edge in lineage.edges:
        near, far = (edge.to, edge.from_) if direction == "up" else (edge.from_, edge.to)
        next_to[near].append((edge, far))
    drawn = {lineage.start}
    # No recursion: a chain of runs that went on from each other may be longer than Python's stack.
    open_branches = [("", iter(_with_last(next_to[lineage.start])))]
    while open_branches:
        indent, branches = open_branches[-1]
        branch = next(branches, None)
        if branch is None:
            open_branches.pop()
            continue
        (edge, far), is_last = branch
        is_repeated = far in drawn and bool(next_to[far])
        arrow = "<-" if direction == "up" else "->"
        again = " (see above)" * is_repeated
        yield f"{indent}{'└─' if is_last else '├─'} {arrow} {line(edge.kind)}: {_named(nodes[far])}{again}"
        if far not in drawn:
            drawn.add(far)
            open_branches.append((indent + ("   " if is_last else "│  "), iter(_with_last(next_to[far]))))


def _with_last(branches: list[tuple[Edge, str]]) -> list[tuple[tuple[Edge, str], bool]]:
    return [(branch, number == len(branches)) for number, branch in enumerate(branches, 1)]


def _named(node: Node) -> str:
    return line(f"{node.kind} {node.label}")


def _mermaid(lineage: Lineage) -> Iterator[str]:
    """A flowchart as https://mermaid.js.org has it."""
    names = {node.id: f"n{number}" for number, node in enumerate(lineage.nodes)}
    yield "flowchart LR"
    for node in lineage.nodes:
        yield f'  {names[node.id]}["{_for_mermaid(_named(node))}"]'
    for edge in lineage.edges:
        yield f'  {names[edge.from_]} -->|"{_for_mermaid(line(edge.kind))}"| {names[edge.to]}'


def _for_mermaid(text: str) -> str:
    text = clipped(text, _LONGEST)
    return "".join(sign if sign.isalnum() or sign in _PLAIN else f"#{ord(sign)};" for sign in text)


def _dot(lineage: Lineage) -> Iterator[str]:
    """A digraph in the language of https://graphviz.org."""
    names = {node.id: f"n{number}" for number, node in enumerate(lineage.nodes)}
    yield "digraph lineage {"
    yield "  rankdir=LR; node [shape=box];"
    for node in lineage.nodes:
        yield f'  {names[node.id]} [label="{_for_dot(_named(node))}"];'
    for edge in lineage.edges:
        yield f'  {names[edge.from_]} -> {names[edge.to]} [label="{_for_dot(line(edge.kind))}"];'
    yield "}"


def _for_dot(text: str) -> str:
    """Graphviz reads backslashes and HTML's entities in labels."""
    text = clipped(text, _LONGEST).replace("\\", "\\\\").replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    return text.replace('"', '\\"')


FORMATS: dict[str, Callable[[Lineage], Iterator[str]]] = {"tree": _tree, "mermaid": _mermaid, "dot": _dot}
