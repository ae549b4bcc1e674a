"""What is remembered of matrices: what they don't store is missing; nothing is made dense; the cost is bounded."""

from __future__ import annotations

import tracemalloc

import numpy as np
import pandas as pd
import pytest
import xgboost
from scipy import sparse

import tachograph
from tachograph_frameworks.xgboost import data as matrices


@pytest.fixture
def autolog():
    with tachograph.autolog("xgboost", system=False) as handle:
        yield handle


def train(data, **arguments):
    xgboost.train({"nthread": 1, "max_depth": 2, "tree_method": "hist"}, data, 1, verbose_eval=False, **arguments)


def test_rows_columns_and_labels(autolog, store, train_data, test_data):
    train(train_data, evals=[(train_data, "fit"), (test_data, "held_out")])
    found = store.run.datasets
    assert {name: data.role for name, data in found.items()} == {"train": "train", "held_out": "validation"}
    data = found["train"]
    assert (data.rows, data.columns) == (160, 5)
    assert data.digest.startswith("sha256:")
    assert data.profile["format"] == "xgboost.DMatrix"
    assert set(data.profile["classes"]) == {"0", "1"}
    assert data.digest != found["held_out"].digest


def test_what_is_not_stored_is_missing_not_zero(autolog, store, X, y):
    X[:, 3] = 0.0
    train(xgboost.DMatrix(X, label=y))
    columns = store.run.datasets["train"].profile["schema"]
    assert columns[4]["missing"] == np.isnan(X[:, 4]).sum()
    assert columns[4]["mean"] == pytest.approx(np.nanmean(X[:, 4]), abs=1e-6)
    assert columns[3].get("missing", 0) == 0
    assert columns[3]["zeros"] == 1.0


def test_unsorted_sparse_data(autolog, store):
    indices, values = np.array([2, 1, 0, 0, 1, 2]), np.array([3.0, 2.0, 1.0, 1.0, 2.0, 3.0])
    data = sparse.csr_matrix((values, indices, [0, 3, 6]), shape=(2, 3))
    train(xgboost.DMatrix(data, label=[0, 1]))
    assert [column["mean"] for column in store.run.datasets["train"].profile["schema"]] == [1.0, 2.0, 3.0]


def test_names_and_types(autolog, store, X, y):
    frame = pd.DataFrame(X, columns=["b", "a", "d", "c", "e"])
    frame["a"] = (frame["a"] > 0).astype(int)
    frame["c"] = pd.Series(np.where(frame["c"] > 0, "yes", "no"), dtype="category")
    data = xgboost.DMatrix(frame, label=y, enable_categorical=True)
    xgboost.train({"nthread": 1, "tree_method": "hist"}, data, 1)
    columns = store.run.datasets["train"].profile["schema"]
    assert [column["name"] for column in columns] == ["b", "a", "d", "c", "e"]
    assert [column["dtype"] for column in columns] == ["float", "int", "float", "c", "float"]
    assert columns[1]["max"] == 1.0


def test_the_digest_is_that_of_the_content(X, y, store):
    with tachograph.start_run() as run:
        matrices.register()
        for i, values in enumerate((X, X.copy(order="F"), sparse.csr_matrix(np.nan_to_num(X)), X + 1)):
            run.log_dataset(xgboost.DMatrix(values), name=str(i))
    digests = [data.digest for data in store.run.datasets.values()]
    assert digests[0] == digests[1] == digests[2]  # what is not stored is missing, in a sparse matrix too
    assert digests[3] != digests[0]


def test_quantized_data_is_described_not_read(autolog, store, X, y):
    train(xgboost.QuantileDMatrix(X, label=y))
    data = store.run.datasets["train"]
    assert (data.rows, data.columns, data.digest) == (240, 5, "")
    assert data.profile["density"] == pytest.approx(1 - np.isnan(X).mean())
    assert set(data.profile["classes"]) == {"0", "1"}
    assert store.run.status == "finished"


class Pages(xgboost.DataIter):
    """Data that comes in parts, and is kept in files."""

    def __init__(self, X, y, folder):
        self.parts, self.next_part = [(X[:120], y[:120]), (X[120:], y[120:])], 0
        super().__init__(cache_prefix=str(folder / "cache"))

    def next(self, input_data):
        if self.next_part == len(self.parts):
            return 0
        data, label = self.parts[self.next_part]
        input_data(data=data, label=label)
        self.next_part += 1
        return 1

    def reset(self):
        self.next_part = 0


@pytest.mark.parametrize("limit", [1000, 10**6])
def test_data_outside_of_memory_is_described_not_read(autolog, store, X, y, tmp_path, monkeypatch, limit):
    monkeypatch.setattr(matrices, "LIMIT", limit)
    data = xgboost.DMatrix(Pages(X, y, tmp_path))
    train(data)
    assert (store.run.datasets["train"].rows, store.run.datasets["train"].digest) == (240, "")
    assert store.run.status == "finished"


def test_survival_bounds_are_the_target(autolog, store, X):
    data = xgboost.DMatrix(X)
    data.set_float_info("label_lower_bound", np.full(len(X), 1.0))
    data.set_float_info("label_upper_bound", np.full(len(X), 3.0))
    xgboost.train({"nthread": 1, "objective": "survival:aft"}, data, 1)
    target = store.run.datasets["train"].profile["target"]
    assert [column["mean"] for column in target] == [1.0, 3.0]


def test_several_outputs_are_several_targets(autolog, store, X, y):
    data = xgboost.DMatrix(X, label=np.column_stack([y, y + 1.0]))
    xgboost.train({"nthread": 1, "tree_method": "hist"}, data, 1)
    assert len(store.run.datasets["train"].profile["target"]) == 2


def test_groups(autolog, store, X, y):
    data = xgboost.DMatrix(X, label=y)
    data.set_group([100, 140])
    data.set_weight([1.0, 2.0])
    xgboost.train({"nthread": 1, "objective": "rank:pairwise"}, data, 1)
    assert store.run.datasets["train"].digest


def test_no_data_where_none_is_wanted(store, train_data):
    with tachograph.autolog("xgboost", system=False, datasets=False):
        train(train_data)
    assert store.run.datasets == {}


def test_wide_sparse_data_is_not_made_dense(store):
    rng = np.random.default_rng(0)
    stored = 100_000
    places = (rng.integers(20_000, size=stored), rng.integers(50_000, size=stored))
    wide = sparse.csr_matrix((np.ones(stored, np.float32), places), shape=(20_000, 50_000))
    data = xgboost.DMatrix(wide, label=np.arange(20_000) % 2)
    with tachograph.start_run() as run:
        matrices.record(run, data, "warm", "train")
        tracemalloc.start()
        matrices.record(run, data, "train", "train")
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
    assert peak < 100e6  # as an array it would be 4 GB
    found = store.run.datasets["train"]
    assert (found.rows, found.columns) == (20_000, 50_000)
    assert found.profile["omitted"] == 49_000
    assert found.digest == store.run.datasets["warm"].digest


def test_large_data_is_sampled(store):
    matrices.register()  # as the plug-in does
    rng = np.random.default_rng(0)
    data = xgboost.DMatrix(rng.normal(size=(120_000, 60)).astype("float32"), nthread=1)
    with tachograph.start_run() as run:
        tracemalloc.start()
        matrices.record(run, data, "train", "train")
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
    assert peak < 60e6
    sampled = store.run.datasets["train"].profile["sampled"]
    assert sampled["rows"] == 10_000
    assert sampled["rows_total"] == 120_000
    assert sampled["bytes"] < 40e6 < sampled["bytes_total"]


def test_the_matrix_stays_as_it_is(autolog, X, y):
    data = xgboost.DMatrix(X, label=y, weight=np.ones(len(y)), feature_names=list("abcde"))
    before = (data.get_data().toarray(), data.get_label(), data.get_weight(), data.feature_names, data.feature_types)
    train(data)
    after = (data.get_data().toarray(), data.get_label(), data.get_weight(), data.feature_names, data.feature_types)
    for one, two in zip(before, after, strict=True):
        np.testing.assert_array_equal(one, two)
