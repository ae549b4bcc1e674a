"""Listening to frameworks. These names are what a plug-in is written with.

A plug-in's ``install(hooks)`` is given :class:`Hooks`. What it hears goes to the run of the training at hand
(:func:`training` finds or opens it), by the run's verbs and its ``recorder``.
"""

from __future__ import annotations

from tachograph.hooks.patch import Call, Hooks, Watcher, conduct
from tachograph.hooks.session import Session, current, options, suppress, training

__all__ = ["Call", "Hooks", "Session", "Watcher", "conduct", "current", "options", "suppress", "training"]
