"""Journals changed at random, as many as FUZZ_COUNT says: nothing that reads a store fails, and good runs lose nothing.

What fails is told by the number of its store, which is the seed: FUZZ_FIRST begins there.
"""

from __future__ import annotations

import os
import random
import shutil
from pathlib import Path

import pytest
from tests.parts.mutated import mutated, write
from tests.parts.reading import good, read_all

TOGETHER = 50  # in a store

pytestmark = [pytest.mark.fuzz, pytest.mark.timeout(0)]


def test_no_journal_stops_anybody(tmp_path: Path) -> None:
    first = int(os.environ.get("FUZZ_FIRST", "0"))
    stores = -(-int(os.environ.get("FUZZ_COUNT", "100000")) // TOGETHER)
    failed = {}
    for seed in range(first, first + stores):
        chance = random.Random(seed)
        root = tmp_path / f"store-{seed}"
        name = good(root)
        for number in range(TOGETHER):
            write(root, f"bad-{number}", mutated(f"bad-{number}", chance))
        try:
            read_all(root, name, tmp_path / f"own-{seed}")
        except Exception as error:  # noqa: BLE001 - all of them are told, at the end
            failed[seed] = repr(error)[:300]
            print(f"store {seed}: {failed[seed]}", flush=True)
        shutil.rmtree(root)
        shutil.rmtree(tmp_path / f"own-{seed}", ignore_errors=True)
    assert not failed, f"{len(failed)} of {stores} stores"
    print(f"{stores * TOGETHER} journals in {stores} stores")
