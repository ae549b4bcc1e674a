"""Models and what they say of themselves, for every kind of booster."""

from __future__ import annotations

import numpy as np
import pytest
import xgboost
from packaging.version import Version
from scipy import sparse

import tachograph
from tachograph_frameworks.xgboost import load_model, save_estimator
from tachograph_frameworks.xgboost.model import IMPORTANCES

NEW = Version(xgboost.__version__) >= Version("2.0")


@pytest.fixture
def autolog():
    with tachograph.autolog("xgboost", system=False) as handle:
        yield handle


def classes(X, y):
    return xgboost.DMatrix(X, label=y + (X[:, 2] > 0))


def survival(X, y):
    data = xgboost.DMatrix(X)
    data.set_float_info("label_lower_bound", np.abs(X[:, 0]) + 1)
    data.set_float_info("label_upper_bound", np.where(y, np.abs(X[:, 0]) + 1, np.inf))
    return data


def ranking(X, y):
    data = xgboost.DMatrix(X, label=y)
    data.set_group([len(y) // 2, len(y) // 2])
    return data


def two_outputs(X, y):
    return xgboost.DMatrix(X, label=np.column_stack([y, 1 - y]))


def plain(X, y):
    return xgboost.DMatrix(X, label=y, feature_names=list("abcde"))


def without_missing(X, y):
    return xgboost.DMatrix(np.nan_to_num(X), label=y)


def classes_without_missing(X, y):
    return xgboost.DMatrix(np.nan_to_num(X), label=y + (X[:, 2] > 0))


def as_sparse(X, y):
    return xgboost.DMatrix(sparse.csr_matrix(np.nan_to_num(X)), label=y)


KINDS = {
    "trees": (plain, {"objective": "binary:logistic"}),
    "sparse": (as_sparse, {"objective": "binary:logistic"}),
    "dart": (plain, {"booster": "dart", "rate_drop": 0.3, "objective": "binary:logistic"}),
    "linear": (without_missing, {"booster": "gblinear", "objective": "binary:logistic"}),
    "linear multi-class": (
        classes_without_missing,
        {"booster": "gblinear", "objective": "multi:softprob", "num_class": 3},
    ),
    "multi-class": (classes, {"objective": "multi:softprob", "num_class": 3}),
    "forest": (plain, {"num_parallel_tree": 3, "subsample": 0.5, "objective": "binary:logistic"}),
    "survival": (survival, {"objective": "survival:aft"}),
    "cox": (lambda X, y: xgboost.DMatrix(X, label=np.where(y, 2.0, -3.0)), {"objective": "survival:cox"}),
    "ranking": (ranking, {"objective": "rank:pairwise"}),
    "outputs": (two_outputs, {"objective": "reg:squarederror", "tree_method": "hist"}),
}
if NEW:
    KINDS["vector leaves"] = (
        two_outputs,
        {"objective": "reg:squarederror", "tree_method": "hist", "multi_strategy": "multi_output_tree"},
    )


@pytest.mark.parametrize("kind", KINDS)
def test_the_model_reloads_and_predicts_the_same(autolog, store, X, y, kind):
    make, params = KINDS[kind]
    data = make(X, y)
    result = {}
    booster = xgboost.train(
        params | {"nthread": 1, "max_depth": 3}, data, 4, evals=[(data, "train")], evals_result=result,
        verbose_eval=False,
    )  # fmt: skip
    run = store.run
    assert run.status == "finished"
    assert run.notes == []
    curves = {f"train-{metric}": values for metric, values in result["train"].items()}
    assert run.curves == curves
    model = run.artifacts["model"]
    assert (model.type, model.filename) == ("model", "model.ubj")
    assert model.meta["format"] == "xgboost-ubj"
    again = load_model(run.file("model"), model.meta)
    assert type(again) is xgboost.Booster
    np.testing.assert_array_equal(again.predict(data), booster.predict(data))
    shape = model.meta["signature"]["outputs"]["prediction"]["shape"]
    assert shape[1:] == list(booster.predict(data).shape[1:])


def test_importances(autolog, store, X, y):
    booster = xgboost.train({"objective": "binary:logistic", "nthread": 1}, plain(X, y), 5)
    table = store.run.table("feature_importance")
    for kind in IMPORTANCES:
        assert {row["feature"]: row[kind] for row in table} == booster.get_score(importance_type=kind)
    assert [row["total_gain"] for row in table] == sorted((row["total_gain"] for row in table), reverse=True)


def test_importances_of_a_linear_model(autolog, store, X, y):
    booster = xgboost.train({"booster": "gblinear", "nthread": 1}, without_missing(X, y), 3)
    table = store.run.table("feature_importance")
    assert {row["feature"]: row["weight"] for row in table} == booster.get_score(importance_type="weight")
    assert set(table[0]) == {"feature", "weight"}


def test_no_model_where_none_is_wanted(store, binary, train_data):
    with tachograph.autolog("xgboost", system=False, models=False):
        xgboost.train(binary, train_data, 2)
    assert "model" not in store.run.artifacts
    assert "feature_importance" in store.run.artifacts


def test_what_is_known_of_the_model(autolog, store, X, y):
    xgboost.train({"nthread": 1}, plain(X, y), 2)
    meta = store.run.artifacts["model"].meta
    assert meta["class"] == "xgboost.core.Booster"
    assert meta["xgboost"] == xgboost.__version__
    assert meta["feature_names"] == list("abcde")
    assert meta["num_features"] == 5
    assert list(meta["signature"]["inputs"]) == list("abcde")
    assert set(meta["signature"]["outputs"]["prediction"]) == {"shape", "dtype"}


@pytest.mark.parametrize("kind", [xgboost.XGBClassifier, xgboost.XGBRegressor, xgboost.XGBRFClassifier])
def test_estimators_keep_their_class(store, X, y, kind):
    estimator = kind(n_estimators=4, n_jobs=1).fit(X, y)
    with tachograph.start_run() as run:
        assert save_estimator(run, estimator) is True
    model = store.run.artifacts["model"]
    again = load_model(store.run.file("model"), model.meta)
    assert type(again) is kind
    assert (model.filename, model.type) == ("model.ubj", "model")
    np.testing.assert_array_equal(again.predict(X), estimator.predict(X))
    if hasattr(estimator, "predict_proba"):
        np.testing.assert_array_equal(again.predict_proba(X), estimator.predict_proba(X))


def test_a_ranker(store, X, y):
    estimator = xgboost.XGBRanker(n_estimators=3, n_jobs=1, objective="rank:pairwise").fit(X, y, qid=[0] * len(y))
    with tachograph.start_run() as run:
        assert save_estimator(run, estimator)
    again = load_model(store.run.file("model"), store.run.artifacts["model"].meta)
    np.testing.assert_array_equal(again.predict(X), estimator.predict(X))


class Own(xgboost.XGBClassifier):
    pass


def test_a_class_of_the_users_comes_back_as_xgboosts(store, X, y):
    estimator = Own(n_estimators=2, n_jobs=1).fit(X, y)
    with tachograph.start_run() as run:
        assert save_estimator(run, estimator)
    again = load_model(store.run.file("model"), store.run.artifacts["model"].meta)
    assert type(again) is xgboost.XGBClassifier
    np.testing.assert_array_equal(again.predict(X), estimator.predict(X))


def test_anything_else_is_left_to_others(store):
    with tachograph.start_run() as run:
        assert save_estimator(run, object()) is False
    assert store.run.artifacts == {}


def test_saving_leaves_the_estimator_as_it_is(store, X, y):
    estimator = xgboost.XGBClassifier(n_estimators=2, n_jobs=1).fit(X, y)
    before = (estimator.get_booster().attributes(), estimator.get_params(), sorted(vars(estimator)))
    with tachograph.start_run() as run:
        save_estimator(run, estimator)
    assert str((estimator.get_booster().attributes(), estimator.get_params(), sorted(vars(estimator)))) == str(before)


@pytest.mark.parametrize("name", ["os.system", "builtins.eval", "xgboost.sklearn.json", "xgboost.core.DMatrix"])
def test_only_model_classes_of_xgboost_are_made(tmp_path, name):
    (tmp_path / "model.ubj").write_bytes(b"")
    with pytest.raises(tachograph.Error, match="no model class"):
        load_model(tmp_path / "model.ubj", {"class": name})
