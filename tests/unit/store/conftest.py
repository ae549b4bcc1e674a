"""What several tests of the store read."""

from __future__ import annotations

import math
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from tests.parts.files import file

import tachograph
from tachograph.store.run_record import RunRecord
from tachograph.store.store import open_store


@pytest.fixture
def recorded(tmp_path: Path) -> RunRecord:
    """A run with something of everything."""
    before = datetime.now(UTC)
    with tachograph.start_run("full", experiment="e", params={"lr": 0.1, "net": {"width": 8}}, tags={"k": "v"}) as run:
        for step, value in enumerate([0.5, math.nan, 0.1, 0.9]):
            run.log({"loss": value, "acc": 1 - value}, step=step * 10)
        run.log_note("a remark")
        run.log_note("another")
        run.log_table("confusion", [{"a": 1, "b": [math.nan, "x"]}, {"a": 2, "b": None}])
        run.log_dataset([[1, 2], [3, 4]], name="train", role="train", source="here", version="7")
        run.log_artifact(file(tmp_path / "data.txt", "hello"), kind="data", step=3)
        run.log_artifact(file(tmp_path / "folder" / "inner" / "x.json", "[1, 2]").parent.parent)
        print("printed\nlines")
        with run.child("inner") as child:
            child.log({"z": 1})
    found = open_store().run(run.id)
    assert found.ended
    assert before - timedelta(seconds=1) < found.started <= found.ended <= datetime.now(UTC)
    return found
