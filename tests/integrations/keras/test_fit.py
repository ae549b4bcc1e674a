"""What one ``fit`` leaves in its run."""

from __future__ import annotations

import keras
import numpy as np
import pytest

import tachograph


def curve(run, name):
    history = run.history(name)
    return dict(zip(history.steps.tolist(), history.values.tolist(), strict=True))


def test_each_epoch_is_one_point_of_each_name(store, model, data):
    history = model.fit(*data, epochs=4, validation_split=0.25, verbose=0).history
    run = store.run("latest")
    assert sorted(history) == ["accuracy", "loss", "val_accuracy", "val_loss"]
    for name, values in history.items():
        assert curve(run, name) == dict(enumerate(values)), name
    assert curve(run, "lr") == dict.fromkeys(range(4), pytest.approx(0.01))
    assert set(run.metrics) == {*history, "lr"}
    assert (run.status, run.name) == ("finished", model.name)
    assert tachograph.active_run() is None


def test_validation_is_at_its_own_epochs(store, model, data):
    model.fit(*data, epochs=5, validation_data=data, validation_freq=2, verbose=0)
    run = store.run("latest")
    assert list(curve(run, "val_loss")) == [1, 3]
    assert list(curve(run, "loss")) == [0, 1, 2, 3, 4]


def test_the_first_epoch_is_the_users(store, model, data):
    model.fit(*data, epochs=7, initial_epoch=5, verbose=0)
    run = store.run("latest")
    assert list(curve(run, "loss")) == [5, 6]
    assert (run.params["initial_epoch"], run.params["epochs"]) == (5, 7)


def test_the_arguments_are_parameters(store, model, data):
    model.fit(*data, 16, 2, 0, validation_split=0.5, class_weight={0: 1.0, 1: 2.5}, shuffle=False)
    params = store.run("latest").params
    expected = {"batch_size": 16, "epochs": 2, "validation_split": 0.5, "class_weight.1": 2.5, "shuffle": False}
    assert expected.items() <= params.items()
    assert params["steps_per_epoch"] == 3


def test_what_was_compiled_is_in_the_parameters(store, build, data):
    model = build(
        optimizer=keras.optimizers.SGD(0.1, momentum=0.9),
        loss=keras.losses.SparseCategoricalCrossentropy(from_logits=False),
        metrics=["accuracy", keras.metrics.SparseTopKCategoricalAccuracy(1)],
    )
    model.fit(*data, verbose=0)
    params = store.run("latest").params
    assert params["optimizer"] == "SGD"
    assert params["optimizer.momentum"] == pytest.approx(0.9)
    assert params["optimizer.learning_rate"] == pytest.approx(0.1)
    assert params["loss"] == "SparseCategoricalCrossentropy"
    assert params["metrics"] == ["accuracy", "SparseTopKCategoricalAccuracy"]
    assert params["dtype_policy"] == "float32"
    assert (params["run_eagerly"], params["steps_per_execution"]) == (False, 1)
    assert (params["total_params"], params["trainable_params"]) == (4 * 5 + 5 + 5 * 2 + 2, 37)
    assert params["batch_size"] == 32


def test_mixed_precision_is_in_the_parameters(store, data):
    keras.config.set_dtype_policy("mixed_bfloat16")
    try:
        model = keras.Sequential([keras.layers.Dense(1)])
        model.compile("sgd", "mse")
        model.fit(*data, verbose=0)
    finally:
        keras.config.set_dtype_policy("float32")
    assert store.run("latest").params["dtype_policy"] == "mixed_bfloat16"


def test_a_schedule_is_a_parameter_and_its_rate_a_curve(store, build, data):
    schedule = keras.optimizers.schedules.ExponentialDecay(0.5, decay_steps=3, decay_rate=0.1)
    build(optimizer=keras.optimizers.SGD(schedule)).fit(*data, epochs=2, verbose=0)  # three steps an epoch
    run = store.run("latest")
    assert run.params["optimizer.learning_rate"] == "ExponentialDecay"
    assert run.params["optimizer.learning_rate.decay_rate"] == 0.1
    assert curve(run, "lr") == {0: pytest.approx(0.05), 1: pytest.approx(0.005)}


def test_the_summary_is_kept(store, model, data):
    model.fit(*data, verbose=0)
    run = store.run("latest")
    text = run.artifact("summary").load()
    assert run.artifact("summary").kind == "summary"
    assert "Total params: 37" in text or "Total params: 113" in text  # newer versions count the optimizer's
    assert "dense" in text


def test_the_data_is_on_record(store, model, data):
    X, y = data
    model.fit(X, y, validation_data=(X[:20], y[:20], np.ones(20)), sample_weight=np.ones(96), verbose=0)
    run = store.run("latest")
    found = {one.name: one for one in run.datasets}
    assert {name: one.rows for name, one in found.items()} == {
        "train": 96, "train.sample_weight": 96, "validation": 20, "validation.sample_weight": 20,
    }  # fmt: skip
    assert found["train"].digest != found["validation"].digest
    assert found["train"].role == "train"
    assert run.params["sample_weight"] is True


def test_a_second_fit_is_a_run_of_its_own(store, model, data):
    model.fit(*data, epochs=2, verbose=0)
    model.fit(*data, epochs=3, verbose=0)
    counts = [run.summary("loss").count for run in store.runs(order_by="started")]
    assert counts == [2, 3]


def test_fits_in_the_users_run_add_to_it(store, model, build, data):
    with tachograph.start_run("mine") as mine:
        model.fit(*data, epochs=2, verbose=0)
        build().fit(*data, epochs=4, initial_epoch=2, verbose=0)
        assert not mine.ended
    [run] = store.runs(children=True)
    assert (run.id, list(curve(run, "loss"))) == (mine.id, [0, 1, 2, 3])


def test_evaluate_lands_on_the_models_run(store, build, data):
    first, second = build(), build()
    first.fit(*data, verbose=0)
    second.fit(*data, verbose=0)
    loss, accuracy = first.evaluate(*data, verbose=0)
    again = first.evaluate(data[0][:9], data[1][:9], return_dict=True, verbose=0)
    first.predict(data[0], verbose=0)
    runs = store.runs(order_by="started")
    assert curve(runs[0], "evaluate_loss") == {0: loss, 1: again["loss"]}
    assert curve(runs[0], "evaluate_accuracy")[0] == accuracy
    assert "evaluate_loss" not in runs[1].metrics
    assert [run.status for run in runs] == ["finished", "finished"]


def test_evaluate_in_the_users_run(store, model, data):
    with tachograph.start_run("mine"):
        loss, _ = model.evaluate(*data, verbose=0)
    assert store.run("latest").metrics["evaluate_loss"] == loss


def test_what_is_no_training_makes_no_run(store, model, data):
    for _ in range(3):
        model.train_on_batch(*data)
    model.evaluate(*data, verbose=0)
    model.predict(data[0], verbose=0)
    assert list(store.runs()) == []


class Broken(keras.callbacks.Callback):
    def __init__(self, error):
        super().__init__()
        self.error = error

    def on_epoch_end(self, epoch, logs=None):
        if epoch == 1:
            raise self.error


@pytest.mark.parametrize(("error", "status"), [(ValueError("no more"), "failed"), (KeyboardInterrupt(), "interrupted")])
def test_an_exception_ends_the_run_and_is_the_users_own(store, model, data, error, status):
    callbacks = keras.callbacks.CallbackList([Broken(error)], add_history=True, model=model)
    before = list(callbacks.callbacks)
    with pytest.raises(type(error)) as raised:
        model.fit(*data, epochs=3, callbacks=callbacks, verbose=0)
    assert raised.value is error
    run = store.run("latest")
    assert run.status == status
    assert run.history("loss").steps.tolist()[0] == 0
    assert callbacks.callbacks == before
    assert tachograph.active_run() is None


def test_an_epoch_is_recorded_before_it_is_known_how_the_training_ends(store, model, data):
    seen = []

    class Look(keras.callbacks.Callback):
        def on_epoch_begin(self, epoch, logs=None):
            assert tachograph.active_run() is not None
            seen.append(store.run("latest").metrics.get("loss"))

    history = model.fit(*data, epochs=3, callbacks=[Look()], verbose=0).history["loss"]
    assert seen == [None, *history[:2]]


def test_a_model_that_was_not_compiled(store, data):
    with pytest.raises(ValueError, match="compile"):
        keras.Sequential([keras.layers.Dense(1)]).fit(*data)
    assert store.run("latest").status == "failed"


def test_a_user_who_stops_the_training(store, model, data):
    class Stop(keras.callbacks.Callback):
        def on_epoch_end(self, epoch, logs=None):
            self.model.stop_training = epoch == 1

    model.fit(*data, epochs=9, callbacks=Stop(), verbose=0)
    run = store.run("latest")
    assert (run.status, list(curve(run, "loss"))) == ("finished", [0, 1])
    assert run.params["callbacks"] == ["Stop"]


def test_nothing_where_it_is_suppressed(store, model, data):
    with tachograph.suppress():
        model.fit(*data, verbose=0)
        model.evaluate(*data, verbose=0)
    assert list(store.runs()) == []
