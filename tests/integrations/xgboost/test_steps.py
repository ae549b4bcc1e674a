"""Trainings of a single round, each of which goes on from the last one's model: steps of one run."""

from __future__ import annotations

import numpy as np
import pytest
import xgboost

import tachograph


@pytest.fixture(autouse=True)
def autolog(request):
    plugins = getattr(request, "param", ("xgboost", "sklearn"))
    with tachograph.autolog(*plugins, system=False) as handle:
        yield handle


def rounds(count, params, data, held, start=None, **arguments):
    """The booster, and the history of the evaluations."""
    history = []
    for _ in range(count):
        seen = {}
        start = xgboost.train(
            params, data, 1, evals=[(held, "held")], evals_result=seen, verbose_eval=False, xgb_model=start, **arguments
        )
        history += seen["held"]["logloss"]
    return start, history


def runs():
    return tachograph.open_store().runs(children=True, order_by="started")


def test_rounds_are_one_run_which_has_the_last_model(binary, train_data, test_data, X):
    booster, history = rounds(6, binary, train_data, test_data)
    [run] = runs()
    curve = run.history("held-logloss")
    assert (curve.steps.tolist(), curve.values.tolist()) == (list(range(6)), history)
    assert (run.status, run.params["max_depth"]) == ("finished", 3)
    assert [dataset.name for dataset in run.datasets] == ["train", "held"]
    assert "xgb_model" not in run.params
    loaded = run.artifact("model").load()
    assert loaded.num_boosted_rounds() == 6
    data = xgboost.DMatrix(X)
    assert np.array_equal(loaded.predict(data), booster.predict(data))
    assert list(run.notes) == []


@pytest.mark.slow
def test_the_last_model_is_kept_at_the_end_of_the_process(script, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    done = script("""
        import tachograph
        tachograph.autolog(system=False)
        import numpy, xgboost
        data, booster = xgboost.DMatrix(numpy.arange(20.0).reshape(10, 2), numpy.arange(10) % 2), None
        for _ in range(5):
            booster = xgboost.train({"nthread": 1}, data, num_boost_round=1, xgb_model=booster)
    """)
    assert (done.returncode, done.stderr) == (0, "")
    [run] = runs()
    assert run.artifact("model").load().num_boosted_rounds() == 5


def test_only_some_of_the_rounds_are_recorded_if_so_asked(autolog, binary, train_data, test_data):
    autolog.undo()
    with tachograph.autolog("xgboost", system=False, every_n_steps=4):
        rounds(7, binary, train_data, test_data)
        [run] = runs()
    assert run.history("held-logloss").steps.tolist() == [0, 4, 6]


def test_parameters_that_change_between_the_rounds_are_recorded(binary, train_data, test_data):
    booster, _ = rounds(2, binary, train_data, test_data)
    rounds(1, {**binary, "eta": 0.05}, train_data, test_data, booster)
    [run] = runs()
    assert (run.params["eta"], run.history("held-logloss").steps.tolist()) == (0.05, [0, 1, 2])


def test_in_the_users_run_the_rounds_go_on(binary, train_data, test_data):
    with tachograph.start_run("mine") as mine:
        booster, history = rounds(4, binary, train_data, test_data)
        assert not mine.ended
    rounds(1, binary, train_data, test_data, booster)
    run, other = runs()
    assert (run.id, run.history("held-logloss").values.tolist()) == (mine.id, history)
    assert run.artifact("model").load().num_boosted_rounds() == 4
    assert other.history("held-logloss").steps.tolist() == [0]


def test_two_models_that_take_turns_have_a_run_each(binary, train_data, test_data):
    boosters = [None, None]
    for _ in range(3):
        boosters = [rounds(1, binary, train_data, test_data, booster)[0] for booster in boosters]
    assert [run.history("held-logloss").steps.tolist() for run in runs()] == [[0, 1, 2]] * 2
    assert [run.artifact("model").load().num_boosted_rounds() for run in runs()] == [3, 3]


def test_an_older_model_that_is_gone_on_from_begins_another_run(binary, train_data, test_data):
    first, _ = rounds(2, binary, train_data, test_data)
    rounds(2, binary, train_data, test_data, first)
    rounds(1, binary, train_data, test_data, first)
    assert [run.history("held-logloss").steps.tolist() for run in runs()] == [[0, 1, 2, 3], [0]]


def test_a_training_of_several_rounds_is_a_run_of_its_own(binary, train_data, test_data):
    booster, _ = rounds(2, binary, train_data, test_data)
    xgboost.train(binary, train_data, 3, xgb_model=booster)
    first, second = runs()
    assert first.artifact("model").load().num_boosted_rounds() == 2
    assert second.params["num_boost_round"] == 3
    assert second.artifact("model").load().num_boosted_rounds() == 5


def test_after_one_that_fails_begins_another_run(binary, train_data, test_data):
    booster, _ = rounds(2, binary, train_data, test_data)
    with pytest.raises(xgboost.core.XGBoostError):
        rounds(1, {**binary, "eta": "x"}, train_data, test_data, booster)
    rounds(1, binary, train_data, test_data, booster)
    assert [(run.status, run.history("held-logloss").steps.tolist()) for run in runs()] == [
        ("failed", [0, 1]),
        ("finished", [0]),
    ]


@pytest.mark.parametrize("autolog", [("xgboost", "sklearn"), ("xgboost",)], indirect=True)
@pytest.mark.parametrize("start", [lambda model: model, lambda model: model.get_booster()])
def test_fits_of_an_estimator_that_go_on(X, y, start):
    model, history = None, []
    for _ in range(5):
        before = None if model is None else start(model)
        model = xgboost.XGBClassifier(n_estimators=1, max_depth=2, n_jobs=1)
        model.fit(X, y, eval_set=[(X, y)], xgb_model=before, verbose=False)
        history += model.evals_result()["validation_0"]["logloss"]
    [run] = runs()
    curve = run.history("validation_0-logloss")
    assert (curve.steps.tolist(), curve.values.tolist()) == (list(range(5)), history)
    assert np.array_equal(
        run.artifact("model").load().predict(xgboost.DMatrix(X) if run.name == "xgboost" else X) > 0.5,
        model.predict(X) > 0.5,
    )
    assert run.metrics.get("train_accuracy", model.score(X, y)) == model.score(X, y)
    assert list(run.notes) == []
