"""``TachographCallback`` named by the user, with autolog and without."""

from __future__ import annotations

import copy
import pickle

import pytest
import xgboost
from sklearn.base import clone
from xgboost.callback import EarlyStopping

import tachograph
from tachograph_frameworks.xgboost import TachographCallback


@pytest.fixture
def training(binary, train_data, test_data):
    def train(callbacks, **arguments):
        evals = [(train_data, "train"), (test_data, "test")]
        return xgboost.train(binary, train_data, 5, evals=evals, verbose_eval=False, callbacks=callbacks, **arguments)

    return train


def test_it_opens_and_ends_a_run(store, training):
    booster = training([TachographCallback()])
    run = store.run
    assert run.start.name == "xgboost"
    assert run.status == "finished"
    assert len(run.curves["train-logloss"]) == len(run.curves["test-logloss"]) == 5
    assert run.params["objective"] == "binary:logistic"
    assert run.params["max_depth"] == 3
    assert run.table("feature_importance")
    kept = xgboost.Booster(model_file=bytearray(run.file("model").read_bytes()))
    assert kept.get_dump() == booster.get_dump()
    assert tachograph.active_run() is None


def test_the_same_object_again(store, training):
    callback = TachographCallback()
    training([callback])
    training([callback])
    assert [len(run.curves["train-logloss"]) for run in store.runs] == [5, 5]


@pytest.mark.parametrize("count", [1, 2])
def test_with_autolog_no_point_comes_twice(store, training, count):
    with tachograph.autolog("xgboost", system=False):
        training([TachographCallback() for _ in range(count)])
    assert len(store.run.curves["train-logloss"]) == 5
    assert store.run.params["num_boost_round"] == 5


def test_two_of_them(store, training):
    training([TachographCallback(), TachographCallback()])
    assert len(store.run.curves["train-logloss"]) == 5


def test_beside_a_training_function_out_of_reach(store, training):
    from functools import partial

    out_of_reach = partial(xgboost.train)
    with tachograph.autolog("xgboost", system=False):
        training.__globals__["xgboost"], module = _With(out_of_reach), xgboost
        try:
            training([TachographCallback()])
        finally:
            training.__globals__["xgboost"] = module
    assert len(store.run.curves["train-logloss"]) == 5
    assert store.run.status == "finished"


class _With:
    def __init__(self, train):
        self.train = train


def test_in_the_users_run(store, training):
    with tachograph.start_run("mine") as run:
        training([TachographCallback()])
        assert not run.ended
    assert store.run.start.name == "mine"
    assert len(store.run.curves["train-logloss"]) == 5


def test_early_stopping(store, training):
    booster = training([EarlyStopping(rounds=1, data_name="train", maximize=True), TachographCallback()])
    assert store.run.metrics["best_iteration"] == booster.best_iteration == 0
    assert store.run.metrics["stopped_iteration"] == 1


def test_cv(store, binary, train_data):
    table = xgboost.cv(binary, train_data, 4, callbacks=[TachographCallback()], as_pandas=False)
    assert store.run.curves == table
    assert store.run.status == "finished"


def test_the_scikit_learn_api(store, X, y):
    estimator = xgboost.XGBClassifier(n_estimators=4, n_jobs=1, callbacks=[TachographCallback()])
    estimator.fit(X, y, eval_set=[(X, y)], verbose=False)
    assert store.run.curves["validation_0-logloss"] == estimator.evals_result()["validation_0"]["logloss"]


def test_it_can_be_copied_and_sent(store, training, X, y):
    callback = TachographCallback()
    training([callback])
    for twin in (copy.deepcopy(callback), pickle.loads(pickle.dumps(callback)), copy.copy(callback)):
        assert type(twin) is TachographCallback
        assert twin is not callback
    estimator = xgboost.XGBClassifier(n_estimators=2, n_jobs=1, callbacks=[callback])
    pickle.loads(pickle.dumps(clone(estimator).fit(X, y)))


class Copy(xgboost.callback.TrainingCallback):
    """Copies another callback in the middle of a training."""

    def __init__(self, other):
        self.other, self.copies = other, []

    def after_iteration(self, model, epoch, evals_log):
        self.copies.append(copy.deepcopy(self.other))
        return False


def test_a_copy_takes_no_part_in_the_training(store, training):
    callback = TachographCallback()
    copies = Copy(callback)
    training([callback, copies])
    copies.copies[0].after_iteration(None, 7, {"train": {"logloss": [1.0]}})
    assert len(store.run.curves["train-logloss"]) == 5


def test_switched_off(store, training, monkeypatch):
    monkeypatch.setenv("TACHOGRAPH_OFF", "1")
    training([TachographCallback()])
    assert not store.root.exists()


def test_it_records_where_autolog_is_suppressed(store, training):
    with tachograph.autolog("xgboost", system=False), tachograph.suppress():
        training([TachographCallback()])
    assert len(store.run.curves["train-logloss"]) == 5
