"""All ways to write a model; models kept, and read back without running code."""

from __future__ import annotations

import json
import zipfile

import keras
import numpy as np
import pytest

from tachograph.errors import Error
from tachograph.testing import recorded
from tachograph_frameworks.keras import load_model


@keras.saving.register_keras_serializable("tests")
class Scale(keras.layers.Layer):
    def call(self, x):
        return 2.0 * x


class Unregistered(Scale):
    pass


@keras.saving.register_keras_serializable("tests")
class Written(keras.Model):
    """A subclass with a training step, and a ``fit``, of its own."""

    def __init__(self):
        super().__init__()
        self.dense = keras.layers.Dense(1)
        self.fits = 0

    def call(self, x):
        return self.dense(x)

    def fit(self, *args, **kwargs):
        self.fits += 1
        return super().fit(*args, **kwargs)

    def get_config(self):
        return {}


def functional():
    first, second = keras.Input((4,), name="a"), keras.Input((4,), name="b")
    outputs = keras.layers.Dense(1)(keras.layers.Concatenate()([first, second]))
    model = keras.Model({"a": first, "b": second}, outputs)
    model.compile("sgd", "mse")
    return model


def kept(run):
    artifact = run.artifact("model")
    return load_model(artifact.path(), artifact.meta)


def test_a_sequential_model_predicts_the_same(store, model, data):
    model.fit(*data, verbose=0)
    run = store.run("latest")
    assert np.array_equal(kept(run).predict(data[0], verbose=0), model.predict(data[0], verbose=0))
    artifact = run.artifact("model")
    assert (artifact.kind, artifact.filename) == ("model", "model.keras")
    assert artifact.meta["format"] == "keras"
    assert artifact.meta["class"] == f"{type(model).__module__}.Sequential"
    assert artifact.meta["keras"] == keras.__version__
    assert artifact.meta["backend"] == keras.backend.backend()
    [signature] = artifact.meta["inputs"]
    assert (signature["shape"], signature["dtype"]) == ([None, 4], "float32")
    assert artifact.meta["outputs"][0]["shape"] == [None, 2]


def test_a_reader_loads_it(store, model, data):
    model.fit(*data, verbose=0)
    loaded = store.run("latest").artifact("model").load()
    assert np.array_equal(loaded.predict(data[0], verbose=0), model.predict(data[0], verbose=0))


def test_a_model_of_two_inputs(store, data):
    model, inputs = functional(), {"a": data[0], "b": data[0] + 1}
    model.fit(inputs, data[1], verbose=0)
    run = store.run("latest")
    assert np.array_equal(kept(run).predict(inputs, verbose=0), model.predict(inputs, verbose=0))
    assert {one.name: one.rows for one in run.datasets} == {"train.a": 96, "train.b": 96, "train.target": 96}
    assert [one["name"] for one in run.artifact("model").meta["inputs"]] == ["a", "b"]


def test_a_subclass_with_a_fit_of_its_own(store, data):
    model = Written()
    model.compile("sgd", "mse")
    model.fit(*data, epochs=2, verbose=0)
    [run] = store.runs()
    assert (model.fits, run.summary("loss").count) == (1, 2)
    assert np.array_equal(kept(run).predict(data[0], verbose=0), model.predict(data[0], verbose=0))
    assert run.tags["model"] == "Written"


def test_a_training_step_of_ones_own(store, data):
    model = own_step()
    history = model.fit(*data, epochs=2, verbose=0).history
    run = store.run("latest")
    assert set(run.metrics) == {*history, "lr", "lr/second"}
    for name, values in history.items():  # before Keras 3.4 the metrics of the model, whatever the step gives
        assert run.history(name).values.tolist() == pytest.approx(values)
    assert run.params["second"] == "SGD"
    assert run.params["second.learning_rate"] == pytest.approx(0.5)


def own_step():
    kinds = {"torch": _torch_step, "jax": _jax_step, "tensorflow": _tensorflow_step}
    inputs = keras.Input((4,))
    model = kinds[keras.backend.backend()]()(inputs, keras.layers.Dense(1)(inputs))
    model.second = keras.optimizers.SGD(0.5)
    model.compile("sgd", "mse")
    return model


def _torch_step():
    class Own(keras.Model):
        def train_step(self, batch):
            x, y = batch[0], batch[1]
            self.zero_grad()
            loss = self.compute_loss(x=x, y=y, y_pred=self(x, training=True))
            loss.backward()
            weights = list(self.trainable_weights)
            self.optimizer.apply([weight.value.grad for weight in weights], weights)
            return {"my_loss": loss}

    return Own


def _jax_step():
    class Own(keras.Model):
        def train_step(self, state, batch):
            return (lambda logs, new: ({"my_loss": logs["loss"]}, new))(*super().train_step(state, batch))

    return Own


def _tensorflow_step():
    class Own(keras.Model):
        def train_step(self, batch):
            return {"my_loss": super().train_step(batch)["loss"]}

    return Own


def test_without_models_none_is_kept(model, data):
    with recorded("keras", models=False, datasets=False) as store:
        model.fit(*data, verbose=0)
        run = store.run("latest")
        assert [artifact.name for artifact in run.artifacts] == ["summary"]
        assert list(run.datasets) == []


def with_layer(layer):
    model = keras.Sequential([keras.Input((4,)), layer, keras.layers.Dense(1)])
    model.compile("sgd", "mse")
    return model


def test_a_registered_layer(store, data):
    model = with_layer(Scale())
    model.fit(*data, verbose=0)
    assert np.array_equal(kept(store.run("latest")).predict(data[0], verbose=0), model.predict(data[0], verbose=0))


def test_a_class_that_is_unknown_where_it_is_read(store, data):
    with_layer(Unregistered()).fit(*data, verbose=0)
    with pytest.raises(Error, match=r"needs .*Unregistered: import the module"):
        kept(store.run("latest"))
    with keras.saving.custom_object_scope({"Unregistered": Unregistered}):
        assert kept(store.run("latest")).layers


def test_a_lambda_is_not_run(store, data):
    with_layer(keras.layers.Lambda(lambda x: x + 1)).fit(*data, verbose=0)
    with pytest.raises(Error, match="holds a lambda, which brings code"):
        kept(store.run("latest"))


def test_code_that_a_file_names_is_not_run(store, model, data, tmp_path):
    model.fit(*data, verbose=0)
    for evil in (
        {"module": "os", "class_name": "system", "config": {"command": "true"}, "registered_name": None},
        {"module": "builtins", "class_name": "function", "config": "eval", "registered_name": "function"},
        {"module": "keras.utils", "class_name": "function", "config": "get_file", "registered_name": "function"},
        {"module": "subprocess", "class_name": "function", "config": "run", "registered_name": "function"},
        {"module": "keras.layers", "class_name": "TorchModuleWrapper", "config": {}, "registered_name": None},
    ):
        path = tmp_path / "evil.keras"
        _with_activation(store.run("latest").artifact("model").path(), path, evil)
        with pytest.raises(Error):
            load_model(path, {})


def _with_activation(source, target, activation):
    with zipfile.ZipFile(source) as old, zipfile.ZipFile(target, "w") as new:
        for name in old.namelist():
            content = old.read(name)
            if name == "config.json":
                config = json.loads(content)
                config["config"]["layers"][1]["config"]["activation"] = activation
                content = json.dumps(config).encode()
            new.writestr(name, content)


def test_what_is_no_model(tmp_path):
    (tmp_path / "model.keras").write_text("no")
    with pytest.raises(Error, match="no model of Keras"):
        load_model(tmp_path / "model.keras", {})


class NoConfig(keras.layers.Layer):
    def __init__(self, size):
        super().__init__()
        self.dense = keras.layers.Dense(size)

    def build(self, shape):
        self.dense.build(shape)

    def call(self, x):
        return self.dense(x)

    def get_config(self):
        raise NotImplementedError("no config")


def test_a_model_that_can_t_be_saved_leaves_a_remark(store, data):
    with_layer(NoConfig(3)).fit(*data, epochs=2, verbose=0)
    run = store.run("latest")
    assert run.status == "finished"
    assert len([note for note in run.notes if "the model was not kept: Sequential can't be saved" in note.text]) == 1
    assert "model" not in [artifact.name for artifact in run.artifacts]


class OnlyTrained(keras.src.trainers.trainer.Trainer, keras.layers.Layer):
    """What Keras's own tests do: a layer with a trainer, which is no model."""


def test_a_layer_with_a_trainer_is_no_model(store, data):
    trainer = next(owner for owner in keras.Model.__mro__ if "fit" in vars(owner))
    kind = type("Trained", (trainer, OnlyTrained), {"__init__": _init_trained, "call": lambda self, x: self.dense(x)})
    model = kind()
    model(data[0][:1])  # not every back end builds one of these before it trains
    model.compile("sgd", "mse")
    model.fit(*data, epochs=2, verbose=0)
    run = store.run("latest")
    assert (run.status, run.summary("loss").count, run.params["total_params"]) == ("finished", 2, 5)


def _init_trained(self):
    trainer = next(owner for owner in keras.Model.__mro__ if "fit" in vars(owner))
    trainer.__init__(self)
    keras.layers.Layer.__init__(self)
    self.dense = keras.layers.Dense(1)


def my_loss(truth, predicted):
    return keras.ops.mean(keras.ops.square(truth - predicted))


def test_a_loss_of_the_users_that_is_missing_is_named(store, build, data):
    build(loss=my_loss, metrics=[]).fit(data[0], np.ones((96, 2)), verbose=0)
    with pytest.raises(Error, match="needs my_loss: import the module that registers it"):
        store.run("latest").artifact("model").load()
