"""What goes into a model: names, shapes and dtypes of all that people train on."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from tachograph.data.signature import classes, example, signature

pd = pytest.importorskip("pandas")
sparse = pytest.importorskip("scipy.sparse")


def test_arrays() -> None:
    assert signature(np.zeros((3, 4, 5), np.float32)) == {"data": {"shape": [None, 4, 5], "dtype": "float32"}}
    assert signature(np.zeros(3)) == {"data": {"shape": [None], "dtype": "float64"}}
    assert signature(np.float64(1)) == {"data": {"shape": [], "dtype": "float64"}}


def test_several() -> None:
    array = np.zeros((2, 3), np.int32)
    field = {"shape": [None, 3], "dtype": "int32"}
    assert signature({"ids": array, "mask": array}) == {"ids": field, "mask": field}
    assert signature((array, {"x": array})) == {"0": field, "x": field}


@pytest.mark.parametrize("package", ["pandas", "polars"])
def test_frames(package: str) -> None:
    frame = pytest.importorskip(package).DataFrame({"a": [1, 2], "b": ["x", "y"], "password": ["p", "q"]})
    found = signature(frame)
    assert list(found) == ["a", "b", "password"]
    assert found["a"]["dtype"].lower() == "int64"
    assert example(frame) == [
        {"a": 1, "b": "[str of 1 characters]", "password": "[redacted]"},
        {"a": 2, "b": "[str of 1 characters]", "password": "[redacted]"},
    ]


@pytest.mark.parametrize("package", ["pandas", "polars"])
def test_of_texts_an_example_shows_categories_only(package: str) -> None:
    names = [f"Ann Lee {i}" for i in range(40)]
    frame = pytest.importorskip(package).DataFrame({"who": names, "town": ["Ulm", "Bonn"] * 20, "email": names})
    assert (example(frame) or [])[:2] == [
        {"who": "[str of 9 characters]", "town": "Ulm", "email": "[redacted]"},
        {"who": "[str of 9 characters]", "town": "Bonn", "email": "[redacted]"},
    ]
    array = np.array([names, ["Ulm", "Bonn"] * 20], dtype=object).T
    assert (example(array) or [])[1] == ["[str of 9 characters]", "Bonn"]


def test_classes_are_named_where_they_repeat() -> None:
    names = np.array([f"Ann Lee {i}" for i in range(40)])
    assert classes(names, names) is None
    assert classes(names[:2], np.tile(names[:2], 5)) == ["Ann Lee 0", "Ann Lee 1"]
    assert classes(np.arange(10), np.arange(3)) == list(range(10))
    assert classes(names[:2], pd.Series(np.tile(names[:2], 5), name="password")) is None
    assert classes(np.arange(3), sparse.csr_matrix(np.eye(3, dtype=int))) == [0, 1, 2]


def test_what_a_dtype_lists_is_left_out() -> None:
    polars = pytest.importorskip("polars")
    frame = polars.DataFrame({"who": polars.Series(["ann lee"], dtype=polars.Enum(["ann lee"]))})
    assert signature(frame)["who"]["dtype"] == "Enum"


def test_tensors() -> None:
    torch = pytest.importorskip("torch")
    assert signature(torch.zeros(2, 3)) == {"data": {"shape": [None, 3], "dtype": "float32"}}


def test_sparse_matrices() -> None:
    sparse = pytest.importorskip("scipy.sparse")
    assert signature(sparse.eye(3, format="csr")) == {"data": {"shape": [None, 3], "dtype": "float64"}}
    assert example(sparse.eye(3, format="csr")) is None


@pytest.mark.parametrize("data", [None, [], [1, 2], "text", object(), [[1, 2], [3, 4]]])
def test_what_says_nothing_of_itself(data: Any) -> None:
    assert signature(data) == {}
    assert example(data) is None


def test_bounds() -> None:
    assert len(signature([np.zeros(2)] * 1000)) == 1000
    assert signature([np.zeros(2)] * 1001) == {}
    assert len(signature({str(n): np.zeros(2) for n in range(5000)})) == 1000
    assert len(example(np.zeros((100, 3))) or []) == 5
    assert example(np.zeros((100, 51))) is None
    assert example(np.full((5, 1), 10**1000, dtype=object)) is None


def test_numbers_that_are_not_finite() -> None:
    assert example(np.array([[np.nan, np.inf]])) == [[{"$float": "NaN"}, {"$float": "Infinity"}]]
