"""``Tracked``: recording by a meta-estimator, with and without autolog."""

from __future__ import annotations

import contextlib
import copy
import inspect
import pickle
from typing import Any

import numpy as np
import pytest
from sklearn.base import clone
from sklearn.cluster import KMeans
from sklearn.datasets import load_breast_cancer
from sklearn.ensemble import AdaBoostClassifier
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.model_selection import GridSearchCV
from sklearn.neighbors import LocalOutlierFactor
from sklearn.preprocessing import StandardScaler
from sklearn.svm import LinearSVC
from sklearn.tree import DecisionTreeClassifier
from sklearn.utils import estimator_checks
from sklearn.utils.estimator_checks import parametrize_with_checks
from sklearn.utils.validation import has_fit_parameter

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
    if isinstance(estimator.estimator, KMeans) and "sample_weight_equivalence" in check.func.__name__:
        pytest.xfail("scikit-learn's list says that KMeans itself fails it")
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


@pytest.mark.parametrize("estimator", [LogisticRegression(), Ridge(), StandardScaler(), KMeans(), LinearSVC()])
def test_it_takes_what_the_estimator_inside_takes(estimator: Any) -> None:
    assert inspect.signature(Tracked(estimator).fit) == inspect.signature(estimator.fit)
    assert has_fit_parameter(Tracked(estimator), "sample_weight") == has_fit_parameter(estimator, "sample_weight")
    assert checks_of(estimator) - checks_of(Tracked(estimator)) <= BY_CLASS


BY_CLASS = {  # chosen by a class, or by a parameter or a method that only the estimator inside has
    "check_class_weight_balanced_linear_classifier",
    "check_class_weight_classifiers",
    "check_clusterer_compute_labels_predict",
    "check_clustering",
    "check_estimators_partial_fit_n_features",
    "check_sparsify_coefficients",
}


def checks_of(estimator: Any) -> set[str]:
    if not hasattr(estimator_checks, "estimator_checks_generator"):
        pytest.skip("an older scikit-learn")
    return {check.func.__name__ for _, check in estimator_checks.estimator_checks_generator(estimator)}


@pytest.mark.parametrize("autologged", [False, True])
def test_weights_reach_the_estimator_inside(root: Any, autologged: bool) -> None:
    weights = np.where(y == 1, 5.0, 1.0)
    plain = LogisticRegression(max_iter=50).fit(X, y, sample_weight=weights)
    with tachograph.autolog("sklearn", system=False) if autologged else contextlib.nullcontext():
        by_name = Tracked(LogisticRegression(max_iter=50)).fit(X, y, sample_weight=weights)
        by_place = Tracked(LogisticRegression(max_iter=50)).fit(X, y, weights)
        AdaBoostClassifier(Tracked(DecisionTreeClassifier(max_depth=1)), n_estimators=3).fit(X, y)
        assert pickle.loads(pickle.dumps(by_name.fit)).__self__.coef_.shape == plain.coef_.shape
    for tracked in (by_name, by_place):
        np.testing.assert_array_equal(tracked.coef_, plain.coef_)


def test_weights_are_routed_to_the_estimator_inside(root: Any) -> None:
    sklearn_config = pytest.importorskip("sklearn", minversion="1.4")
    weights = np.where(y == 1, 5.0, 1.0)
    with sklearn_config.config_context(enable_metadata_routing=True):
        inner = LogisticRegression(max_iter=50).set_fit_request(sample_weight=True)
        inner.set_score_request(sample_weight=False)
        grid = {"estimator__C": [0.1]}
        found = GridSearchCV(Tracked(inner), grid, cv=2).fit(X, y, sample_weight=weights)
        plain = GridSearchCV(inner, {"C": [0.1]}, cv=2).fit(X, y, sample_weight=weights)
    np.testing.assert_array_equal(found.best_estimator_.coef_, plain.best_estimator_.coef_)
