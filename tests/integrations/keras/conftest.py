"""A small training on the back end of the environment (torch where it names none), and what it recorded."""

from __future__ import annotations

import os

os.environ.setdefault("KERAS_BACKEND", "torch")
os.environ.setdefault("OMP_NUM_THREADS", "1")

from collections.abc import Callable, Iterator
from typing import Any

import keras
import numpy as np
import pytest

from tachograph.testing import recorded

Arrays = tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]


@pytest.fixture(autouse=True)
def _same_start() -> None:
    keras.utils.clear_session()
    keras.utils.set_random_seed(3)


@pytest.fixture
def store() -> Iterator[Any]:
    """The store, with autolog on."""
    with recorded("keras") as opened:
        yield opened


@pytest.fixture
def data() -> Arrays:
    X = np.random.default_rng(7).normal(size=(96, 4)).astype("float32")
    return X, (X[:, 0] > X[:, 1]).astype("int32")


@pytest.fixture
def model() -> Any:
    return small_model()


@pytest.fixture
def build() -> Callable[..., Any]:
    return small_model


def small_model(**compiled: Any) -> Any:
    made = keras.Sequential(
        [keras.Input((4,)), keras.layers.Dense(5, activation="relu"), keras.layers.Dense(2, activation="softmax")]
    )
    arguments = {"optimizer": keras.optimizers.Adam(0.01), "loss": "sparse_categorical_crossentropy"}
    made.compile(**{**arguments, "metrics": ["accuracy"], **compiled})
    return made
