"""Trees, Mermaid and Graphviz, whatever the labels hold."""

from __future__ import annotations

import re

import pytest

from tachograph.lineage import Edge, Lineage, Node, written
from tachograph.lineage.graph import split

HOSTILE = '"];\n</script><script>alert(1)</script> \\ `x` #quot; &amp; [a](b) {c} |d| --> \x1b[2J\u202e end %%'
STATEMENT = re.compile(r'  (n\d+ \[label="([^"\\]|\\.)*"\]|n\d+ -> n\d+ \[label="([^"\\]|\\.)*"\]);')


def made(*edges: tuple[str, str], direction: str = "up", start: str = "run:a", label: str | None = None) -> Lineage:
    ids = dict.fromkeys([start, *(end for edge in edges for end in edge)])
    nodes = [Node(id, split(id)[0], label or split(id)[1]) for id in ids]
    return Lineage(start, direction, nodes, [Edge(*edge, label or "parent") for edge in edges])


def test_a_tree_goes_up_or_down_and_repeats_nothing():
    edges = [("run:b", "run:a"), ("run:c", "run:a"), ("run:d", "run:b"), ("run:d", "run:c"), ("run:e", "run:d")]
    assert list(written(made(*edges), "tree")) == [
        "run a",
        "├─ <- parent: run b",
        "│  └─ <- parent: run d",
        "│     └─ <- parent: run e",
        "└─ <- parent: run c",
        "   └─ <- parent: run d (see above)",
    ]
    down = made(*edges, start="run:e", direction="down")
    assert list(written(down, "tree"))[:3] == ["run e", "└─ -> parent: run d", "   ├─ -> parent: run b"]


def test_a_tree_of_both_directions():
    edges = [("run:b", "run:a"), ("run:a", "run:c")]
    assert list(written(made(*edges, direction="both"), "tree")) == [
        "run a", "└─ <- parent: run b", "└─ -> parent: run c",
    ]  # fmt: skip


def test_trees_of_circles_and_long_chains_end():
    assert list(written(made(("run:b", "run:a"), ("run:a", "run:b")), "tree"))[-1].endswith("run a (see above)")
    chain = [(f"run:{number + 1}", f"run:{number}") for number in range(3000)]
    assert len(list(written(made(*chain, start="run:0"), "tree"))) == 3001


def test_mermaid():
    assert list(written(made(("run:b", "run:a")), "mermaid")) == [
        "flowchart LR", '  n0["run a"]', '  n1["run b"]', '  n1 -->|"parent"| n0',
    ]  # fmt: skip


def test_labels_cannot_leave_their_quotes_in_mermaid():
    _, *lines = written(made(("run:b", "run:a"), label=HOSTILE), "mermaid")
    safe = r"[\w .,+\-/:#;]*"
    assert len(lines) == 3
    for line in lines:
        assert re.fullmatch(rf'  (n\d\["{safe}"\]|n\d -->\|"{safe}"\| n\d)', line)
        assert not re.search(r"#(?!\d+;)|(?<!\d);", line)


def test_graphviz():
    assert list(written(made(("run:b", "run:a")), "dot")) == [
        "digraph lineage {", "  rankdir=LR; node [shape=box];", '  n0 [label="run a"];', '  n1 [label="run b"];',
        '  n1 -> n0 [label="parent"];', "}",
    ]  # fmt: skip


def test_labels_cannot_leave_their_quotes_in_graphviz():
    text = list(written(made(("run:b", "run:a"), label=HOSTILE), "dot"))
    for line in text[2:-1]:
        assert STATEMENT.fullmatch(line)
        assert "<" not in line
        assert line.isprintable()


@pytest.mark.parametrize("format", ["tree", "mermaid", "dot"])
def test_lines_are_text_and_a_picture_has_short_labels(format):
    lines = list(written(made(("run:b", "run:a"), label=HOSTILE + "x" * 100_000), format))
    assert all(line.isprintable() for line in lines)
    if format != "tree":
        assert max(map(len, lines)) < 2000
