"""Histories and summaries of metrics."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import tachograph
from tachograph.index import chunks
from tachograph.store import history
from tachograph.store.run_record import RunRecord
from tachograph.store.store import open_store


def test_history(recorded: RunRecord) -> None:
    found = recorded.history("loss")
    assert len(found) == 4
    assert found.steps.tolist() == [0, 10, 20, 30]
    assert found.steps.dtype == np.int64
    assert np.array_equal(found.values, [0.5, math.nan, 0.1, 0.9], equal_nan=True)
    assert (np.diff(found.times) >= 0).all()
    assert abs(found.times[0] - recorded.started.timestamp()) < 60
    pytest.importorskip("pandas")
    frame = found.to_pandas()
    assert list(frame.columns) == ["step", "time", "value"]
    assert str(frame.time.dt.tz) == "UTC"
    with pytest.raises(tachograph.NotFound, match=r"^run .* has no metric 'nope'; it has acc, loss") as caught:
        recorded.history("nope")
    assert isinstance(caught.value, LookupError)


def test_summary_leaves_nan_out_but_counts_it(recorded: RunRecord) -> None:
    found = recorded.summary("loss")
    assert (found.count, found.first, found.last, found.min, found.max) == (4, 0.5, 0.9, 0.1, 0.9)
    assert (found.min_step, found.max_step) == (20, 30)
    assert found.mean == pytest.approx(0.5)
    with pytest.raises(tachograph.NotFound):
        recorded.summary("nope")


def test_a_metric_that_is_always_nan(root: Path) -> None:
    with tachograph.start_run() as run:
        run.log({"x": math.nan})
    found = open_store().run(run.id).summary("x")
    assert found.count == 1
    assert all(math.isnan(value) for value in (found.first, found.last, found.min, found.max, found.mean))
    assert (found.min_step, found.max_step) == (None, None)


VALUES = st.lists(st.floats(width=32) | st.sampled_from([math.nan, math.inf, -math.inf]), min_size=1, max_size=30)


@given(VALUES)
@settings(max_examples=200, deadline=None)
def test_a_summary_is_that_of_the_history(values: list[float]) -> None:
    steps = np.arange(len(values)) % 7
    points = chunks.Points(np.arange(len(values)), steps, np.zeros(len(values)), np.array(values))
    cuts = [points[:3], points[3:4], points[4:]]
    with np.errstate(invalid="ignore"):
        found = history.summarize([[part.digest(0.0) for part in cuts if len(part)]])
        numbers = points.values[~np.isnan(points.values)]
        assert np.isclose(found.mean, numbers.mean() if len(numbers) else math.nan, equal_nan=True)
    assert (found.count, repr(found.first), repr(found.last)) == (len(values), repr(values[0]), repr(values[-1]))
    if len(numbers):
        assert (found.min, found.max) == (numbers.min(), numbers.max())
        assert found.min_step == steps[points.values == found.min].min()
        assert found.max_step == steps[points.values == found.max].min()
