"""``Tracked``: recording by a meta-estimator, with and without autolog."""

from __future__ import annotations

import copy
import pickle
from typing import Any

import numpy as np
import pytest
from sklearn.base import clone
from sklearn.cluster import KMeans
from sklearn.datasets import load_breast_cancer
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.model_selection import GridSearchCV
from sklearn.neighbors import LocalOutlierFactor
from sklearn.preprocessing import StandardScaler
from sklearn.utils.estimator_checks import parametrize_with_checks

import tachograph
from tachograph_frameworks.sklearn import Tracked

X, y = load_breast_cancer(return_X_y=True)


@parametrize_with_checks(
    [
        Tracked(LogisticRegression()),
        Tracked(Ridge()),
        Tracked(StandardScaler()),
        Tracked(KMeans(n_clusters=3, n_init=1, random_state=0)),
    ]
)
def test_scikit_learns_own_checks(estimator: Any, check: Any, root: Any) -> None:
    check(estimator)


def test_it_records_without_autolog(root: Any) -> None:
    model = Tracked(LogisticRegression(C=0.3, max_iter=50)).fit(X, y)
    [run] = tachograph.open_store().runs()
    assert (run.name, run.status) == ("LogisticRegression", "finished")
    assert run.params["estimator__C"] == 0.3
    assert run.metrics["train_accuracy"] == model.score(X, y)


def test_with_autolog_nothing_is_recorded_twice(root: Any) -> None:
    with tachograph.autolog("sklearn", system=False):
        Tracked(LogisticRegression(max_iter=50)).fit(X, y)
    [run] = tachograph.open_store().runs(children=True)
    assert run.summary("train_accuracy").count == 1


def test_it_behaves_as_the_estimator_inside(root: Any) -> None:
    tracked, plain = Tracked(LogisticRegression(max_iter=50)).fit(X, y), LogisticRegression(max_iter=50).fit(X, y)
    np.testing.assert_array_equal(tracked.predict_proba(X), plain.predict_proba(X))
    np.testing.assert_array_equal(tracked.coef_, plain.coef_)
    for twin in (pickle.loads(pickle.dumps(tracked)), copy.deepcopy(tracked)):
        np.testing.assert_array_equal(twin.predict(X), plain.predict(X))
    assert clone(tracked).get_params()["estimator__max_iter"] == 50
    assert not hasattr(Tracked(Ridge()), "predict_proba")
    assert set(Tracked(LocalOutlierFactor()).fit_predict(X)) <= {-1, 1}


def test_in_a_search(root: Any) -> None:
    search = GridSearchCV(Tracked(LogisticRegression(max_iter=50)), {"estimator__C": [0.1, 1.0]}, cv=2)
    with tachograph.autolog("sklearn", system=False):
        search.fit(X, y)
    [run] = tachograph.open_store().runs()
    assert run.name == "GridSearchCV"
    assert len(run.children) == 2


def test_off_means_off(root: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TACHOGRAPH_OFF", "1")
    Tracked(Ridge()).fit(X, y)
    assert not (root / "runs").exists()
