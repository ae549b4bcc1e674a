"""A search over candidates: the results as a table, the best on the run itself, a child run for each candidate.

All of it comes from ``cv_results_``, so it is the same whichever joblib back end did the fits.
"""

from __future__ import annotations

import re
from typing import Any

import numpy as np

from tachograph.record.run import Run
from tachograph_frameworks.sklearn import estimators

_SPLIT = re.compile(r"split(\d+)_((?:test|train)_.+)")


def record(run: Run, search: Any) -> None:
    """Record the results of a fitted ``search``."""
    results = getattr(search, "cv_results_", None)
    if not results:
        return
    rows = _rows(results)
    run.log_table("cv_results", rows)
    if hasattr(search, "best_params_"):
        run.log_params({"best_params": dict(search.best_params_)})
    best = {name: getattr(search, f"{name}_", None) for name in ("best_score", "best_index", "n_splits")}
    run.log({name: float(value) for name, value in best.items() if value is not None})
    for number, row in enumerate(rows):
        _record_candidate(run, number, results["params"][number], row)
    if hasattr(search, "best_estimator_"):
        estimators.remember(search.best_estimator_, run)


def _rows(results: dict[str, Any]) -> list[dict[str, Any]]:
    """``cv_results_`` row by row; masked entries (a parameter that a candidate doesn't have) are left out."""
    count = len(results["params"])
    columns = {name: values for name, values in results.items() if name != "params"}
    return [
        {name: values[row] for name, values in columns.items() if values[row] is not np.ma.masked}
        for row in range(count)
    ]


def _record_candidate(run: Run, number: int, params: dict[str, Any], row: dict[str, Any]) -> None:
    folds: dict[int, dict[str, float]] = {}
    single = {}
    for name, value in row.items():
        split = _SPLIT.fullmatch(name)
        if split:
            folds.setdefault(int(split[1]), {})[split[2]] = float(value)
        elif not name.startswith("param_"):
            single[name] = float(value)
    run.recorder.add_child(f"candidate-{number}", params, [*sorted(folds.items()), (0, single)])
