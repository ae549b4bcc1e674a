"""Data that comes in batches: described by what it says of itself, and never read by us."""

from __future__ import annotations

import keras
import numpy as np
import pytest

from tachograph_frameworks.keras import data as keras_data


class Batches(keras.utils.PyDataset):
    def __init__(self, x, y):
        super().__init__()
        self.x, self.y, self.read = x, y, 0

    def __len__(self):
        return 3

    def __getitem__(self, place):
        self.read += 1
        return self.x[place * 32 : place * 32 + 32], self.y[place * 32 : place * 32 + 32]


def test_a_dataset_of_keras(store, model, build, data):
    plain, given = Batches(*data), Batches(*data)
    build().fit(plain, epochs=1, verbose=0)
    before = plain.read
    model.fit(given, epochs=1, verbose=0)
    run = store.run("latest")
    assert given.read == before
    [found] = run.datasets
    assert (found.name, found.rows, found.digest) == ("train", None, "")
    assert found.profile["format"].endswith(".Batches")
    assert run.params["steps_per_epoch"] == 3
    assert "batch_size" not in run.params


def test_a_loader_of_torch(store, model, data):
    torch = pytest.importorskip("torch")
    tensors = torch.utils.data.TensorDataset(*map(torch.as_tensor, data))
    loader = torch.utils.data.DataLoader(tensors, batch_size=16)
    model.fit(loader, validation_data=loader, verbose=0)
    run = store.run("latest")
    found = {one.name: one for one in run.datasets}
    assert {name: one.rows for name, one in found.items()} == {"train": 96, "validation": 96}
    assert [column["dtype"] for column in found["train"].profile["schema"]] == ["float32 [4]", "int32 []"]
    assert run.params["batch_size"] == 16


def test_a_pipeline_of_tensorflow(store, model, data):
    tf = pytest.importorskip("tensorflow")
    pipeline = tf.data.Dataset.from_tensor_slices(data).batch(16)
    model.fit(pipeline, verbose=0)
    [found] = store.run("latest").datasets
    assert found.rows is None
    assert [column["dtype"] for column in found.profile["schema"]] == ["float32 [4]", "int32 []"]


def test_tensors_of_tensorflow(store, model, data):
    tf = pytest.importorskip("tensorflow")
    model.fit(*map(tf.constant, data), verbose=0)
    [found] = store.run("latest").datasets
    assert (found.rows, found.columns) == (96, 4)
    assert found.digest


def test_a_generator_is_not_touched(store, model, data):
    def batches():
        while True:
            yield data

    model.fit(batches(), steps_per_epoch=2, epochs=1, verbose=0)
    run = store.run("latest")
    assert [one.rows for one in run.datasets] == [None]
    assert run.params["steps_per_epoch"] == 2


def test_several_targets_and_inputs_in_lists(store, data):
    first, second = keras.Input((4,)), keras.Input((4,))
    model = keras.Model([first, second], [keras.layers.Dense(1)(first), keras.layers.Dense(1)(second)])
    model.compile("sgd", ["mse", "mae"])
    X, y = data
    history = model.fit([X, X], [y, np.zeros(96)], verbose=0).history
    run = store.run("latest")
    assert sorted(one.name for one in run.datasets) == ["train.0", "train.1", "train.target.0", "train.target.1"]
    assert {name: run.metrics[name] for name in history} == {name: values[0] for name, values in history.items()}
    assert run.params["loss"] == ["mse", "mae"]


def test_the_batch_size_of_a_pipeline_of_tensorflow():
    tf = pytest.importorskip("tensorflow")
    rows = tf.data.Dataset.from_tensor_slices((np.ones((40, 3)), np.ones(40)))
    assert keras_data.batch_size(rows.shuffle(9).batch(8).map(lambda x, y: (x, y)).cache().prefetch(2), 32) == 8
    assert keras_data.batch_size(rows.batch(8, drop_remainder=True).repeat(2), 32) == 8
