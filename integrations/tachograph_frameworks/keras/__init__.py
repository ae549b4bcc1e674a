"""Keras 3, on any of its back ends: torch, jax, tensorflow.

``fit`` of the back end's trainer gives each training its run, with its arguments and data. The points are recorded by
:class:`TachographCallback`, which is put into the ``CallbackList`` that Keras itself makes of the user's callbacks, for
the time of that one training. That way every spelling of the argument is reached (by position, by keyword, None, one
callback, a list, a tuple, a ``CallbackList``), ``fit`` gets the user's own objects, and no list of theirs is changed.
"""

from __future__ import annotations

from typing import Any

import keras
from keras.callbacks import CallbackList, ModelCheckpoint

from tachograph.hooks import Hooks
from tachograph.runtime.background import background
from tachograph_frameworks.keras import calls, data, steps
from tachograph_frameworks.keras.callback import TachographCallback
from tachograph_frameworks.keras.model import load_model, prepare_summaries

__all__ = ["REQUIRES", "TESTED", "TachographCallback", "install", "load_model"]

REQUIRES = "keras>=3.0.5"
TESTED = "3.15.1"


def install(hooks: Hooks) -> None:
    """Listen to trainings, evaluations and checkpoints."""
    data.register()
    background.soon(prepare_summaries)
    hooks.around(_owner("fit"), "fit", calls.note_fit)
    hooks.around(CallbackList, "on_train_begin", calls.note_begin)
    hooks.around(CallbackList, "on_test_end", calls.note_evaluation)
    hooks.around(_owner("set_weights"), "set_weights", steps.note_weights)
    hooks.around(_owner("load_weights"), "load_weights", steps.note_weights)
    hooks.native(steps.LAST_OF_MANY.record_all)
    hooks.around(_owner("save"), "save", calls.note_save)
    hooks.around(_owner("save_weights"), "save_weights", calls.note_save)
    if hasattr(ModelCheckpoint, "_save_model"):  # not public
        hooks.around(ModelCheckpoint, "_save_model", calls.note_checkpoint)


def _owner(method: str) -> Any:
    """The class that ``keras.Model`` has a method from: for ``fit`` the trainer of the back end."""
    return next(owner for owner in keras.Model.__mro__ if method in vars(owner))
