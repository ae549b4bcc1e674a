"""Chunks of points."""

from __future__ import annotations

from pathlib import Path
from random import Random

from tests.parts.journals import ALIVE, append, header, lines, point

from tachograph.index import index
from tachograph.store.store import open_store


def test_small_additions_make_the_chunks_that_large_ones_make(root: Path) -> None:
    random, store, seq = Random(0), open_store(), 2
    append(root, "r", "0-a", lines(header("r", "0-a", ALIVE)))
    while seq < 20_000:
        count = random.choice([1, 3, 50, 3000])
        append(root, "r", "0-a", lines(*[point(seq + n, x=float(seq + n)) for n in range(count)], first=seq))
        seq += count
        assert store.run("r").metrics == {"x": seq - 1}
    history = store.run("r").history("x")
    assert history.steps.tolist() == history.values.tolist() == list(range(2, seq))
    assert store.run("r").summary("x") == open_store(root).run("r").summary("x")
    sizes = [count for (count,) in index.Index(root).rows("SELECT count FROM chunk")]
    assert max(sizes) <= 4096
    assert len(sizes) < seq / 4096 * 3 + 12
