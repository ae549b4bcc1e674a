"""Fits of a single epoch each, one after the other, as agents make them: steps of one run."""

from __future__ import annotations

import keras
import numpy as np
import pytest

import tachograph

LOOP = """
import tachograph
tachograph.autolog(system=False)
import numpy as np, keras
net = keras.Sequential([keras.Input((4,)), keras.layers.Dense(2)])
net.compile("adam", "mse")
for step in range(12):
    net.fit(np.ones((8, 4)), np.ones((8, 2)), epochs=1, verbose=0)
np.save("weights.npy", net.get_weights()[0])
"""


def fit(model, data, **arguments):
    model.fit(*data, verbose=0, **{"epochs": 1, **arguments})


@pytest.mark.slow
@pytest.mark.parametrize("first", ["", "import keras\n"])
def test_the_fits_of_an_agent_are_one_run_which_has_the_last_model(script, tmp_path, monkeypatch, first):
    monkeypatch.chdir(tmp_path)
    done = script(first + LOOP, KERAS_BACKEND="torch")
    assert (done.returncode, done.stderr) == (0, "")
    [run] = tachograph.open_store().runs(children=True)
    assert (run.status, [writer.status for writer in run.writers]) == ("finished", ["finished"])
    assert run.history("loss").steps.tolist() == run.history("lr").steps.tolist() == list(range(12))
    assert len(run.datasets) == 1
    assert np.array_equal(run.artifact("model").load().get_weights()[0], np.load("weights.npy"))


@pytest.mark.slow
def test_a_run_that_the_user_leaves_open_has_the_last_model(script, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    done = script("import tachograph\nrun = tachograph.start_run('mine')\n" + LOOP, KERAS_BACKEND="torch")
    assert (done.returncode, done.stderr) == (0, "")
    [run] = tachograph.open_store().runs(children=True)
    assert (run.name, run.notes) == ("mine", [])
    assert np.array_equal(run.artifact("model").load().get_weights()[0], np.load("weights.npy"))


@pytest.mark.slow
def test_nothing_of_them_is_lost_when_the_process_is_killed(script, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert script(LOOP + "import os; os.kill(os.getpid(), 9)", KERAS_BACKEND="torch").returncode == -9
    [run] = tachograph.open_store().runs()
    assert (run.status, run.history("loss").steps.tolist()) == ("finished", list(range(12)))


def test_the_users_own_numbers_of_epochs_are_kept(store, model, data):
    for epoch in range(3, 6):
        fit(model, data, initial_epoch=epoch, epochs=epoch + 1)
    [run] = store.runs()
    assert run.history("loss").steps.tolist() == [3, 4, 5]


def test_two_models_that_take_turns_have_a_run_each(store, build, data):
    models = [build(), build()]
    for _ in range(3):
        for model in models:
            fit(model, data)
    assert [run.history("loss").steps.tolist() for run in store.runs()] == [[0, 1, 2]] * 2


def compiled_anew(model):
    model.compile(keras.optimizers.SGD(0.5), "sparse_categorical_crossentropy")


def with_its_weights_set(model):
    model.set_weights([np.zeros_like(weights) for weights in model.get_weights()])


@pytest.mark.parametrize("change", [compiled_anew, with_its_weights_set])
def test_another_training_of_the_model_is_another_run(store, model, data, change):
    fit(model, data)
    fit(model, data)
    change(model)
    fit(model, data)
    assert [run.history("loss").steps.tolist() for run in store.runs(order_by="started")] == [[0, 1], [0]]


def test_a_fit_of_several_epochs_is_a_run_of_its_own(store, model, data):
    for epochs in (1, 2, 1, 1):
        fit(model, data, epochs=epochs)
    assert [run.history("loss").steps.tolist() for run in store.runs(order_by="started")] == [[0], [0, 1], [0, 1]]


def test_in_the_users_run_the_epochs_go_on(store, model, data):
    with tachograph.start_run("mine") as mine:
        for _ in range(3):
            fit(model, data)
        assert not mine.ended
    fit(model, data)
    run, other = store.runs(order_by="started")
    assert (run.id, run.history("loss").steps.tolist(), len(run.datasets)) == (mine.id, [0, 1, 2], 1)
    assert other.history("loss").steps.tolist() == [0]


def test_after_one_that_fails_begins_another_run(store, model, data):
    fit(model, data)
    with pytest.raises(ValueError):
        model.fit(np.ones((8, 99)), np.ones(8), epochs=1, verbose=0)
    fit(model, data)
    found = store.runs(order_by="started")
    assert [(run.status, len(run.history("loss").steps)) for run in found] == [("failed", 1), ("finished", 1)]
