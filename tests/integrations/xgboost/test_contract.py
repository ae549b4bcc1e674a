"""The promises that every plug-in keeps, and the way back: what was recorded, as a reader sees it."""

from __future__ import annotations

import numpy as np
import pytest
import xgboost

from tachograph.testing import check_plugin, recorded


def data():
    X = np.random.default_rng(0).normal(size=(80, 3))
    return xgboost.DMatrix(X, label=(X[:, 0] > 0).astype(int))


def train():
    result = {}
    matrix = data()
    xgboost.train(
        {"objective": "binary:logistic", "nthread": 1}, matrix, 4, evals=[(matrix, "train")], evals_result=result,
        verbose_eval=False,
    )  # fmt: skip
    return result["train"]["logloss"]


def cross_validate():
    return xgboost.cv({"objective": "binary:logistic", "nthread": 1}, data(), 3, as_pandas=False)


def fit():
    X = np.random.default_rng(0).normal(size=(80, 3))
    estimator = xgboost.XGBRegressor(n_estimators=3, n_jobs=1)
    estimator.fit(X, X[:, 0], eval_set=[(X, X[:, 0])], verbose=False)
    return estimator.evals_result()["validation_0"]["rmse"]


@pytest.mark.parametrize(
    "program", [train, *(pytest.param(each, marks=pytest.mark.slow) for each in (cross_validate, fit))]
)
def test_the_promises_to_users(program, monkeypatch):
    monkeypatch.delenv("TACHOGRAPH_STRICT")
    check_plugin("tachograph_frameworks.xgboost", program)


def test_what_a_reader_sees():
    with recorded("xgboost") as store:
        losses = train()
        run = store.run("latest")
        assert run.history("train-logloss").values.tolist() == losses
        assert run.history("train-logloss").steps.tolist() == [0, 1, 2, 3]
        assert run.metrics["train-logloss"] == losses[-1]
        assert run.table("feature_importance")[0]["feature"] == "f0"
        assert run.artifact("model").path().name == "model.ubj"
        assert [dataset.rows for dataset in run.datasets] == [80]
        assert run.status == "finished"
