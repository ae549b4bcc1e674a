"""The training metrics are those of ``sklearn.metrics``."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy.sparse import csr_matrix
from sklearn import metrics
from sklearn.datasets import make_multilabel_classification
from sklearn.linear_model import LogisticRegression
from sklearn.multiclass import OneVsRestClassifier
from sklearn.multioutput import ClassifierChain

import tachograph
from tachograph_frameworks.sklearn import training_metrics

ROWS = st.shared(st.integers(2, 40), key="rows")
WEIGHTS = ROWS.flatmap(lambda rows: st.none() | arrays(float, rows, elements=st.floats(0.1, 5)))


def labels(most: int) -> Any:
    return ROWS.flatmap(lambda rows: arrays(int, rows, elements=st.integers(0, most)))


@settings(deadline=None)
@given(labels(1), labels(1), WEIGHTS)
def test_two_classes(truth: Any, predicted: Any, weights: Any) -> None:
    if len(np.unique(np.r_[truth, predicted])) < 2:
        return
    found = training_metrics._classification(truth, predicted, weights)
    assert found["accuracy"] == pytest.approx(metrics.accuracy_score(truth, predicted, sample_weight=weights))
    for name, function in {"f1": metrics.f1_score, "recall": metrics.recall_score}.items():
        expected = function(truth, predicted, sample_weight=weights, zero_division=0)
        assert found[name] == pytest.approx(expected)


@settings(deadline=None)
@given(labels(4), labels(4), WEIGHTS)
def test_many_classes(truth: Any, predicted: Any, weights: Any) -> None:
    if len(np.unique(np.r_[truth, predicted])) < 3:
        return
    found = training_metrics._classification(truth, predicted, weights)
    for name in ("precision", "recall", "f1"):
        function = getattr(metrics, f"{name}_score")
        expected = function(truth, predicted, sample_weight=weights, average="weighted", zero_division=0)
        assert found[name] == pytest.approx(expected)


@settings(deadline=None)
@given(
    labels(1),
    ROWS.flatmap(lambda rows: arrays(float, rows, elements=st.floats(0, 1).map(lambda p: round(p, 1)))),
    WEIGHTS,
)
def test_the_area_under_the_roc_curve(truth: Any, scores: Any, weights: Any) -> None:
    if 0 < truth.sum() < len(truth):
        expected = metrics.roc_auc_score(truth, scores, sample_weight=weights)
        assert training_metrics._roc_auc(truth == 1, scores, weights) == pytest.approx(expected)


@settings(deadline=None)
@given(*[ROWS.flatmap(lambda rows: arrays(float, rows, elements=st.floats(-100, 100)))] * 2, WEIGHTS)
def test_regression(truth: Any, predicted: Any, weights: Any) -> None:
    found = training_metrics._regression(truth, predicted, weights)
    assert found["mae"] == pytest.approx(metrics.mean_absolute_error(truth, predicted, sample_weight=weights))
    squared = metrics.mean_squared_error(truth, predicted, sample_weight=weights)
    assert found["rmse"] ** 2 == pytest.approx(squared)
    if np.var(truth) > 1e-6:
        assert found["r2"] == pytest.approx(metrics.r2_score(truth, predicted, sample_weight=weights))


def test_log_loss() -> None:
    class Fixed:
        classes_ = np.array(["a", "b", "c"])

        def predict_proba(self, X: Any) -> Any:
            return X

    given_ = np.random.default_rng(0).dirichlet([1, 1, 1], 30)
    truth = np.array(["a", "b", "c"] * 10)
    found = training_metrics._probabilities(Fixed(), given_, truth, None)
    assert found["log_loss"] == pytest.approx(metrics.log_loss(truth, given_, labels=Fixed.classes_))


@pytest.mark.parametrize("sparse", [False, True])
@pytest.mark.parametrize("chained", [False, True])
def test_several_labels_at_once(root: Any, recwarn: pytest.WarningsRecorder, sparse: bool, chained: bool) -> None:
    X, Y = make_multilabel_classification(60, 5, n_classes=3, random_state=0)
    model = (ClassifierChain if chained else OneVsRestClassifier)(LogisticRegression())
    with tachograph.autolog("sklearn", system=False):
        model.fit(X, csr_matrix(Y) if sparse and not chained else Y)
    [run] = tachograph.open_store().runs()
    predicted = model.predict(X)
    predicted = predicted.toarray() if hasattr(predicted, "toarray") else predicted
    assert run.metrics["train_accuracy"] == pytest.approx((predicted == Y).all(axis=1).mean())
    assert not run.notes
    assert not recwarn
