"""``TachographCallback`` named by the user, with autolog and without."""

from __future__ import annotations

import copy
import pickle

import keras
import numpy as np
import pytest
from keras.callbacks import Callback, EarlyStopping, ReduceLROnPlateau

import tachograph
from tachograph.testing import recorded
from tachograph_frameworks.keras import TachographCallback, load_model


@pytest.fixture
def store(root):
    """A store without autolog."""
    with tachograph.start_run("to make it"):
        pass
    opened = tachograph.open_store(root)
    return lambda: [run for run in opened.runs(order_by="started") if run.name != "to make it"]


def test_it_opens_and_ends_a_run(store, model, data):
    history = model.fit(*data, epochs=3, validation_split=0.2, verbose=0, callbacks=[TachographCallback()]).history
    [run] = store()
    assert (run.name, run.status) == (model.name, "finished")
    for name, values in history.items():
        assert run.history(name).values.tolist() == values
        assert run.history(name).steps.tolist() == [0, 1, 2]
    assert run.history("lr").values.tolist() == pytest.approx([0.01] * 3)
    assert (run.params["optimizer"], run.params["total_params"], run.params["steps_per_epoch"]) == ("Adam", 37, 3)
    artifact = run.artifact("model")
    again = load_model(artifact.path(), artifact.meta)
    assert np.array_equal(again.predict(data[0], verbose=0), model.predict(data[0], verbose=0))
    assert run.artifact("summary")
    assert tachograph.active_run() is None


def test_it_sees_its_siblings(store, model, data):
    stop = EarlyStopping("loss", patience=1, min_delta=100.0)
    plateau = ReduceLROnPlateau("loss", factor=0.5, patience=1, min_delta=100.0)
    model.fit(*data, epochs=9, verbose=0, callbacks=[stop, plateau, TachographCallback()])
    [run] = store()
    assert run.metrics["stopped_epoch"] == 1
    assert run.params["early_stopping.patience"] == 1
    assert run.history("lr").values.tolist() == pytest.approx([0.01, 0.01])


def test_the_same_object_again(store, model, build, data):
    callback = TachographCallback()
    model.fit(*data, epochs=2, verbose=0, callbacks=callback)
    build().fit(*data, epochs=3, verbose=0, callbacks=callback)
    assert [run.summary("loss").count for run in store()] == [2, 3]


def test_two_of_them_record_once(store, model, data):
    model.fit(*data, epochs=2, verbose=0, callbacks=[TachographCallback(), TachographCallback()])
    [run] = store()
    assert run.summary("loss").count == 2


def test_in_the_users_run(store, model, data):
    with tachograph.start_run("mine") as mine:
        model.fit(*data, epochs=2, verbose=0, callbacks=[TachographCallback()])
        assert not mine.ended
    [run] = store()
    assert (run.id, run.summary("loss").count) == (mine.id, 2)


@pytest.mark.parametrize("count", [1, 2])
def test_with_autolog_no_point_comes_twice(model, data, count):
    with recorded("keras") as store:
        model.fit(*data, epochs=3, verbose=0, callbacks=[TachographCallback() for _ in range(count)])
        [run] = store.runs()
        assert {run.summary(name).count for name in run.metrics} == {3}
        assert run.params["epochs"] == 3
        assert len([one for one in run.artifacts if one.name == "model"]) == 1


def test_it_records_where_autolog_is_suppressed(model, data):
    with recorded("keras") as store, tachograph.suppress():
        model.fit(*data, epochs=2, verbose=0, callbacks=[TachographCallback()])
        [run] = store.runs()
        assert run.summary("loss").count == 2


class Fail(Callback):
    def on_epoch_end(self, epoch, logs=None):
        raise ValueError("no more")


def test_the_run_of_a_training_that_failed_is_ended_by_the_next(store, model, build, data):
    callback = TachographCallback()
    with pytest.raises(ValueError, match="no more"):
        model.fit(*data, epochs=2, verbose=0, callbacks=[callback, Fail()])
    build().fit(*data, epochs=2, verbose=0, callbacks=[callback])
    failed, finished = store()
    assert (failed.status, finished.status) == ("failed", "finished")
    assert [run.summary("loss").count for run in (failed, finished)] == [1, 2]


def test_the_same_model_after_a_training_that_failed_has_a_run_of_its_own(store, model, data):
    errors = []
    for others in ([Fail()], [Fail()], []):
        try:
            model.fit(*data, epochs=2, verbose=0, callbacks=[TachographCallback(), *others])
        except ValueError as error:
            errors.append(error)  # as a notebook keeps the last one, and with it the list of callbacks
    assert [(run.status, run.summary("loss").count) for run in store()] == [
        ("failed", 1),
        ("failed", 1),
        ("finished", 2),
    ]


def test_a_training_inside_of_another_leaves_its_run_alone(store, model, build, data):
    class Nested(Callback):
        def on_epoch_end(self, epoch, logs=None):
            build().fit(*data, verbose=0, callbacks=[TachographCallback()])

    model.fit(*data, epochs=2, verbose=0, callbacks=[TachographCallback(), Nested()])
    [run] = store()
    assert (run.status, run.summary("loss").count) == ("finished", 2)


def test_it_can_be_copied_and_sent(store, model, data):
    callback = TachographCallback()
    copies = []

    class Copy(Callback):
        def on_epoch_end(self, epoch, logs=None):
            copies.extend([copy.deepcopy(callback), pickle.loads(pickle.dumps(callback)), copy.copy(callback)])

    model.fit(*data, epochs=1, verbose=0, callbacks=[callback, Copy()])
    for twin in copies:
        assert type(twin) is TachographCallback
        assert twin.model is None
        twin.on_epoch_end(7, {"loss": 1.0})
    [run] = store()
    assert run.summary("loss").count == 1
    model.fit(*data, epochs=2, verbose=0, callbacks=copies[:1])
    assert store()[-1].summary("loss").count == 2


def test_switched_off(root, model, data, monkeypatch):
    monkeypatch.setenv("TACHOGRAPH_OFF", "1")
    model.fit(*data, verbose=0, callbacks=[TachographCallback()])
    assert not root.exists()


def test_a_loop_of_ones_own_around_a_list_of_callbacks(store, model, data):
    callbacks = keras.callbacks.CallbackList([TachographCallback()], model=model)
    callbacks.on_train_begin()
    for epoch in range(3):
        callbacks.on_epoch_begin(epoch)
        callbacks.on_epoch_end(epoch, model.train_on_batch(*data, return_dict=True))
    callbacks.on_train_end()
    [run] = store()
    assert run.history("loss").steps.tolist() == [0, 1, 2]
    assert run.status == "finished"


def test_a_fit_inside_of_such_a_loop_leaves_its_run_alone(store, model, build, data):
    callbacks = keras.callbacks.CallbackList([TachographCallback()], model=model)
    callbacks.on_train_begin()
    build().fit(*data, verbose=0, callbacks=[TachographCallback()])
    callbacks.on_epoch_end(0, {"loss": 1.0})
    callbacks.on_train_end()
    [run] = store()
    assert (run.status, run.summary("loss").count) == ("finished", 1)
