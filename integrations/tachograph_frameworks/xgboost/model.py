"""Trained models: kept in XGBoost's own format, which is data, not code; their importances and configuration."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import xgboost
from xgboost.core import Booster, XGBoostError

from tachograph.errors import Error
from tachograph.record.run import Run
from tachograph.values import class_name

FORMAT = "xgboost-ubj"
IMPORTANCES = ("weight", "gain", "cover", "total_gain", "total_cover")
_MOST_FEATURES = 10_000
_MOST_NAMES = 1_000


def save_booster(run: Run, booster: Any) -> None:
    """Keep a booster as the run's model."""
    run.recorder.keep_bytes(booster.save_raw("ubj"), "model", "model", "model.ubj", meta=_meta(Booster, booster))


def save_estimator(run: Run, estimator: Any) -> bool:
    """Keep a fitted estimator of XGBoost as the run's model; False for anything else."""
    kind = _kind(estimator)
    if kind is None:
        return False
    with TemporaryDirectory(prefix="tachograph-") as folder:
        path = Path(folder, "model.ubj")
        estimator.save_model(path)
        run.recorder.keep(path, "model", "model", None, _meta(kind, estimator.get_booster()))
    return True


def _kind(estimator: Any) -> Any:
    """The estimator class of XGBoost that can load what ``estimator`` saves. Of those for Dask and Spark, which need a
    cluster, it is the plain one of that name, else one of the same type (a classifier)."""
    classes: dict[str, Any] = {kind.__name__: kind for kind in estimators()}
    base = classes.pop("XGBModel")
    if not isinstance(estimator, base):
        return None
    names = [kind.__name__.removeprefix("Dask") for kind in type(estimator).__mro__]
    same_name = next((classes[name] for name in names if name in classes), None)
    return same_name or classes.get(f"XGB{estimator._get_type().capitalize()}", base)


def load_model(path: str | os.PathLike[str], meta: Mapping[str, Any]) -> Any:
    """The booster or estimator that was kept in the file. Only classes of XGBoost itself are made; no code is run."""
    name = meta.get("class", class_name(Booster))
    kind = {class_name(Booster): Booster, **_estimators()}.get(name)
    if kind is None:
        raise Error(f"{name} is no model class of xgboost {xgboost.__version__}: load it with the version it came from")
    model = kind()
    model.load_model(bytearray(Path(path).read_bytes()))
    return model


def importances(booster: Any) -> list[dict[str, Any]]:
    """A row for each feature that the model uses, the most important one first."""
    scores = {kind: _scores(booster, kind) for kind in IMPORTANCES}
    features = dict.fromkeys(feature for by_feature in scores.values() for feature in by_feature)
    rows = [{"feature": name, **{kind: by_feature[name] for kind, by_feature in scores.items() if name in by_feature}}
            for name in features]  # fmt: skip
    return sorted(rows, key=lambda row: row.get("total_gain", 0.0), reverse=True)[:_MOST_FEATURES]


def configured(config: str) -> dict[str, Any]:
    """The training parameters in a booster's configuration, where they are nested and written as text."""
    return {name: _value(text) for name, text in _train_params(json.loads(config))}


def _scores(booster: Any, kind: str) -> dict[str, Any]:
    try:
        scores: dict[str, Any] = booster.get_score(importance_type=kind)
    except XGBoostError:  # a linear model has weights only
        return {}
    return scores


def _train_params(config: Any, name: str = "") -> Iterator[tuple[str, str]]:
    if isinstance(config, list):
        for item in config:
            yield from _train_params(item)
    elif isinstance(config, dict):
        for key, value in config.items():
            if isinstance(value, str) and name.endswith("train_param"):
                yield key, value
            else:
                yield from _train_params(value, key)


def _value(text: str) -> Any:
    try:
        return json.loads(text)
    except ValueError:
        return text


def _meta(kind: type, booster: Any) -> dict[str, Any]:
    names, types = booster.feature_names, booster.feature_types
    return {
        "format": FORMAT,
        "class": class_name(kind),
        "xgboost": xgboost.__version__,
        "num_features": booster.num_features(),
        "feature_names": names[:_MOST_NAMES] if names else None,
        "feature_types": types[:_MOST_NAMES] if types else None,
        "signature": {"inputs": _inputs(booster), "outputs": {"prediction": _output(booster)}},
    }


def _inputs(booster: Any) -> dict[str, Any]:
    names, types = booster.feature_names, booster.feature_types
    if not names:
        return {"data": {"shape": [None, booster.num_features()], "dtype": "float32"}}
    dtypes = types or ["float"] * len(names)
    return {
        name: {"shape": [None], "dtype": dtype}
        for name, dtype in zip(names[:_MOST_NAMES], dtypes[:_MOST_NAMES], strict=True)
    }


def _output(booster: Any) -> dict[str, Any]:
    """What the booster itself predicts; the estimators make classes of it."""
    learner = json.loads(booster.save_config())["learner"]
    model = learner["learner_model_param"]
    width = max(int(model.get("num_class", 0)), int(model.get("num_target", 1)))
    wide = width > 1 and learner["objective"]["name"] != "multi:softmax"
    return {"shape": [None, width] if wide else [None], "dtype": "float32"}


def estimators() -> list[type]:
    """XGBoost's own estimator classes; of little use without scikit-learn."""
    from xgboost import sklearn

    return [kind for kind in vars(sklearn).values() if isinstance(kind, type) and issubclass(kind, sklearn.XGBModel)]


def _estimators() -> dict[str, type]:
    return {class_name(kind): kind for kind in estimators()}
