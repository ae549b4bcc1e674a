"""Whatever becomes of a journal, those beside it lose nothing, and nothing that reads them fails."""

from __future__ import annotations

import random
import tempfile
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.parts.mutated import mutated, write
from tests.parts.reading import good, read_all


@pytest.mark.slow
@settings(max_examples=10, deadline=None, derandomize=True, database=None)
@given(st.integers(0, 2**32))
def test_no_journal_stops_anybody(seed: int) -> None:
    chance = random.Random(seed)
    with tempfile.TemporaryDirectory() as folder:
        name = good(Path(folder) / "store")
        for number in range(4):
            write(Path(folder) / "store", f"bad-{number}", mutated(f"bad-{number}", chance))
        read_all(Path(folder) / "store", name, Path(folder) / "own")
