"""How trainings end: by early stopping, by the user's callback, by an exception, by Ctrl-C."""

from __future__ import annotations

import functools
import gc
import subprocess
import sys

import pytest
import xgboost
from xgboost.callback import EarlyStopping, TrainingCallback

import tachograph
from tachograph_frameworks.xgboost import TachographCallback


@pytest.fixture
def autolog():
    with tachograph.autolog("xgboost", system=False) as handle:
        yield handle


class StopAt(TrainingCallback):
    """Ends a training after a round, with an exception or without one."""

    def __init__(self, last, error=None):
        self.last, self.error = last, error

    def after_iteration(self, model, epoch, evals_log):
        if epoch == self.last and self.error is not None:
            raise self.error
        return epoch == self.last


@pytest.fixture
def training(binary, train_data, test_data):
    """A training whose function is out of reach once it is hooked."""
    return functools.partial(
        xgboost.train, binary, train_data, num_boost_round=9, evals=[(test_data, "test")], verbose_eval=False
    )


@pytest.fixture
def stopping(binary, train_data, test_data):
    """A training that overfits soon."""

    def train(**arguments):
        params = binary | {"eta": 0.9}
        return xgboost.train(params, train_data, 60, evals=[(test_data, "test")], verbose_eval=False, **arguments)

    return train


def assert_stopped(run, booster, rounds):
    length = len(run.curves["test-logloss"])
    assert length < 60
    assert run.metrics["best_iteration"] == booster.best_iteration
    assert run.metrics["best_score"] == booster.best_score
    assert run.metrics["stopped_iteration"] == length - 1 == booster.best_iteration + rounds
    assert run.params["early_stopping_rounds"] == rounds


def test_early_stopping_by_argument(autolog, store, stopping):
    booster = stopping(early_stopping_rounds=4)
    assert_stopped(store.run, booster, 4)


def test_early_stopping_by_a_callback(autolog, store, stopping):
    booster = stopping(callbacks=[EarlyStopping(rounds=4)])
    assert_stopped(store.run, booster, 4)


def test_early_stopping_that_keeps_the_best(autolog, store, stopping):
    booster = stopping(callbacks=[EarlyStopping(rounds=4, save_best=True)])
    curve = store.run.curves["test-logloss"]
    best = curve.index(min(curve))
    assert store.run.metrics["best_iteration"] == best
    assert store.run.metrics["best_score"] == curve[best]
    assert store.run.metrics["stopped_iteration"] == len(curve) - 1 == best + 4
    kept = xgboost.Booster(model_file=bytearray(store.run.file("model").read_bytes()))
    assert kept.num_boosted_rounds() == best + 1
    assert kept.get_dump() == booster.get_dump()


def test_no_best_without_early_stopping(autolog, store, stopping):
    stopping()
    assert set(store.run.metrics) == {"test-logloss"}


def test_early_stopping_in_cv(autolog, store, binary, train_data):
    table = xgboost.cv(binary | {"eta": 0.9}, train_data, 60, early_stopping_rounds=3, as_pandas=False)
    run = store.run
    best = len(table["test-logloss-mean"]) - 1
    assert run.metrics["best_iteration"] == best
    assert run.metrics["best_score"] == pytest.approx(table["test-logloss-mean"][-1])
    assert run.metrics["stopped_iteration"] == best + 3
    assert run.curves["test-logloss-mean"][: best + 1] == table["test-logloss-mean"]


def test_going_on_from_a_stopped_model(autolog, store, stopping):
    first = stopping(early_stopping_rounds=4)
    second = stopping(early_stopping_rounds=4, xgb_model=first)
    third = stopping(xgb_model=first)
    runs = store.runs
    rounds = first.num_boosted_rounds()
    assert runs[1].metrics["best_iteration"] == second.best_iteration >= rounds
    assert runs[1].metrics["stopped_iteration"] == rounds + len(runs[1].points["test-logloss"]) - 1
    assert third.attr("best_score") == first.attr("best_score")
    assert "best_score" not in runs[2].metrics


def test_the_users_callback_stops(autolog, store, stopping):
    stopping(callbacks=[StopAt(5)])
    assert len(store.run.curves["test-logloss"]) == 6
    assert store.run.status == "finished"


@pytest.mark.parametrize(("error", "status"), [(ValueError("pruned"), "failed"), (KeyboardInterrupt(), "interrupted")])
def test_the_users_callback_raises(autolog, store, stopping, error, status):
    with pytest.raises(type(error)) as raised:
        stopping(callbacks=[StopAt(5, error)])
    assert raised.value is error
    run = store.run
    assert run.status == status
    assert run.end.error.type == type(error).__name__
    assert len(run.curves["test-logloss"]) == 6


def test_an_exception_in_cv(autolog, store, binary, train_data):
    with pytest.raises(ValueError, match="enough"):
        xgboost.cv(binary, train_data, 9, callbacks=[StopAt(2, ValueError("enough"))])
    assert store.run.status == "failed"
    assert len(store.run.curves["test-logloss-mean"]) == 3


def test_an_objective_that_raises(autolog, store, stopping):
    error = ZeroDivisionError("in the objective")

    def objective(predictions, data):
        raise error

    with pytest.raises(ZeroDivisionError) as raised:
        stopping(obj=objective)
    assert raised.value is error
    assert store.run.status == "failed"
    assert store.run.end.error.message == "in the objective"


def test_a_metric_that_raises_adds_no_point(autolog, store, stopping):
    rounds = []

    def metric(predictions, data):
        rounds.append(1)
        if len(rounds) == 4:
            raise ZeroDivisionError("in the metric")
        return "mine", 1.0

    with pytest.raises(ZeroDivisionError):
        stopping(custom_metric=metric)
    assert store.run.status == "failed"
    assert store.run.curves["test-mine"] == [1.0] * 3


def test_wrong_arguments_raise_as_ever(autolog, store, binary, train_data):
    with pytest.raises(TypeError):
        xgboost.train(binary, train_data, no_such_argument=1)
    with pytest.raises(TypeError):
        xgboost.train()
    with pytest.raises((TypeError, ValueError)):
        xgboost.train(binary, "no matrix", 2)
    with pytest.raises(xgboost.core.XGBoostError):
        xgboost.train({"objective": "no such objective"}, train_data, 2)
    assert {run.status for run in store.runs} == {"failed"}


def test_a_training_function_out_of_reach_that_raises(store, training):
    with tachograph.autolog("xgboost", system=False):
        with pytest.raises(ValueError) as raised:
            training(callbacks=[StopAt(3, ValueError("pruned"))])
        assert len(store.run.curves["test-logloss"]) == 4
        del raised
        gc.collect()
        assert store.run.status == "failed"
        training(num_boost_round=2)
    assert store.runs[1].status == "finished"


def test_a_training_inside_of_one_that_is_out_of_reach(store, training, binary, train_data):
    class Inner(TrainingCallback):
        def after_iteration(self, model, epoch, evals_log):
            xgboost.train(binary, train_data, 1, evals=[(train_data, "inner")], verbose_eval=False)
            return False

    with tachograph.autolog("xgboost", system=False):
        training(callbacks=[Inner()])
    assert store.run.status == "finished"
    assert len(store.run.curves["test-logloss"]) == 9
    assert "inner-logloss" not in store.run.curves


def test_a_callback_of_ours_in_a_training_that_raises(store, training):
    with pytest.raises(ValueError) as raised:
        training(callbacks=[TachographCallback(), StopAt(3, ValueError("pruned"))])
    assert store.run.status == "running"  # as in a notebook, which keeps the exception with all its frames
    training(callbacks=[TachographCallback()], num_boost_round=2)
    first, second = store.runs
    assert (first.status, second.status) == ("failed", "finished")
    assert len(second.curves["test-logloss"]) == 2
    assert raised.value.args == ("pruned",)
    assert tachograph.active_run() is None


@pytest.mark.slow
@pytest.mark.parametrize(("error", "status"), [("ValueError('x')", "failed"), ("KeyboardInterrupt()", "interrupted")])
def test_a_callback_of_ours_in_a_program_that_ends_by_an_exception(store, tmp_path, error, status):
    script = tmp_path / "script.py"
    script.write_text(
        "import numpy, xgboost\n"
        "from tachograph_frameworks.xgboost import TachographCallback\n"
        "data = xgboost.DMatrix(numpy.arange(20.0).reshape(10, 2), label=numpy.arange(10) % 2)\n"
        "def objective(predictions, data):\n"
        f"    raise {error}\n"
        "xgboost.train({'nthread': 1}, data, 2, obj=objective, callbacks=[TachographCallback()])\n"
    )
    done = subprocess.run([sys.executable, script], stderr=subprocess.PIPE, timeout=100)
    assert done.returncode != 0
    assert store.run.status == status
