"""Estimators that train on a cluster of Dask: one fit is one run, wherever the workers are."""

from __future__ import annotations

import pytest
import xgboost

import tachograph

pytest.importorskip("distributed")

PROGRAM = """
import sys, tachograph
tachograph.autolog(system=False)
import numpy as np, dask.array as da
from distributed import Client, LocalCluster
from xgboost.dask import DaskXGBClassifier

if __name__ == "__main__":
    X, y = np.arange(800.0).reshape(200, 4) % 7, np.arange(200) % 2
    given = LocalCluster(1, threads_per_worker=1, processes=sys.argv[1] == "processes", dashboard_address=None)
    with given as cluster, Client(cluster):
        X, y = da.from_array(X, chunks=(100, 4)), da.from_array(y, chunks=100)
        model = DaskXGBClassifier(n_estimators=3, max_depth=2).fit(X, y, eval_set=[(X, y)], verbose=False)
    print(*model.evals_result()["validation_0"]["logloss"])
"""


@pytest.mark.parametrize("workers", ["threads", pytest.param("processes", marks=pytest.mark.slow)])
def test_a_fit_on_a_cluster_is_one_run_with_its_curve_and_its_model(script, tmp_path, monkeypatch, workers):
    monkeypatch.chdir(tmp_path)
    done = script(PROGRAM, workers)
    assert done.returncode == 0, done.stderr
    [run] = tachograph.open_store().runs(children=True)
    curve = run.history("validation_0-logloss")
    assert (curve.steps.tolist(), curve.values.tolist()) == ([0, 1, 2], [float(word) for word in done.stdout.split()])
    assert (run.name, run.status, list(run.notes)) == ("DaskXGBClassifier", "finished", [])
    assert type(run.artifact("model").load()) is xgboost.XGBClassifier
