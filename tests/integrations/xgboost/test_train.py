"""``train`` and ``cv``: what is recorded is what XGBoost shows, and nothing of the user's is touched."""

from __future__ import annotations

import functools
import inspect
import subprocess
import sys

import numpy as np
import pytest
import xgboost
from xgboost import train as train_by_name

import tachograph


@pytest.fixture
def autolog():
    with tachograph.autolog("xgboost", system=False) as handle:
        yield handle


def history_of(result):
    return {f"{data}-{metric}": values for data, metrics in result.items() for metric, values in metrics.items()}


def test_the_history_is_that_of_evals_result(autolog, store, binary, train_data, test_data):
    binary["eval_metric"] = ["logloss", "error@0.7", "auc"]
    result = {}
    xgboost.train(
        binary, train_data, 12, evals=[(train_data, "train"), (test_data, "test")], evals_result=result,
        verbose_eval=False,
    )  # fmt: skip
    assert set(result["test"]) == {"logloss", "error@0.7", "auc"}
    assert store.run.curves == history_of(result)
    assert store.run.status == "finished"


def test_cv_records_mean_and_deviation(autolog, store, binary, train_data):
    result = xgboost.cv(binary, train_data, 6, nfold=4, metrics=("logloss", "error"), as_pandas=False)
    assert store.run.curves == result
    assert {"test-logloss-mean", "test-logloss-std", "train-error-mean"} <= set(store.run.curves)
    assert store.run.params["nfold"] == 4
    assert store.run.params["metrics"] == ["logloss", "error"]


def test_ranking_names(autolog, store, X, y):
    data = xgboost.DMatrix(X, label=y)
    data.set_group([60, 60, 60, 60])
    result = {}
    params = {"objective": "rank:pairwise", "nthread": 1, "eval_metric": ["ndcg@5", "map@3-", "ndcg-"]}
    xgboost.train(params, data, 3, evals=[(data, "fit")], evals_result=result, verbose_eval=False)
    assert store.run.curves == history_of(result)
    assert "fit-ndcg@5" in store.run.curves


def own_metric(predictions, data):
    return "distance", float(np.abs(predictions - data.get_label()).mean())


def own_objective(predictions, data):
    chances = 1 / (1 + np.exp(-predictions))
    return chances - data.get_label(), chances * (1 - chances)


def test_own_metric_and_objective(autolog, store, binary, train_data):
    result = {}
    xgboost.train(
        {"nthread": 1}, train_data, 4, obj=own_objective, custom_metric=own_metric, evals=[(train_data, "train")],
        evals_result=result, verbose_eval=False,
    )  # fmt: skip
    assert store.run.curves == history_of(result)
    assert "train-distance" in store.run.curves
    assert store.run.params["obj"] == "own_objective"
    assert store.run.params["custom_metric"] == "own_metric"


def test_a_metric_that_is_not_a_number(autolog, store, binary, train_data):
    def nothing(predictions, data):
        return "nothing", float("nan")

    xgboost.train(binary, train_data, 2, custom_metric=nothing, evals=[(train_data, "train")], verbose_eval=False)
    assert np.isnan(store.run.curves["train-nothing"]).all()
    assert np.isfinite(store.run.curves["train-logloss"]).all()


def test_params(autolog, store, binary, train_data):
    binary |= {"eta": 0.3, "monotone_constraints": (1, 0, 0, 0, 0), "eval_metric": ["auc", "error"]}
    before = dict(binary)
    xgboost.train(binary, train_data, 3, maximize=False)
    params = store.run.params
    assert binary == before
    assert params["objective"] == "binary:logistic"
    assert params["eta"] == 0.3
    assert params["monotone_constraints"] == [1, 0, 0, 0, 0]
    assert params["eval_metric"] == ["auc", "error"]
    assert params["num_boost_round"] == 3
    assert params["maximize"] is False
    assert "early_stopping_rounds" not in params


def test_the_default_number_of_rounds(autolog, store, binary, train_data):
    xgboost.train(binary, train_data)
    assert store.run.params["num_boost_round"] == 10


def test_params_as_pairs(autolog, store, train_data):
    pairs = [("objective", "binary:logistic"), ("nthread", 1), ("eval_metric", "auc"), ("eval_metric", "error")]
    xgboost.train(pairs, train_data, 2, evals=[(train_data, "train")], verbose_eval=False)
    assert store.run.params["eval_metric"] == ["auc", "error"]
    assert set(store.run.curves) == {"train-auc", "train-error"}


def test_the_full_configuration_is_kept(autolog, store, binary, train_data):
    xgboost.train(binary, train_data, 2)
    assert b'"learning_rate"' in store.run.file("config").read_bytes()


class Counting(xgboost.callback.TrainingCallback):
    def __init__(self):
        self.rounds = 0

    def after_iteration(self, model, epoch, evals_log):
        self.rounds += 1
        return False


def test_the_users_list_stays_as_it_is(autolog, store, binary, train_data):
    callback = Counting()
    callbacks = [callback]
    for _ in range(2):
        xgboost.train(binary, train_data, 3, callbacks=callbacks)
    assert callbacks == [callback]
    assert callback.rounds == 6
    assert store.runs[0].params["callbacks"] == ["Counting"]


def test_callbacks_none(autolog, store, binary, train_data):
    xgboost.train(binary, train_data, 2, callbacks=None, evals=[(train_data, "train")], verbose_eval=False)
    assert len(store.run.curves["train-logloss"]) == 2


@pytest.mark.filterwarnings("ignore:Pass `evals")
def test_arguments_by_position(autolog, store, binary, train_data, test_data):
    xgboost.train(binary, train_data, 4, [(test_data, "held_out")], verbose_eval=False)
    run = store.run
    assert run.params["num_boost_round"] == 4
    assert len(run.curves["held_out-logloss"]) == 4
    assert run.datasets["held_out"].role == "validation"


def test_all_arguments_by_keyword(autolog, store, binary, train_data):
    xgboost.train(params=binary, dtrain=train_data, num_boost_round=2)
    assert store.run.params["num_boost_round"] == 2


def test_imported_by_name_before(autolog, store, binary, train_data):
    train_by_name(binary, train_data, 2)
    assert store.run.params["num_boost_round"] == 2


def test_a_training_function_out_of_reach(store, binary, train_data):
    partial = functools.partial(xgboost.train, binary, train_data, 3, verbose_eval=False)
    with tachograph.autolog("xgboost", system=False):
        partial(evals=[(train_data, "train")])
    run = store.run
    assert run.status == "finished"
    assert len(run.curves["train-logloss"]) == 3
    assert run.params["objective"] == "binary:logistic"
    assert run.params["max_depth"] == 3
    assert "model" in run.artifacts


def test_the_result_is_xgboosts_own(store, binary, train_data):
    plain, recorded = {}, {}
    arguments = {"num_boost_round": 5, "evals": [(train_data, "train")], "verbose_eval": False}
    one = xgboost.train(binary, train_data, evals_result=plain, **arguments)
    with tachograph.autolog("xgboost", system=False):
        two = xgboost.train(binary, train_data, evals_result=recorded, **arguments)
    assert plain == recorded
    assert one.save_raw() == two.save_raw()
    assert one.attributes() == two.attributes()


def test_the_printed_output_is_xgboosts_own(store, binary, train_data, test_data, capfd):
    def training():
        evals = [(train_data, "train"), (test_data, "test")]
        xgboost.train(binary, train_data, 7, evals=evals, verbose_eval=3)
        xgboost.cv(binary, train_data, 4, verbose_eval=2)
        return capfd.readouterr()

    plain = training()
    with tachograph.autolog("xgboost", system=False):
        recorded = training()
    assert plain.out
    assert recorded == plain


def test_the_random_state_stays_as_it_is(autolog, binary, train_data):
    np.random.seed(5)
    before = np.random.get_state()[1].tolist()
    with xgboost.config_context(verbosity=1):
        configuration = xgboost.get_config()
        xgboost.train(binary, train_data, 2)
        assert xgboost.get_config() == configuration
    assert np.random.get_state()[1].tolist() == before


def test_steps_can_be_thinned_and_the_last_one_stays(store, binary, train_data):
    with tachograph.autolog("xgboost", system=False, every_n_steps=4):
        xgboost.train(binary, train_data, 10, evals=[(train_data, "train")], verbose_eval=False)
        xgboost.train(binary, train_data, 9, evals=[(train_data, "train")], verbose_eval=False)
    first, second = store.runs
    assert [step for step, _ in first.points["train-logloss"]] == [0, 4, 8, 9]
    assert [step for step, _ in second.points["train-logloss"]] == [0, 4, 8]


def test_undo_puts_the_same_objects_back(binary, train_data, store):
    container = xgboost.callback.CallbackContainer
    before = (xgboost.train, xgboost.training.train, xgboost.sklearn.train, xgboost.cv, dict(vars(container)))
    code = xgboost.train.__code__
    handle = tachograph.autolog("xgboost", system=False)
    assert xgboost.train.__code__ is not code
    assert inspect.signature(xgboost.train) == inspect.signature(before[0])
    assert xgboost.train.__doc__ == before[0].__doc__
    handle.undo()
    after = (xgboost.train, xgboost.training.train, xgboost.sklearn.train, xgboost.cv, dict(vars(container)))
    assert all(one is two for one, two in zip(after[:4], before[:4], strict=True))
    assert after[4] == before[4]
    assert xgboost.train.__code__ is code
    xgboost.train(binary, train_data, 1)
    assert store.runs == []


def test_undo_in_the_middle(store, binary, train_data):
    class Undo(xgboost.callback.TrainingCallback):
        def after_iteration(self, model, epoch, evals_log):
            if epoch == 2:
                handle.undo()
            return False

    handle = tachograph.autolog("xgboost", system=False)
    xgboost.train(binary, train_data, 5, evals=[(train_data, "train")], verbose_eval=False, callbacks=[Undo()])
    assert store.run.status == "finished"
    assert len(store.run.curves["train-logloss"]) == 5  # the run goes on
    assert "model" in store.run.artifacts


def test_suppress(autolog, store, binary, train_data):
    with tachograph.suppress():
        xgboost.train(binary, train_data, 2)
    assert store.runs == []


def test_the_users_own_run_takes_it_and_stays_open(autolog, store, binary, train_data):
    with tachograph.start_run("mine") as run:
        xgboost.train(binary, train_data, 3, evals=[(train_data, "train")], verbose_eval=False)
        assert not run.ended
        run.log({"later": 1.0})
    assert store.run.start.name == "mine"
    assert len(store.run.curves["train-logloss"]) == 3
    assert store.run.metrics["later"] == 1.0


def test_a_training_inside_a_training(autolog, store, binary, train_data):
    class Inner(xgboost.callback.TrainingCallback):
        def after_iteration(self, model, epoch, evals_log):
            xgboost.train(binary, train_data, 2, evals=[(train_data, "inner")], verbose_eval=False)
            return False

    xgboost.train(binary, train_data, 3, evals=[(train_data, "outer")], verbose_eval=False, callbacks=[Inner()])
    assert set(store.run.curves) == {"outer-logloss"}
    assert store.run.params["num_boost_round"] == 3


def test_continued_training(autolog, store, binary, train_data):
    first = xgboost.train(binary, train_data, 3)
    result = {}
    arguments = {"evals": [(train_data, "train")], "verbose_eval": False}
    xgboost.train(binary, train_data, 4, xgb_model=first, evals_result=result, **arguments)
    run = store.runs[1]
    assert run.curves == history_of(result)
    assert run.params["xgb_model"] == "Booster"
    assert "best_iteration" not in run.metrics


def test_updating_a_model(autolog, store, binary, train_data):
    first = xgboost.train(binary, train_data, 3)
    params = binary | {"process_type": "update", "updater": "refresh", "refresh_leaf": True}
    arguments = {"evals": [(train_data, "train")], "verbose_eval": False}
    xgboost.train(params, train_data, 3, xgb_model=first, **arguments)
    assert len(store.runs[1].curves["train-logloss"]) == 3
    assert store.runs[1].status == "finished"


@pytest.mark.slow
@pytest.mark.parametrize("first", ["import xgboost, tachograph", "import tachograph"])
def test_any_import_order(first, store, tmp_path):
    script = tmp_path / "script.py"
    script.write_text(
        f"{first}\n"
        "tachograph.autolog(system=False)\n"
        "import numpy, xgboost\n"
        "data = xgboost.DMatrix(numpy.arange(20.0).reshape(10, 2), label=numpy.arange(10) % 2)\n"
        "xgboost.train({'nthread': 1}, data, 2, evals=[(data, 'train')], verbose_eval=False)\n"
    )
    subprocess.run([sys.executable, script], check=True, timeout=100)
    assert len(store.run.curves["train-rmse"]) == 2
