"""Listening to frameworks. These names are what a plug-in is written with.

A plug-in's ``install(hooks)`` is called with :class:`Hooks`. What it hears it records in the run of the training, by
the run's verbs and its ``recorder``. Where a training is a call, :func:`training` finds or opens that run; where a
framework tells callbacks of it, :class:`Trainings` does. :class:`LastOfMany` is for trainings in many small steps.
Methods that the framework itself calls, those of a callback above all, are decorated with :func:`shield`: their faults
are reported, and go no further.
"""

from __future__ import annotations

from tachograph.hooks.call import Call
from tachograph.hooks.last_of_many import LastOfMany, Series
from tachograph.hooks.patch import Hooks
from tachograph.hooks.session import Session, current, options, suppress, training
from tachograph.hooks.training_curve import Curve, Trainings
from tachograph.hooks.watch import Watcher, conduct, shield
from tachograph.record.recorder import Recorder

__all__ = [
    "Call",
    "Curve",
    "Hooks",
    "LastOfMany",
    "Recorder",
    "Series",
    "Session",
    "Trainings",
    "Watcher",
    "conduct",
    "current",
    "options",
    "shield",
    "suppress",
    "training",
]
