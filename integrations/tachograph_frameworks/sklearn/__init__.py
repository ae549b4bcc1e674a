"""scikit-learn: fits, searches, cross-validations, and scores computed after a fit.

Every estimator class has its training methods hooked, also those that are defined later. The outermost training call
makes the run: a Pipeline, a meta-estimator or a search is one run, preprocessing alone is none.
"""

from __future__ import annotations

from functools import partial
from typing import Any

from sklearn.base import BaseEstimator

from tachograph import guard
from tachograph.hooks import Hooks
from tachograph.runtime.import_hooks import when_imported
from tachograph_frameworks.sklearn import cross_validation, fits, partial_fits, scores, series
from tachograph_frameworks.sklearn.tracked import Tracked

__all__ = ["REQUIRES", "TESTED", "Tracked", "install"]

REQUIRES = "scikit-learn>=1.2"
TESTED = "1.9.1"


def install(hooks: Hooks) -> None:
    """Hook every class there is, and each that comes later."""
    hooks.native(series.LAST_OF_MANY.record_all)
    hooked: set[type] = set()
    for owner in _subclasses(BaseEstimator):
        _hook(hooks, owner, hooked)
    _follow_new_classes(hooks, hooked)
    hooks.native(when_imported("sklearn.model_selection", partial(cross_validation.hook, hooks)))
    hooks.native(when_imported("sklearn.metrics", partial(scores.hook_metrics, hooks)))


def _hook(hooks: Hooks, estimator: type, hooked: set[type]) -> None:
    """Hook an estimator's class, and the mixins that it has methods from."""
    for owner in estimator.__mro__:
        if owner is object or owner in hooked:
            continue
        hooked.add(owner)
        for name, wrapper in (*fits.WRAPPERS.items(), *scores.WRAPPERS.items()):
            if _has(owner, name):
                hooks.around(owner, name, wrapper)
        if _has(owner, "partial_fit"):
            partial_fits.hook(hooks, owner)


def _has(owner: type, name: str) -> bool:
    """Whether a class has a method of its own; some take one back by a property that raises."""
    return name in vars(owner) and not isinstance(vars(owner)[name], property)


def _subclasses(owner: type) -> set[type]:
    subclasses: set[type] = set()
    waiting: list[type] = [owner]
    while waiting:
        children: list[type] = waiting.pop().__subclasses__()
        for child in children:
            if child not in subclasses:
                subclasses.add(child)
                waiting.append(child)
    return subclasses


def _follow_new_classes(hooks: Hooks, hooked: set[type]) -> None:
    """Hook each new estimator class. The chain of ``super()`` goes on as if we were not in it."""
    original = vars(BaseEstimator).get("__init_subclass__")

    def __init_subclass__(cls: type, **kwargs: Any) -> None:  # noqa: N807
        if original is None:
            super(BaseEstimator, cls).__init_subclass__(**kwargs)
        else:
            original.__get__(None, cls)(**kwargs)
        if hooks.on:
            with guard.contained(f"sklearn: {cls.__name__}"):
                _hook(hooks, cls, hooked)

    def remove() -> None:
        if vars(BaseEstimator).get("__init_subclass__") is replacement:
            if original is None:
                del BaseEstimator.__init_subclass__
            else:
                BaseEstimator.__init_subclass__ = original

    replacement: Any = classmethod(__init_subclass__)  # type: ignore[arg-type]
    BaseEstimator.__init_subclass__ = replacement
    hooks.native(remove)
