"""What recording costs a training of 200 rounds: its points, model, importances and the profile of its data."""

from __future__ import annotations

import statistics
import time

import numpy as np
import pytest
import xgboost

import tachograph

ROUNDS = 200
REPETITIONS = 11


def seconds(data, rounds=ROUNDS):
    params = {"objective": "binary:logistic", "nthread": 1, "max_depth": 5, "tree_method": "hist"}
    started = time.thread_time()  # of this thread: other programs on the machine don't count
    xgboost.train(params, data, rounds, evals=[(data, "train")], verbose_eval=False)
    return time.thread_time() - started


def matrix(rows):
    rng = np.random.default_rng(0)
    X = rng.normal(size=(rows, 20)).astype("float32")
    return xgboost.DMatrix(X, label=(X[:, 0] + rng.normal(size=rows) > 0).astype(int), nthread=1)


def compared(data):
    plain, recorded = [], []
    for _ in range(REPETITIONS + 1):
        plain.append(seconds(data))
        with tachograph.autolog("xgboost", system=False):
            recorded.append(seconds(data))
    return statistics.median(plain[1:]), statistics.median(recorded[1:])  # the first ones import and fill caches


@pytest.fixture(autouse=True)
def store(tmp_path, monkeypatch):
    monkeypatch.setenv("TACHOGRAPH_DIR", str(tmp_path))


@pytest.mark.benchmark
def test_two_hundred_rounds():
    plain, recorded = compared(matrix(60_000))
    print(f"{plain:.3f} s alone, {recorded:.3f} s recorded: {recorded / plain:.4f}")
    assert plain > 0.3
    assert recorded / plain < 1.03


@pytest.mark.benchmark
def test_tiny_rounds():
    plain, recorded = compared(matrix(50))
    print(f"{(recorded - plain) / ROUNDS * 1e3:.4f} ms a round")
    assert (recorded - plain) / ROUNDS < 1e-3
