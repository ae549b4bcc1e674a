"""What a fit leaves in the record, with the real scikit-learn."""

from __future__ import annotations

import copy
import gc
import pickle
import weakref
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pandas as pd
import pytest
import scipy.sparse
from sklearn.base import BaseEstimator, ClassifierMixin, clone
from sklearn.cluster import DBSCAN, KMeans
from sklearn.datasets import load_breast_cancer, load_diabetes, load_iris
from sklearn.decomposition import PCA
from sklearn.dummy import DummyClassifier
from sklearn.ensemble import (
    BaggingClassifier,
    GradientBoostingClassifier,
    HistGradientBoostingClassifier,
    IsolationForest,
    RandomForestClassifier,
    StackingClassifier,
    VotingClassifier,
)
from sklearn.feature_selection import RFE, SelectFromModel
from sklearn.linear_model import LogisticRegression, Ridge, SGDClassifier
from sklearn.metrics import accuracy_score, f1_score, mean_squared_error, roc_auc_score
from sklearn.mixture import GaussianMixture
from sklearn.model_selection import train_test_split
from sklearn.multioutput import MultiOutputRegressor
from sklearn.neighbors import KernelDensity, KNeighborsClassifier
from sklearn.neural_network import MLPClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

import tachograph

X, y = load_breast_cancer(return_X_y=True)
X_train, X_test, y_train, y_test = train_test_split(X, y, random_state=0)


@pytest.fixture(autouse=True)
def autolog(root: Any) -> Any:
    with tachograph.autolog("sklearn", system=False):
        yield


def runs() -> Any:
    return tachograph.open_store().runs()


def only() -> Any:
    found = runs()
    assert len(found) == 1, [run.name for run in found]
    return found[0]


def fast(**params: Any) -> LogisticRegression:
    return LogisticRegression(max_iter=50, **params)


def test_a_classifier() -> None:
    model = make_pipeline(StandardScaler(), LogisticRegression(C=0.5)).fit(X_train, y_train)
    run = only()
    assert (run.name, run.status, run.experiment) == ("Pipeline", "finished", "default")
    assert run.params["logisticregression__C"] == 0.5
    predicted = model.predict(X_train)
    assert run.metrics["train_accuracy"] == accuracy_score(y_train, predicted)
    assert run.metrics["train_f1"] == f1_score(y_train, predicted)
    assert run.metrics["train_roc_auc"] == roc_auc_score(y_train, model.predict_proba(X_train)[:, 1])
    assert run.metrics["fit_seconds"] > 0
    [data] = run.datasets
    assert (data.name, data.role, data.rows, data.columns) == ("X_train", "train", *X_train.shape)
    assert data.profile["classes"] == {"0": int((y_train == 0).sum()), "1": int((y_train == 1).sum())}
    loaded = run.artifact("model").load(trusted=True)
    np.testing.assert_array_equal(loaded.predict(X_test), model.predict(X_test))


def test_several_classes_are_weighted() -> None:
    features, labels = load_iris(return_X_y=True)
    model = fast().fit(features, labels)
    assert only().metrics["train_f1"] == f1_score(labels, model.predict(features), average="weighted")


def test_text_labels() -> None:
    labels = np.where(y == 0, "bad", "good")
    model = make_pipeline(StandardScaler(), fast()).fit(X, labels)
    assert only().metrics["train_f1"] == f1_score(labels, model.predict(X), pos_label="good")


def test_a_regressor() -> None:
    features, target = load_diabetes(return_X_y=True)
    model = Ridge(alpha=2).fit(features, target)
    run = only()
    assert run.metrics["train_r2"] == model.score(features, target)
    assert run.metrics["train_rmse"] == pytest.approx(mean_squared_error(target, model.predict(features)) ** 0.5)


def test_sample_weight_counts() -> None:
    weights = np.linspace(0.1, 3, len(y_train))
    model = make_pipeline(StandardScaler(), fast()).fit(X_train, y_train)
    weighted = fast().fit(X_train, y_train, sample_weight=weights)
    expected = accuracy_score(y_train, weighted.predict(X_train), sample_weight=weights)
    assert runs()[0].metrics["train_accuracy"] == expected
    assert model is not None


@pytest.mark.parametrize(
    "form",
    [
        lambda data: data.tolist(),
        lambda data: pd.DataFrame(data, columns=[f"c{i}" for i in range(data.shape[1])]),
        scipy.sparse.csr_matrix,
    ],
    ids=["list", "frame", "sparse"],
)
def test_forms_of_data(form: Any) -> None:
    given = form(X_train)
    fast().fit(given, y_train)
    run = only()
    assert run.status == "finished"
    assert "train_accuracy" in run.metrics
    [data] = run.datasets
    assert (data.name, data.rows) == ("given", len(y_train))


def test_clustering_and_outliers_and_density() -> None:
    KMeans(n_clusters=3, n_init=1, random_state=0).fit(X)
    DBSCAN().fit_predict(X[:100])
    IsolationForest(n_estimators=5).fit(X)
    GaussianMixture(2).fit(X[:, :2])
    KernelDensity().fit(X)
    names = [run.name for run in runs()]
    assert names == ["KernelDensity", "GaussianMixture", "IsolationForest", "DBSCAN", "KMeans"]
    kmeans = runs()[-1]
    assert kmeans.metrics["clusters"] == 3
    assert kmeans.metrics["inertia"] > 0


def test_preprocessing_alone_makes_no_run() -> None:
    StandardScaler().fit_transform(X)
    PCA(2).fit(X)
    SelectFromModel(fast()).fit(X_train, y_train)
    assert runs() == []


@pytest.mark.parametrize(
    "estimator",
    [
        BaggingClassifier(fast(), n_estimators=3),
        VotingClassifier([("a", fast()), ("b", DummyClassifier())]),
        StackingClassifier([("a", fast()), ("b", DummyClassifier())], cv=2),
        RandomForestClassifier(n_estimators=5, n_jobs=2),
        RFE(fast(), n_features_to_select=25),
    ],
    ids=lambda estimator: type(estimator).__name__,
)
def test_a_meta_estimator_is_one_run(estimator: Any) -> None:
    estimator.fit(X_train, y_train)
    assert only().name == type(estimator).__name__


def test_curves() -> None:
    model = MLPClassifier((4,), max_iter=7, random_state=0).fit(X_train, y_train)
    history = only().history("loss")
    assert history.values.tolist() == model.loss_curve_
    assert history.steps.tolist() == list(range(7))


def test_staged_scores() -> None:
    model = GradientBoostingClassifier(n_estimators=6).fit(X_train, y_train)
    assert runs()[0].history("loss").values.tolist() == model.train_score_.tolist()
    hist = HistGradientBoostingClassifier(max_iter=5, early_stopping=True).fit(X_train, y_train)
    assert runs()[0].history("validation_score").values.tolist() == hist.validation_score_.tolist()


def test_partial_fit_is_one_run_with_a_step_for_each_call() -> None:
    model = SGDClassifier(random_state=0)
    for start in range(0, 400, 100):
        model.partial_fit(X_train[start : start + 100], y_train[start : start + 100], classes=[0, 1])
    run = only()
    assert run.history("fit_seconds").steps.tolist() == [0, 1, 2, 3]
    assert run.status == "finished"
    assert tachograph.active_run() is None
    np.testing.assert_array_equal(run.artifact("model").load(trusted=True).coef_, model.coef_)


def test_scores_after_the_fit_land_on_its_run() -> None:
    first = fast().fit(X_train, y_train)
    second = make_pipeline(StandardScaler(), fast()).fit(X_train, y_train)
    first.score(X_test, y_test)
    accuracy_score(y_test, second.predict(X_test))
    roc_auc_score(y_test, second.predict_proba(X_test)[:, 1])
    of_second, of_first = runs()
    assert of_first.metrics["score_X_test"] == first.score(X_test, y_test)
    assert "accuracy_score_X_test" not in of_first.metrics
    assert of_second.metrics["accuracy_score_X_test"] == accuracy_score(y_test, second.predict(X_test))
    assert of_second.metrics["roc_auc_score_X_test"] > 0.9
    assert "score_X_test" not in of_second.metrics


@pytest.mark.parametrize("make", [fast, SGDClassifier, Ridge, KNeighborsClassifier], ids=lambda make: make.__name__)
def test_predictions_by_a_method_of_a_mixin(make: Any) -> None:
    model = make().fit(X_train, y_train)
    mean_squared_error(y_test, model.predict(X_test))
    assert "mean_squared_error_X_test" in only().metrics


def test_changing_the_data_during_training_does_not_leak() -> None:
    class Vandal(ClassifierMixin, BaseEstimator):
        def fit(self, X: Any, y: Any) -> Vandal:
            self.classes_ = np.unique(y)
            X[:] = 0
            return self

        def predict(self, X: Any) -> Any:
            return np.zeros(len(X), int)

    mine = X_train.copy()
    fast().fit(mine, y_train)
    Vandal().fit(mine, y_train)
    vandal, honest = runs()
    assert vandal.datasets[0].digest == honest.datasets[0].digest


def test_the_users_exception_is_the_same_object() -> None:
    error = ZeroDivisionError("mine")

    class Failing(ClassifierMixin, BaseEstimator):
        def fit(self, X: Any, y: Any) -> Failing:
            raise error

        def predict(self, X: Any) -> Any:
            return X

    with pytest.raises(ZeroDivisionError) as raised:
        Failing().fit(X_train, y_train)
    assert raised.value is error
    run = only()
    assert (run.status, run.error.type, run.error.message) == ("failed", "ZeroDivisionError", "mine")


def test_ctrl_c_is_recorded_as_interrupted() -> None:
    class Interrupted(ClassifierMixin, BaseEstimator):
        def fit(self, X: Any, y: Any) -> Interrupted:
            raise KeyboardInterrupt

        def predict(self, X: Any) -> Any:
            return X

    with pytest.raises(KeyboardInterrupt):
        Interrupted().fit(X_train, y_train)
    assert only().status == "interrupted"


def test_the_users_run_is_added_to_and_left_open() -> None:
    with tachograph.start_run("mine") as run:
        fast().fit(X_train, y_train)
        assert not run.ended
        tachograph.log({"after": 1.0})
    found = only()
    assert found.name == "mine"
    assert {"train_accuracy", "after"} <= set(found.metrics)


def test_the_active_run_inside_a_fit() -> None:
    seen = []

    class Nosy(ClassifierMixin, BaseEstimator):
        def fit(self, X: Any, y: Any) -> Nosy:
            seen.append(tachograph.active_run().id)
            tachograph.log({"inside": 3.0})
            return self

        def predict(self, X: Any) -> Any:
            return np.zeros(len(X), int)

    Nosy().fit(X_train, y_train)
    assert seen == [only().id]
    assert only().metrics["inside"] == 3.0
    assert tachograph.active_run() is None


def test_parallel_fits_in_threads_keep_their_own_runs() -> None:
    models = [make_pipeline(StandardScaler(), fast(C=c)) for c in (0.1, 1.0, 10.0, 100.0)]
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(lambda model: model.fit(X_train, y_train), models))
    found = runs()
    assert sorted(run.params["logisticregression__C"] for run in found) == [0.1, 1.0, 10.0, 100.0]
    assert all("train_accuracy" in run.metrics for run in found)


def test_threads_of_a_fitting_estimator_are_inner() -> None:
    class Threaded(ClassifierMixin, BaseEstimator):
        def fit(self, X: Any, y: Any) -> Threaded:
            with ThreadPoolExecutor(2) as pool:
                self.models_ = list(pool.map(lambda _: fast().fit(X, y), range(3)))
            return self

        def predict(self, X: Any) -> Any:
            return self.models_[0].predict(X)

    Threaded().fit(X_train, y_train)
    assert only().name == "Threaded"


def test_suppress() -> None:
    with tachograph.suppress():
        fast().fit(X_train, y_train)
    assert runs() == []


def test_estimators_pickle_clone_and_copy() -> None:
    model = make_pipeline(StandardScaler(), fast()).fit(X_train, y_train)
    for twin in (pickle.loads(pickle.dumps(model)), copy.deepcopy(model)):
        np.testing.assert_array_equal(twin.predict(X_test), model.predict(X_test))
    assert clone(model).get_params().keys() == model.get_params().keys()


def test_the_random_state_is_left_alone() -> None:
    def draw() -> Any:
        np.random.seed(7)
        DummyClassifier(strategy="stratified").fit(X_train, y_train)
        return np.random.random(3)

    recorded = draw()
    with tachograph.suppress():
        np.testing.assert_array_equal(draw(), recorded)


def test_a_model_that_can_not_be_pickled_is_noted() -> None:
    class Local(ClassifierMixin, BaseEstimator):
        def fit(self, X: Any, y: Any) -> Local:
            self.function_ = lambda row: row
            return self

        def predict(self, X: Any) -> Any:
            return np.zeros(len(X), int)

    Local().fit(X_train, y_train)
    run = only()
    assert run.status == "finished"
    assert any("the model was not kept" in note.text for note in run.notes)


def test_a_costly_predict_is_sampled_and_said_so() -> None:
    features = np.random.default_rng(0).normal(size=(20_000, 20))
    KNeighborsClassifier(algorithm="brute").fit(features, features[:, 0] > 0)
    run = only()
    assert "train_accuracy" in run.metrics
    assert "of 20000 rows" in run.tags["train_metrics"]


def test_several_outputs() -> None:
    features, target = load_diabetes(return_X_y=True)
    MultiOutputRegressor(Ridge()).fit(features, np.c_[target, -target])
    assert "train_r2" in only().metrics


def test_undo_restores_every_method() -> None:
    with tachograph.suppress():
        pass
    hooked = LogisticRegression.__dict__["fit"]
    tachograph.autolog("sklearn").undo()
    plain = LogisticRegression.__dict__["fit"]
    assert hooked is not plain
    assert plain.__module__ == hooked.__module__ == "sklearn.linear_model._logistic"
    tachograph.autolog("sklearn", system=False)
    assert LogisticRegression.__dict__["fit"] is not plain


def test_data_that_the_user_deletes_is_gone(autolog):
    X, y = np.random.default_rng(0).normal(size=(50, 3)), np.arange(50) % 2
    LogisticRegression().fit(X, y)
    alive = weakref.ref(X)
    del X
    gc.collect()
    assert alive() is None


@pytest.mark.parametrize("estimators", [[], None, [None], [("a", None, 1)], ["a"], 5, [(213, KMeans())]])
def test_parts_that_are_none_get_scikit_learns_own_error(estimators: Any) -> None:
    def error() -> str:
        with pytest.raises(Exception) as told:  # each its own
            VotingClassifier(estimators=estimators).fit([[0.0], [1.0]], [0, 1])
        return repr(told.value)

    recorded = error()
    with tachograph.suppress():
        assert recorded == error()
