"""XGBoost: ``train``, ``cv`` and the scikit-learn API, which calls ``train``.

The two functions give each training its run, with its parameters and data. The curve is recorded where XGBoost itself
calls the callbacks of a training: that way every training is reached, also one whose ``train`` was tucked away in a
``functools.partial`` before, and nothing is put into the user's list of callbacks.
"""

from __future__ import annotations

from xgboost import training
from xgboost.callback import CallbackContainer

from tachograph.hooks import Hooks
from tachograph_frameworks.xgboost import calls, data, steps
from tachograph_frameworks.xgboost.callback import TachographCallback
from tachograph_frameworks.xgboost.model import estimators, load_model, save_estimator

__all__ = ["REQUIRES", "TESTED", "TachographCallback", "install", "load_model", "save_estimator"]

REQUIRES = ("xgboost>=1.7", "xgboost-cpu>=1.7")
TESTED = "3.2.0"


def install(hooks: Hooks) -> None:
    """Listen to trainings."""
    data.register()
    hooks.around(training, "train", calls.TRAIN)
    hooks.around(training, "cv", calls.CV)
    for estimator in estimators():
        if "fit" in vars(estimator):
            hooks.around(estimator, "fit", calls.note_fit)
    hooks.around(CallbackContainer, "before_training", calls.note_begin)
    hooks.native(steps.LAST_OF_MANY.record_all)
