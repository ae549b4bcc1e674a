"""What it takes to read, search and find versions of a model that has many of them."""

from __future__ import annotations

import random
import time
from collections.abc import Callable
from pathlib import Path

import pytest

import tachograph
from tachograph.events import Artifact
from tachograph.registry import decisions
from tachograph.store.store import Store

pytestmark = pytest.mark.benchmark

FEW, MANY = 2_000, 10_000
WHERE = "metrics.m1 > 0.9 and stage = 'development'"


def make(root: Path, count: int) -> Path:
    """A store whose model ``big`` has that many versions, each with eight metrics and ten parameters."""
    folder = root / "registry" / "big"
    folder.mkdir(parents=True)
    artifact = Artifact(name="model", type="model", digest="sha256:" + "0" * 64, size=5, filename="model.bin")
    previous, chance = "", random.Random(0)
    for number in range(1, count + 1):
        made = decisions.Registered(
            number=number, at=1.8e9 + number, by="ann", previous=previous, version=f"1.{number}.0", run=f"r{number}",
            artifact=artifact, metrics={f"m{each}": chance.random() for each in range(8)},
            params={f"p{each}": each for each in range(10)},
        )  # fmt: skip
        content = decisions.encode(made)
        (folder / f"{number}.json").write_bytes(content)
        previous = decisions.digest(content)
    return root


def seconds(work: Callable[[], object], times: int = 1) -> float:
    """What one of several calls takes, the quickest."""
    best = float("inf")
    for _ in range(times):
        began = time.perf_counter()
        work()
        best = min(best, time.perf_counter() - began)
    return best


def measured(root: Path) -> dict[str, float]:
    def fresh() -> Store:
        store = tachograph.open_store(root)
        store.model("big")
        return store

    store = fresh()
    found = {"read": seconds(fresh, 3), "first search": seconds(lambda: store.versions(where=WHERE))}
    found["search"] = seconds(lambda: store.versions(where=WHERE, limit=10), 5)
    found["number"] = seconds(lambda: store.model("big").version("1.500.0"), 5)
    found["latest"] = seconds(lambda: store.model("big").version("latest"), 5)
    return found


def test_it_grows_no_faster_than_the_versions(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    few, many = measured(make(tmp_path / "few", FEW)), measured(make(tmp_path / "many", MANY))
    with capsys.disabled():
        for name in many:
            print(
                f"\n{name}: {few[name] * 1e3:.1f} ms of {FEW:,} versions, {many[name] * 1e3:.1f} ms of {MANY:,}", end=""
            )
    for name in many:
        assert many[name] / few[name] < 2.5 * MANY / FEW, name
