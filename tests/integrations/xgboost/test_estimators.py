"""The scikit-learn API, with the plug-in of scikit-learn beside ours and without it."""

from __future__ import annotations

import numpy as np
import pytest
import xgboost
from sklearn.ensemble import BaggingClassifier
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

import tachograph
from tachograph.events import Dataset
from tachograph_frameworks.xgboost import load_model


def classifier(**arguments):
    return xgboost.XGBClassifier(n_estimators=arguments.pop("n_estimators", 5), n_jobs=1, **arguments)


def test_without_the_plugin_of_scikit_learn(store, X, y):
    estimator = classifier(eval_metric=["logloss", "auc"], max_depth=2)
    with tachograph.autolog("xgboost", system=False):
        estimator.fit(X[:160], y[:160], eval_set=[(X[:160], y[:160]), (X[160:], y[160:])], verbose=False)
    run = store.run
    history = estimator.evals_result()
    assert run.curves == {f"{data}-{name}": history[data][name] for data in history for name in history[data]}
    assert set(run.curves) == {f"validation_{i}-{name}" for i in (0, 1) for name in ("logloss", "auc")}
    assert run.params["max_depth"] == 2
    assert run.params["num_boost_round"] == 5
    assert "model" in run.artifacts


@pytest.fixture
def autolog():
    with tachograph.autolog("sklearn", "xgboost", system=False) as handle:
        yield handle


def test_one_run_with_everything(autolog, store, X, y):
    estimator = classifier()
    estimator.fit(X, y, eval_set=[(X, y)], verbose=False)
    run = store.run
    assert run.points["validation_0-logloss"] == list(enumerate(estimator.evals_result()["validation_0"]["logloss"]))
    assert run.params["n_estimators"] == 5
    assert run.table("feature_importance")
    assert "train_accuracy" in run.metrics
    again = load_model(run.file("model"), run.artifacts["model"].meta)
    assert type(again) is xgboost.XGBClassifier
    np.testing.assert_array_equal(again.predict(X), estimator.predict(X))


@pytest.mark.skipif(xgboost.__version__ < "1.6", reason="the estimator has no such argument")
def test_early_stopping_of_an_estimator(autolog, store, X, y):
    estimator = classifier(n_estimators=60, early_stopping_rounds=3, learning_rate=0.9)
    estimator.fit(X[:160], y[:160], eval_set=[(X[160:], y[160:])], verbose=False)
    assert store.run.metrics["best_iteration"] == estimator.best_iteration
    assert store.run.metrics["best_score"] == estimator.best_score
    assert store.run.metrics["stopped_iteration"] == estimator.best_iteration + 3


def test_in_a_pipeline(autolog, store, X, y):
    pipeline = make_pipeline(StandardScaler(), classifier())
    pipeline.fit(X, y, xgbclassifier__eval_set=[(X, y)], xgbclassifier__verbose=False)
    assert len(store.run.points["validation_0-logloss"]) == 5
    assert store.run.table("feature_importance")
    assert "model" in store.run.artifacts


def test_the_first_of_several_models_has_the_curve(autolog, store, X, y):
    BaggingClassifier(classifier(), n_estimators=3, n_jobs=1).fit(X, y)
    assert store.run.status == "finished"
    assert len([event for event in store.run.events if getattr(event, "name", "") == "feature_importance"]) == 1


def test_models_fitted_in_threads(autolog, store, X, y):
    BaggingClassifier(classifier(), n_estimators=4, n_jobs=2).fit(X, y)
    assert {run.start.opener for run in store.runs} == {"sklearn"}
    assert {run.status for run in store.runs} == {"finished"}


def test_a_search_mixes_up_no_curves(autolog, store, X, y):
    search = GridSearchCV(classifier(), {"max_depth": [2, 3]}, cv=2)
    search.fit(X, y, eval_set=[(X, y)], verbose=False)
    parent = next(run for run in store.runs if run.start.parent is None)
    assert not [name for name in parent.points if name.startswith("validation_0")]


def test_a_failing_fit(autolog, store, X):
    with pytest.raises(ValueError):
        classifier().fit(X, np.arange(3))
    assert store.run.status == "failed"


def test_what_a_fit_evaluates_is_recorded_as_data(autolog, store, X, y):
    classifier().fit(X[:160], y[:160], eval_set=[(X[:90], y[:90]), (X[160:], y[160:])], verbose=False)
    found = {data.name: (data.role, data.rows) for data in store.run.of(Dataset)}
    assert found.pop("validation_0") == ("validation", 90)
    assert found.pop("validation_1") == ("validation", 80)
    assert [role for role, _ in found.values()] == ["train"]


def test_the_training_data_among_what_a_fit_evaluates_is_recorded_once(autolog, store, X, y):
    make_pipeline(StandardScaler(), classifier()).fit(X, y)
    classifier().fit(X, y, eval_set=[(X, y)], verbose=False)
    assert [len(run.of(Dataset)) for run in store.runs] == [1, 1]


class Distributed(xgboost.XGBModel):
    """As the estimators for Dask are: their first class of xgboost.sklearn has no type of its own."""

    __module__ = "xgboost.dask"
    _estimator_type = "classifier"

    def _get_type(self):
        return "classifier"


class DaskXGBRFClassifier(Distributed):
    __module__ = "xgboost.dask"


@pytest.mark.parametrize(
    ("kind", "plain"), [(Distributed, xgboost.XGBClassifier), (DaskXGBRFClassifier, xgboost.XGBRFClassifier)]
)
def test_an_estimator_that_needs_a_cluster_is_loaded_as_the_plain_one(autolog, store, X, y, kind, plain):
    kind(n_estimators=3, objective="binary:logistic").fit(X, y)
    again = load_model(store.run.file("model"), store.run.artifacts["model"].meta)
    assert type(again) is plain
    assert set(again.predict(X)) <= {0, 1}
