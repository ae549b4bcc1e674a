"""The Keras plug-in keeps the promises, as ``tachograph.testing`` states them."""

from __future__ import annotations

import os

os.environ.setdefault("KERAS_BACKEND", "torch")

from typing import Any

import keras
import numpy as np
import pytest

from tachograph.testing import check_plugin

X = np.random.default_rng(0).normal(size=(64, 3)).astype("float32")


def compiled() -> Any:
    keras.utils.clear_session()
    keras.utils.set_random_seed(0)
    model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(1)])
    model.compile("sgd", "mse")
    return model


def fit() -> Any:
    return compiled().fit(X, X[:, 0], epochs=2, validation_split=0.25, verbose=0).history


def fit_with_callbacks_and_evaluate() -> Any:
    model = compiled()
    stop = keras.callbacks.EarlyStopping("loss", restore_best_weights=True)
    model.fit(X, X[:, 0], 16, 3, 0, [stop])
    return [model.evaluate(X, X[:, 0], verbose=0), *model.get_weights()]


@pytest.mark.parametrize("training", [fit, fit_with_callbacks_and_evaluate])
def test_keras(training: Any) -> None:
    check_plugin("tachograph_frameworks.keras", training)
