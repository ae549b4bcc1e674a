"""Fitted estimators that are kept: what is loaded predicts the same, and says what it takes and gives."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from sklearn.cluster import KMeans
from sklearn.ensemble import RandomForestClassifier
from sklearn.linear_model import LinearRegression, LogisticRegression
from sklearn.model_selection import GridSearchCV, KFold
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer, StandardScaler

import tachograph
from tachograph.store.artifacts import Artifact

X = np.arange(40.0).reshape(20, 2) % 7
y = (X[:, 0] > 3).astype(int)


def kept(estimator: Any, *data: Any, **options: Any) -> Artifact:
    with tachograph.autolog("sklearn", system=False, **options):
        estimator.fit(*data)
    return tachograph.open_store().runs()[-1].artifact("model")


@pytest.mark.parametrize(
    "estimator",
    [LogisticRegression(), make_pipeline(StandardScaler(), LogisticRegression()), RandomForestClassifier(5)],
    ids=["one", "pipeline", "forest"],
)
def test_what_is_loaded_predicts_the_same(root: Path, estimator: Any) -> None:
    found = kept(estimator, X, y)
    with pytest.raises(tachograph.Error, match=r"load\(trusted=True\)"):
        found.load()
    loaded = found.load(trusted=True)
    assert np.array_equal(loaded.predict_proba(X), estimator.predict_proba(X))
    assert found.meta["signature"] == {
        "inputs": {"data": {"shape": [None, 2], "dtype": "float64"}},
        "outputs": {"prediction": {"shape": [None], "dtype": "int64", "classes": [0, 1]}},
    }
    assert found.meta["example"] == X[:5].tolist()


def test_columns_of_a_frame(root: Path) -> None:
    frame = pd.DataFrame({"age": [1, 2, 3], "api_key": [7.0, 8.0, 9.0]})
    found = kept(LinearRegression(), frame, np.ones((3, 2)))
    assert found.meta["signature"] == {
        "inputs": {"age": {"shape": [None], "dtype": "int64"}, "api_key": {"shape": [None], "dtype": "float64"}},
        "outputs": {"prediction": {"shape": [None, 2], "dtype": "float64"}},
    }
    assert found.meta["example"] == [{"age": age, "api_key": "[redacted]"} for age in (1, 2, 3)]


def test_clusters(root: Path) -> None:
    found = kept(KMeans(2, n_init=1), X)
    assert found.meta["signature"]["outputs"] == {"prediction": {"shape": [None], "dtype": "int32"}}


def test_no_row_is_recorded_where_data_is_not_wanted(root: Path) -> None:
    found = kept(LogisticRegression(), X + 0.123456, y, datasets=False)
    assert "example" not in found.meta
    assert found.meta["signature"] == {
        "inputs": {"data": {"shape": [None, 2], "dtype": "float64"}},
        "outputs": {"prediction": {"shape": [None], "dtype": "int64"}},
    }
    journals = b"".join(path.read_bytes() for path in root.rglob("*.jsonl"))
    assert b"123456" not in journals


def test_an_example_is_bounded(root: Path) -> None:
    wide = np.random.default_rng(0).random((20, 300))
    assert "example" not in kept(LogisticRegression(), wide, y).meta
    texts = pd.DataFrame({"text": ["x" * 3000] * 20, "number": X[:, 0]})
    found = kept(make_pipeline(Count(), LogisticRegression()), texts, y)
    assert len(json.dumps(found.meta)) < 6000


class Count(StandardScaler):
    """Takes texts by their length."""

    def fit(self, X: Any, y: Any = None, sample_weight: Any = None) -> Any:
        return super().fit(self._numbers(X), y)

    def transform(self, X: Any, copy: Any = None) -> Any:
        return super().transform(self._numbers(X))

    def fit_transform(self, X: Any, y: Any = None, **params: Any) -> Any:
        return self.fit(X, y).transform(X)

    @staticmethod
    def _numbers(X: Any) -> Any:
        return np.column_stack([X["text"].str.len(), X["number"]])


def test_a_pipeline_with_a_lambda_is_kept(root: Any) -> None:
    pytest.importorskip("cloudpickle")
    with tachograph.autolog("sklearn", system=False):
        model = make_pipeline(FunctionTransformer(lambda data: data * 2), LogisticRegression(max_iter=50)).fit(X, y)
    [run] = tachograph.open_store().runs()
    with pytest.raises(tachograph.Error, match="trusted"):
        run.artifact("model").load()
    loaded = run.artifact("model").load(trusted=True)
    np.testing.assert_array_equal(loaded.predict(X), model.predict(X))
    assert not run.notes


def test_a_search_that_does_not_refit_has_no_model(root: Any) -> None:
    with tachograph.autolog("sklearn", system=False):
        folds = ((train, test) for train, test in KFold(2).split(X))
        GridSearchCV(LogisticRegression(max_iter=50), {"C": [0.1, 1]}, refit=False, cv=folds).fit(X, y)
    [run] = tachograph.open_store().runs()
    assert [artifact.name for artifact in run.artifacts] == ["cv_results"]
    assert not run.notes
