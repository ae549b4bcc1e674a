"""Small data, and what the trainings of a test recorded, read from the journals."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import xgboost

from tachograph import journal
from tachograph.events import Artifact, Dataset, Event, Metrics, Note, Params, RunEnd, RunStart, Tags, number
from tachograph.journal.blobs import Blobs
from tachograph.runtime import deferred

BINARY = {"objective": "binary:logistic", "nthread": 1, "max_depth": 3}


@dataclass
class Recorded:
    """One run."""

    root: Path
    events: list[Event]

    def of(self, kind: type[Any]) -> list[Any]:
        return [event for event in self.events if isinstance(event, kind)]

    @property
    def start(self) -> RunStart:
        return self.of(RunStart)[0]

    @property
    def end(self) -> RunEnd | None:
        ends = self.of(RunEnd)
        assert len(ends) <= 1
        return ends[0] if ends else None

    @property
    def status(self) -> str:
        return self.end.status if self.end else "running"

    @property
    def params(self) -> dict[str, Any]:
        return {name: value for event in self.of(Params) for name, value in event.values.items()}

    @property
    def points(self) -> dict[str, list[tuple[int, float]]]:
        found: dict[str, list[tuple[int, float]]] = {}
        for event in self.of(Metrics):
            for name, value in event.values.items():
                if not name.startswith("system/"):
                    found.setdefault(name, []).append((event.step, number(value)))
        return found

    @property
    def curves(self) -> dict[str, list[float]]:
        """The points by name; their steps must be 0, 1, 2 ..."""
        for name, points in self.points.items():
            assert [step for step, _ in points] == list(range(len(points))), name
        return {name: [value for _, value in points] for name, points in self.points.items()}

    @property
    def metrics(self) -> dict[str, float]:
        return {name: points[-1][1] for name, points in self.points.items()}

    @property
    def datasets(self) -> dict[str, Dataset]:
        return {event.name: event for event in self.of(Dataset)}

    @property
    def artifacts(self) -> dict[str, Artifact]:
        return {event.name: event for event in self.of(Artifact)}

    @property
    def notes(self) -> list[str]:
        return [event.text for event in self.of(Note)]

    @property
    def tags(self) -> dict[str, str]:
        return {name: value for event in self.of(Tags) for name, value in event.values.items()}

    def file(self, name: str) -> Path:
        return Blobs(self.root).path(self.artifacts[name].digest)

    def table(self, name: str) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self.file(name).read_text().splitlines()]


class Store:
    """All runs of a test, oldest first."""

    def __init__(self, root: Path) -> None:
        self.root = root

    @property
    def runs(self) -> list[Recorded]:
        deferred.do_now()  # what comes after a training, too
        folders = [writer for run in self.root.glob("runs/*") for writer in journal.writers(run)]
        found = [Recorded(self.root, list(journal.read_writer(folder))) for folder in folders]
        return sorted(found, key=lambda run: run.start.at)

    @property
    def run(self) -> Recorded:
        runs = self.runs
        assert len(runs) == 1, [run.start.name for run in runs]
        return runs[0]


@pytest.fixture(autouse=True)
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Store:
    monkeypatch.setenv("TACHOGRAPH_DIR", str(tmp_path / "store"))
    monkeypatch.setenv("TACHOGRAPH_STRICT", "1")
    return Store(tmp_path / "store")


@pytest.fixture
def X() -> np.ndarray[Any, Any]:  # noqa: N802
    values = np.random.default_rng(7).normal(size=(240, 5))
    values[::7, 4] = np.nan
    return values


@pytest.fixture
def y(X: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    noise = np.random.default_rng(8).normal(scale=0.7, size=len(X))
    return (X[:, 0] - X[:, 1] + noise > 0).astype(int)


@pytest.fixture
def train_data(X: np.ndarray[Any, Any], y: np.ndarray[Any, Any]) -> xgboost.DMatrix:
    return xgboost.DMatrix(X[:160], label=y[:160])


@pytest.fixture
def test_data(X: np.ndarray[Any, Any], y: np.ndarray[Any, Any]) -> xgboost.DMatrix:
    return xgboost.DMatrix(X[160:], label=y[160:])


@pytest.fixture
def binary() -> dict[str, Any]:
    return dict(BINARY)
