"""What tests of the registry decide about."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from tests.parts.files import file

import tachograph
from tachograph.store.run_record import RunRecord

Trained = Callable[..., RunRecord]


@pytest.fixture
def trained(tmp_path: Path, root: Path) -> Trained:
    """Records a run that has kept a model, with the metrics it is given, and reads it."""
    count = 0

    def train(**metrics: float) -> RunRecord:
        nonlocal count
        count += 1
        with tachograph.start_run(f"run-{count}", params={"lr": 0.1, "net": "small"}) as run:
            run.log(metrics)
            run.log_dataset([[1, 2], [3, 4]], name="X", role="train")
            run.log_artifact(
                file(tmp_path / f"{count}" / "weights.txt", f"weights {count}"), name="model", kind="model"
            )
        return tachograph.open_store(root).run(run.id)

    return train


@pytest.fixture
def as_person(monkeypatch: pytest.MonkeyPatch) -> Callable[[str], Any]:
    """Opens the store as somebody."""

    def become(name: str) -> Any:
        monkeypatch.setattr("getpass.getuser", lambda: name)
        return tachograph.open_store()

    return become
