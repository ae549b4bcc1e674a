"""What is computed beside a fit warns nobody, and changes nothing of how the user's program is warned."""

from __future__ import annotations

import subprocess
import sys
import warnings
from typing import Any

import numpy as np
import pandas as pd
import pytest
from sklearn.base import BaseEstimator, RegressorMixin
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LinearRegression, LogisticRegression
from sklearn.pipeline import make_pipeline

import tachograph


class Grumbler(RegressorMixin, BaseEstimator):
    """It warns of everything that is asked of it, and so does what it holds."""

    def __init__(self, odd: Any = None) -> None:
        self.odd = odd

    def fit(self, X: Any, y: Any) -> Grumbler:
        self.fitted_ = True
        return self

    def partial_fit(self, X: Any, y: Any) -> Grumbler:
        return self.fit(X, y)

    def predict(self, X: Any) -> Any:
        warnings.warn("predict is deprecated", FutureWarning, stacklevel=1)
        return np.full(len(X), 1e200)

    def __getstate__(self) -> Any:
        warnings.warn("pickled", UserWarning, stacklevel=1)
        return super().__getstate__()


class Odd:
    def __repr__(self) -> str:
        warnings.warn("shown", UserWarning, stacklevel=1)
        return "odd"


def program() -> None:
    """A training and what comes after it; nothing of what it calls itself warns but the last line."""
    X, y = np.arange(20.0).reshape(10, 2), np.arange(10.0) * -1e200
    model = Grumbler(Odd()).fit(X, y)
    model.predict(X)


def with_holes() -> None:
    """The fit warns by itself, once, of a column without a value."""
    X = np.c_[np.full(8, np.nan), np.arange(8.0)]
    make_pipeline(SimpleImputer(), LogisticRegression()).fit(X, np.arange(8) % 2)


def overflowing() -> None:
    """The fit is well, its squared errors are not."""
    LinearRegression().fit(np.arange(10.0)[:, None], np.array([1e200, -1e200] * 5))


def of_a_frame() -> None:
    frame = pd.DataFrame({"a": [np.inf, -np.inf, 1e308, 1.0] * 3, "b": ["x", "y", None, "x"] * 3})
    Grumbler().fit(frame, pd.Series(np.arange(12.0)))


def in_parts() -> None:
    model, X, y = Grumbler(), np.arange(20.0).reshape(10, 2), np.arange(10.0)
    for _ in range(5):
        model.partial_fit(X, y)


def warned(work: Any, action: Any) -> list[str]:
    """What ``work`` warns of, or raises, with such filters and nothing shown before."""
    for module in list(sys.modules.values()):
        vars(module).get("__warningregistry__", {}).clear()  # some answer any name themselves
    with warnings.catch_warnings(record=True) as shown:
        warnings.simplefilter(action)
        try:
            work()
        except Warning as error:
            return [f"raised {error}"]
    return [f"{each.category.__name__}: {each.message}" for each in shown]


@pytest.mark.parametrize("action", ["default", "always", "once", "error"])
@pytest.mark.parametrize("work", [program, with_holes, overflowing, of_a_frame, in_parts])
def test_a_recorded_program_is_warned_as_a_plain_one(root: Any, work: Any, action: str) -> None:
    plain = warned(work, action)
    with tachograph.autolog("sklearn", system=False):
        recorded = warned(work, action)
    assert recorded == plain
    [run] = tachograph.open_store().runs()
    assert [note.text for note in run.notes] == []
    if run.status == "finished":
        assert {"train_rmse", "train_accuracy"} & run.metrics.keys()


@pytest.mark.filterwarnings("ignore:predict is deprecated")
def test_numpy_raises_as_the_program_has_asked(root: Any) -> None:
    with tachograph.autolog("sklearn", system=False), np.errstate(all="raise"):
        program()
        with pytest.raises(FloatingPointError):
            np.float64(1e300) * np.float64(1e300)
    [run] = tachograph.open_store().runs()
    assert "train_rmse" in run.metrics


def test_with_warnings_as_errors_the_metrics_are_recorded(root: Any) -> None:
    code = f"import {__name__.rpartition('.')[2]} as own, tachograph; tachograph.autolog('sklearn'); own.of_a_frame()"
    folder = __file__.rpartition("/")[0]
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", code], capture_output=True, text=True, cwd=folder, timeout=120
    )
    assert (done.returncode, done.stderr) == (0, "")
    [run] = tachograph.open_store().runs()
    assert "train_rmse" in run.metrics
