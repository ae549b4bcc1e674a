"""Plain PyTorch: loops with no line of ours in them."""

from __future__ import annotations

from tachograph.patch import Hooks

__all__ = ["REQUIRES", "TESTED", "install"]

REQUIRES = "torch>=2.1"
TESTED = "2.13.0"


def install(hooks: Hooks) -> None:
    """Listen to trainings."""
