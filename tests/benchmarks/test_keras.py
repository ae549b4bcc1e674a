"""What recording costs a Keras training of five epochs: its points, data and summary; and, apart, its model."""

from __future__ import annotations

import os

os.environ.setdefault("KERAS_BACKEND", "torch")

import statistics
import time

import keras
import pytest
from sklearn.datasets import load_digits

import tachograph

EPOCHS = 5
REPETITIONS = 7
X, y = load_digits(return_X_y=True)
X = (X / 16).astype("float32")


def seconds(batch_size, epochs=EPOCHS):
    keras.utils.clear_session()
    keras.utils.set_random_seed(0)
    dense = [keras.layers.Dense(128, activation="relu") for _ in range(3)]
    model = keras.Sequential([keras.Input((64,)), *dense, keras.layers.Dense(10, activation="softmax")])
    model.compile("adam", "sparse_categorical_crossentropy", metrics=["accuracy"])
    started = time.perf_counter()
    model.fit(X, y, batch_size=batch_size, epochs=epochs, validation_split=0.1, verbose=0)
    return time.perf_counter() - started


def compared(models, **sizes):
    """Both trainings in turn, in one process: the median of their ratios, and of their differences in milliseconds."""
    ratios, differences, plains = [], [], []
    for _ in range(REPETITIONS + 1):
        plain = seconds(**sizes)
        with tachograph.autolog("keras", system=False, models=models):
            recorded = seconds(**sizes)
        ratios.append(recorded / plain)
        differences.append(1e3 * (recorded - plain))
        plains.append(plain)
    found = [statistics.median(values[1:]) for values in (plains, ratios, differences)]  # the first ones fill caches
    print(f"models={models}: {found[0]:.3f} s alone, ratio {found[1]:.4f}, {found[2]:.1f} ms more")
    return found


@pytest.fixture(autouse=True)
def store(tmp_path, monkeypatch):
    monkeypatch.setenv("TACHOGRAPH_DIR", str(tmp_path))


@pytest.mark.benchmark
def test_a_training_of_some_seconds():
    plain, ratio, _ = compared(models=False, batch_size=8)
    assert plain > 1
    assert ratio < 1.03


@pytest.mark.benchmark
def test_what_does_not_grow_with_the_training():
    for models in (False, True):
        _, _, more = compared(models=models, batch_size=256, epochs=1)
        assert more < 150
