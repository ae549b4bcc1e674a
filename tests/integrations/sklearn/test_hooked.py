"""What scikit-learn and its users do with the functions that are hooked goes on to work."""

from __future__ import annotations

import functools
from collections.abc import Iterator
from typing import Any

import joblib
import pytest
from sklearn.datasets import load_iris
from sklearn.ensemble import StackingClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import accuracy_score, f1_score, make_scorer
from sklearn.model_selection import GridSearchCV
from sklearn.tree import DecisionTreeClassifier
from sklearn.utils.parallel import Parallel, delayed

import tachograph

X, y = load_iris(return_X_y=True)


@pytest.fixture(autouse=True)
def autologged(root: Any) -> Iterator[None]:
    with tachograph.autolog("sklearn", system=False):
        yield


@functools.wraps(f1_score)
def wrapped_before(*args: Any, **kwargs: Any) -> Any:
    return f1_score(*args, **kwargs)


@pytest.mark.slow
def test_models_are_stacked_in_processes() -> None:
    models = [("tree", DecisionTreeClassifier()), ("linear", LogisticRegression(max_iter=300))]
    stack = StackingClassifier(models, n_jobs=2).fit(X, y)
    assert stack.score(X, y) > 0.9


@pytest.mark.slow
@pytest.mark.parametrize("wrapped", ["before", "after", "scorer"])
def test_a_search_takes_a_scorer_that_wraps_a_metric(wrapped: str) -> None:
    def after(*args: Any, **kwargs: Any) -> Any:
        return f1_score(*args, **kwargs)

    functions = {"before": wrapped_before, "after": functools.wraps(f1_score)(after), "scorer": f1_score}
    scorer = make_scorer(functions[wrapped], average="macro")
    grid = {"max_depth": [1, 3]}
    search = GridSearchCV(DecisionTreeClassifier(random_state=0), grid, scoring=scorer, n_jobs=2, cv=2).fit(X, y)
    assert search.best_params_ == {"max_depth": 3}


@pytest.mark.slow
def test_a_metric_is_computed_in_processes() -> None:
    jobs = [delayed(accuracy_score)(y, y), delayed(f1_score)(y, y, average="macro")]
    assert Parallel(n_jobs=2)(jobs) == [1.0, 1.0]
    assert joblib.Parallel(n_jobs=2)([joblib.delayed(accuracy_score)(y, y)]) == [1.0]
