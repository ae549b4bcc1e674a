"""``Tracked(estimator)``: a scikit-learn estimator that records its own fits, with or without autolog."""

from __future__ import annotations

import functools
import inspect
from types import MethodType
from typing import Any

from sklearn.base import BaseEstimator, MetaEstimatorMixin, clone
from sklearn.utils.metaestimators import available_if
from sklearn.utils.validation import check_is_fitted

from tachograph import settings
from tachograph.hooks import conduct
from tachograph_frameworks.sklearn import fits

try:
    from sklearn.utils import get_tags
except ImportError:  # before 1.6 an estimator's tags were a dict
    get_tags = None


def _has(name: str) -> Any:
    def check(self: Any) -> bool:
        getattr(getattr(self, "estimator_", self.estimator), name)
        return True

    return check


class _LikeInner:
    """A method with the parameters of the same method of the estimator inside, for those who ask what it takes."""

    def __init__(self, fn: Any) -> None:
        self.fn, self.__doc__ = fn, fn.__doc__

    def __get__(self, instance: Any, owner: type | None = None) -> Any:
        if instance is None:
            return self.fn
        inner = getattr(instance.estimator, self.fn.__name__, None)
        return MethodType(self.fn if inner is None else _signed(self.fn, inner), instance)


def _signed(function: Any, inner: Any) -> Any:
    """``function`` as one that shows the parameters of the bound method ``inner``."""

    @functools.wraps(function)
    def signed(self: Any, *args: Any, **kwargs: Any) -> Any:
        return function(self, *args, **kwargs)

    self_parameter = inspect.Parameter("self", inspect.Parameter.POSITIONAL_ONLY)
    signature = inspect.signature(inner)
    signed.__signature__ = signature.replace(parameters=[self_parameter, *signature.parameters.values()])  # type: ignore[attr-defined]
    return signed


class Tracked(MetaEstimatorMixin, BaseEstimator):  # type: ignore[misc]
    """``estimator``, with each ``fit`` recorded as a run; everything else is passed on to the fitted clone of it.

    Parameters
    ----------
    estimator : estimator object
        It is cloned before it is fitted, as meta-estimators do; the fitted clone is ``estimator_``.
    """

    def __init__(self, estimator: Any) -> None:
        self.estimator = estimator

    @_LikeInner
    def fit(self, X: Any, y: Any = None, *more: Any, **fit_params: Any) -> Tracked:
        """Fit a clone of ``estimator``, and record it."""
        if settings.off():
            return self._fit(X, y, *more, **fit_params)
        conduct(fits.FIT, "Tracked.fit", Tracked._fit, self, X, y, *more, **fit_params)
        return self

    def _fit(self, X: Any, y: Any = None, *more: Any, **fit_params: Any) -> Tracked:
        self.estimator_ = clone(self.estimator).fit(X, y, *more, **fit_params)
        return self

    def get_metadata_routing(self) -> Any:
        """What the estimator inside asks for: it gets what the methods of this one are given."""
        return self.estimator.get_metadata_routing()

    @available_if(_has("predict"))
    def predict(self, X: Any) -> Any:
        """The fitted estimator's predictions."""
        return self._fitted().predict(X)

    @available_if(_has("predict_proba"))
    def predict_proba(self, X: Any) -> Any:
        """The fitted estimator's probabilities."""
        return self._fitted().predict_proba(X)

    @available_if(_has("predict_log_proba"))
    def predict_log_proba(self, X: Any) -> Any:
        """The fitted estimator's log probabilities."""
        return self._fitted().predict_log_proba(X)

    @available_if(_has("decision_function"))
    def decision_function(self, X: Any) -> Any:
        """The fitted estimator's decision function."""
        return self._fitted().decision_function(X)

    @available_if(_has("score_samples"))
    def score_samples(self, X: Any) -> Any:
        """The fitted estimator's score of each sample."""
        return self._fitted().score_samples(X)

    @available_if(_has("transform"))
    def transform(self, X: Any) -> Any:
        """The data, transformed by the fitted estimator."""
        return self._fitted().transform(X)

    @available_if(_has("transform"))
    def fit_transform(self, X: Any, y: Any = None, **fit_params: Any) -> Any:
        """Fit, and transform the same data."""
        return self.fit(X, y, **fit_params).transform(X)

    @available_if(_has("fit_predict"))
    def fit_predict(self, X: Any, y: Any = None, **fit_params: Any) -> Any:
        """Fit, and give the labels of the same data."""
        if settings.off():
            return self._fit_predict(X, y, **fit_params)
        return conduct(fits.FIT, "Tracked.fit_predict", Tracked._fit_predict, self, X, y, **fit_params)

    def _fit_predict(self, X: Any, y: Any = None, **fit_params: Any) -> Any:
        self.estimator_ = clone(self.estimator)
        return self.estimator_.fit_predict(X, y, **fit_params)

    @available_if(_has("score"))
    def score(self, X: Any, y: Any = None, **params: Any) -> Any:
        """The fitted estimator's score."""
        return self._fitted().score(X, y, **params)

    def _fitted(self) -> Any:
        check_is_fitted(self, "estimator_")
        return self.estimator_

    def __getattr__(self, name: str) -> Any:
        # What a fit leaves behind (classes_, n_features_in_, coef_ ...) is the fitted estimator's.
        if name.endswith("_") and not name.startswith("_") and "estimator_" in vars(self):
            return getattr(self.estimator_, name)
        raise AttributeError(f"{type(self).__name__!r} object has no attribute {name!r}")

    if get_tags is not None:

        def __sklearn_tags__(self) -> Any:
            return get_tags(self.estimator)

    else:

        def _more_tags(self) -> Any:
            return self.estimator._get_tags()

        @property
        def _estimator_type(self) -> Any:
            return self.estimator._estimator_type
