"""All plug-ins keep the promises, as ``tachograph.testing`` states them."""

from __future__ import annotations

from typing import Any

import pytest
from sklearn.datasets import load_breast_cancer
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from xgboost import DMatrix, XGBClassifier, cv, train

from tachograph.testing import check_plugin

X, y = load_breast_cancer(return_X_y=True)
PARAMS = {"objective": "binary:logistic", "max_depth": 2, "nthread": 1}


def sklearn_pipeline() -> Any:
    return make_pipeline(StandardScaler(), LogisticRegression()).fit(X, y).predict_proba(X)


def sklearn_search() -> Any:
    model = make_pipeline(StandardScaler(), LogisticRegression())
    return GridSearchCV(model, {"logisticregression__C": [0.1, 1.0]}, cv=2).fit(X, y).cv_results_["mean_test_score"]


def xgboost_train() -> Any:
    data = DMatrix(X, y)
    history: dict[str, Any] = {}
    train(PARAMS, data, 5, evals=[(data, "train")], evals_result=history, verbose_eval=False)
    return history


def xgboost_cv() -> Any:
    return cv(PARAMS, DMatrix(X, y), 4, nfold=2, as_pandas=False)


def xgboost_estimator() -> Any:
    return XGBClassifier(n_estimators=4, n_jobs=1).fit(X, y).predict_proba(X)


@pytest.mark.parametrize("training", [sklearn_pipeline, sklearn_search])
def test_scikit_learn(training: Any) -> None:
    check_plugin("tachograph_frameworks.sklearn", training)


@pytest.mark.parametrize("training", [xgboost_train, xgboost_cv, xgboost_estimator])
def test_xgboost(training: Any) -> None:
    check_plugin("tachograph_frameworks.xgboost", training)
