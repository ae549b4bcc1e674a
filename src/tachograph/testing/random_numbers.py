"""The generators of random numbers: Python's own, and those of numpy and torch where they are imported."""

from __future__ import annotations

import random
import sys


def seed() -> None:
    """Start all generators anew."""
    random.seed(0)
    if "numpy" in sys.modules:
        sys.modules["numpy"].random.seed(0)
    if "torch" in sys.modules:
        sys.modules["torch"].manual_seed(0)


def state() -> dict[str, str]:
    """The state of each library's generator, as a text that differs where it does."""
    states = {"random": repr(random.getstate())}
    if "numpy" in sys.modules:
        _, keys, *rest = sys.modules["numpy"].random.get_state()
        states["numpy"] = f"{keys.tobytes().hex()} {rest}"
    if "torch" in sys.modules:
        states["torch"] = sys.modules["torch"].get_rng_state().numpy().tobytes().hex()
    return states
