"""A list of runs as a table."""

from __future__ import annotations

import math
from pathlib import Path

import pytest

import tachograph
from tachograph.store.runs import Runs
from tachograph.store.store import open_store


def test_frames(root: Path) -> None:
    for number, lr in enumerate((0.1, 1, "auto")):
        tags = {"k": "v"} if number else {}
        with tachograph.start_run(f"r{number}", params={"lr": lr, "l": [1, number]}, tags=tags) as run:
            run.log({"loss": number, "nan": math.nan})
    runs = open_store().runs(order_by="name")
    expected = [
        "id", "name", "experiment", "status", "started", "ended", "params.l", "params.lr", "metrics.loss",
        "metrics.nan", "tags.k",
    ]  # fmt: skip
    pytest.importorskip("pandas")
    pytest.importorskip("polars")
    pandas, polars = runs.to_pandas(), runs.to_polars()
    assert list(pandas.columns) == list(polars.columns) == expected
    assert pandas["params.lr"].tolist() == [0.1, 1, "auto"]
    assert pandas["params.l"].tolist() == [[1, 0], [1, 1], [1, 2]]
    assert str(pandas["started"].dt.tz) == "UTC"
    assert polars["params.lr"].to_list() == ["0.1", "1", "auto"]
    assert polars["metrics.loss"].to_list() == [0, 1, 2]
    assert polars["tags.k"].to_list() == [None, "v", "v"]
    assert polars["started"].dtype.is_temporal()
    assert math.isnan(polars["metrics.nan"][0])
    assert Runs().to_pandas().empty
    assert Runs().to_polars().is_empty()
    assert "<table>" in Runs()._repr_html_()
