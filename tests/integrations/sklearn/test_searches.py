"""Searches and cross-validation: one run, however the fits are spread."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from sklearn.datasets import load_breast_cancer
from sklearn.experimental import enable_halving_search_cv  # noqa: F401
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import (
    GridSearchCV,
    HalvingGridSearchCV,
    RandomizedSearchCV,
    cross_val_predict,
    cross_val_score,
    cross_validate,
    learning_curve,
)
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

import tachograph

X, y = load_breast_cancer(return_X_y=True)
model = make_pipeline(StandardScaler(), LogisticRegression())
GRID = {"logisticregression__C": [0.1, 1.0, 10.0]}


@pytest.fixture(autouse=True)
def autolog(root: Any) -> Any:
    with tachograph.autolog("sklearn", system=False):
        yield


def only() -> Any:
    [run] = tachograph.open_store().runs()
    return run


@pytest.mark.parametrize("backend", [None, "threading", pytest.param("loky", marks=pytest.mark.slow)])
def test_a_grid_search(backend: str | None) -> None:
    import joblib

    search = GridSearchCV(model, GRID, cv=3, return_train_score=True, n_jobs=None if backend is None else 2)
    if backend is None:
        search.fit(X, y)
    else:
        with joblib.parallel_backend(backend):
            search.fit(X, y)
    run = only()
    assert run.name == "GridSearchCV"
    assert run.params["best_params.logisticregression__C"] == search.best_params_["logisticregression__C"]
    assert run.metrics["best_score"] == search.best_score_
    children = sorted(run.children, key=lambda child: child.name)
    assert [child.params["logisticregression__C"] for child in children] == GRID["logisticregression__C"]
    for number, child in enumerate(children):
        expected = [search.cv_results_[f"split{fold}_test_score"][number] for fold in range(3)]
        assert child.history("test_score").values.tolist() == expected
        assert child.history("test_score").steps.tolist() == [0, 1, 2]
        assert child.metrics["mean_test_score"] == search.cv_results_["mean_test_score"][number]
        assert child.status == "finished"
    table = run.table("cv_results")
    assert [row["mean_test_score"] for row in table] == search.cv_results_["mean_test_score"].tolist()
    best = run.artifact("model").load(trusted=True)
    np.testing.assert_array_equal(best.predict(X), search.predict(X))


def test_randomized_and_halving() -> None:
    RandomizedSearchCV(model, GRID, n_iter=2, cv=2, random_state=0).fit(X, y)
    assert len(only().children) == 2
    HalvingGridSearchCV(model, GRID, cv=2, random_state=0).fit(X, y)
    newest, _ = tachograph.open_store().runs()
    assert newest.name == "HalvingGridSearchCV"
    assert len(newest.children) == len(newest.table("cv_results"))


def test_failing_candidates_are_recorded_as_nan() -> None:
    grid = {"logisticregression__C": [1.0, -1.0]}
    with pytest.warns(Warning, match="fits failed"):
        GridSearchCV(model, grid, cv=2).fit(X, y)
    bad = next(child for child in only().children if child.params["logisticregression__C"] == -1.0)
    assert np.isnan(bad.metrics["mean_test_score"])


def test_scores_of_a_search_land_on_it() -> None:
    X_test = X[:50]
    search = GridSearchCV(model, GRID, cv=2).fit(X, y)
    assert search.score(X_test, y[:50]) == only().metrics["score_X_test"]


def test_cross_validation_is_one_run() -> None:
    scores = cross_val_score(model, X, y, cv=4)
    run = only()
    assert run.name == "cross_val_score Pipeline"
    assert run.history("test_score").values.tolist() == scores.tolist()
    assert run.history("test_score").steps.tolist() == [0, 1, 2, 3]
    assert run.metrics["test_score_mean"] == pytest.approx(scores.mean())


def test_its_relatives() -> None:
    result = cross_validate(model, X, y, cv=2, scoring=["accuracy", "f1"], return_train_score=True)
    assert only().history("test_f1").values.tolist() == result["test_f1"].tolist()
    cross_val_predict(model, X, y, cv=2)
    sizes, _, test_scores = learning_curve(model, X, y, cv=2, train_sizes=[0.5, 1.0])
    curve, predictions, _ = tachograph.open_store().runs()
    assert predictions.name == "cross_val_predict Pipeline"
    assert curve.history("test_score").steps.tolist() == sizes.tolist()
    assert curve.history("test_score").values.tolist() == test_scores.mean(axis=1).tolist()


def test_a_search_in_the_users_run_adds_to_it() -> None:
    with tachograph.start_run("mine"):
        GridSearchCV(model, GRID, cv=2).fit(X, y)
    run = only()
    assert run.name == "mine"
    assert len(run.children) == 3
    assert "best_score" in run.metrics
