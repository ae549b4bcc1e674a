"""Lightning, in both of its packages."""

from __future__ import annotations

from tachograph.patch import Hooks

__all__ = ["REQUIRES", "TESTED", "install"]

REQUIRES = ("lightning>=2.0.9", "pytorch-lightning>=2.0.9")
TESTED = "2.6.6"


def install(hooks: Hooks) -> None:
    """Listen to trainings."""
