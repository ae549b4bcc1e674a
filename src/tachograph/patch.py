"""The earlier address of what is in :mod:`tachograph.hooks`, for scripts that were written for it."""

from __future__ import annotations

from tachograph.hooks import Call, Hooks, Watcher

__all__ = ["Call", "Hooks", "Watcher"]
