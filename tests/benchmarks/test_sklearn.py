"""What recording adds to a fit: with and without autolog in turn, in one process, everything on and the model kept."""

from __future__ import annotations

import time
from collections.abc import Callable
from statistics import median
from typing import Any

import numpy as np
import pytest
from sklearn.datasets import load_breast_cancer
from sklearn.linear_model import LogisticRegression, SGDClassifier
from sklearn.model_selection import GridSearchCV

import tachograph

pytestmark = [pytest.mark.benchmark, pytest.mark.filterwarnings("ignore")]

X, y = load_breast_cancer(return_X_y=True)


def one() -> None:
    LogisticRegression(max_iter=100).fit(X, y)


def twenty() -> None:
    GridSearchCV(LogisticRegression(max_iter=1000), {"C": [0.1, 1.0, 10.0, 100.0]}, cv=5).fit(X, y)


def seconds(work: Callable[[], Any]) -> float:
    started = time.perf_counter()
    work()
    return time.perf_counter() - started


def in_turn(work: Callable[[], Any], rounds: int) -> list[tuple[float, float]]:
    """Seconds with and without autolog, round by round."""
    work()
    found = []
    for _ in range(rounds):
        with tachograph.autolog():
            recorded = seconds(work)
        found.append((recorded, seconds(work)))
    return found


def test_a_fit(capsys: pytest.CaptureFixture[str]) -> None:
    pairs = in_turn(one, 25)
    added = median(recorded - plain for recorded, plain in pairs)
    with capsys.disabled():
        print(f"\nLogisticRegression: {median(plain for _, plain in pairs):.4f} s, recording adds {added * 1e3:.1f} ms")
    assert added < 0.025


def test_a_search(capsys: pytest.CaptureFixture[str]) -> None:
    pairs = in_turn(twenty, 9)
    ratio = median(recorded / plain for recorded, plain in pairs)
    with capsys.disabled():
        print(f"\nGridSearchCV, 20 fits: {median(plain for _, plain in pairs):.3f} s, ratio {ratio:.3f}")
    assert ratio < 1.05


def stream() -> float:
    """Seconds of 400 calls of ``partial_fit`` after the first one."""
    many = np.random.default_rng(0).normal(size=(100, 2000))
    labels = (many[:, 0] > 0).astype(int)
    model = SGDClassifier(random_state=0).partial_fit(many, labels, classes=[0, 1])
    return seconds(lambda: [model.partial_fit(many, labels) for _ in range(400)])


def test_a_stream(capsys: pytest.CaptureFixture[str]) -> None:
    stream()
    pairs = []
    for _ in range(9):
        with tachograph.autolog():
            recorded = stream()
        pairs.append((recorded, stream()))
    plain = median(plain for _, plain in pairs)
    added = median(recorded - plain for recorded, plain in pairs)
    with capsys.disabled():
        print(f"\n400 calls of partial_fit: {plain * 1e3:.0f} ms, recording adds {added * 1e3:.1f} ms")
    assert added < max(0.03 * plain, 0.01)
