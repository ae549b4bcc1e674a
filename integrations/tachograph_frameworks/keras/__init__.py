"""Keras 3, on any of its back ends."""

from __future__ import annotations

from tachograph.patch import Hooks

__all__ = ["REQUIRES", "TESTED", "install"]

REQUIRES = "keras>=3.0.5"
TESTED = "3.15.1"


def install(hooks: Hooks) -> None:
    """Listen to trainings."""
