"""Describing data must cost little beside what a training does with it, and must not grow with the data."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable

import numpy as np
import pytest

from tachograph.data.describe import fingerprint

pytestmark = pytest.mark.benchmark


def fastest(action: Callable[[], object], times: int) -> float:
    """Seconds of the fastest of several calls."""
    found = []
    for _ in range(times):
        start = time.perf_counter()
        action()
        found.append(time.perf_counter() - start)
    return min(found)


def test_large_data_costs_a_few_times_the_hash_alone() -> None:
    X = np.random.default_rng(0).normal(size=(1_000_000, 50))
    y = (X[:, 0] > 0).astype(np.int64)
    hashed = X[:80_000]  # 32 MB
    alone = fastest(lambda: hashlib.sha256(hashed.data.cast("B")), 5)
    assert fastest(lambda: fingerprint(X, target=y), 5) < 5 * alone


def test_cost_does_not_grow_with_the_data() -> None:
    large = fastest(lambda: fingerprint(np.broadcast_to(1.0, (10**6, 50))), 5)
    huge = fastest(lambda: fingerprint(np.broadcast_to(1.0, (10**9, 50))), 5)
    assert huge < 2 * large


def test_small_data_costs_little_beside_the_smallest_fit() -> None:
    linear_model = pytest.importorskip("sklearn.linear_model")
    X = np.random.default_rng(0).normal(size=(569, 30))
    y = (X[:, 0] > 0).astype(int)
    fit = fastest(lambda: linear_model.LogisticRegression().fit(X, y), 20)
    assert fastest(lambda: fingerprint(X, target=y), 50) < fit
