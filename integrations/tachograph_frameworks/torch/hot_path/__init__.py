"""What is done at every step of a plain loop, twice: in C, and in Python for where that could not be built.

Both do the same, class for class: :mod:`tachograph_frameworks.torch.hot_path.in_python` says what. Each hears of
backward passes, steps and batches, does what is usual by itself, and leaves what is special about one to the methods of
the classes that are made of these.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

from tachograph import guard
from tachograph_frameworks.torch.hot_path import in_python
from tachograph_frameworks.torch.hot_path.in_python import Note

if TYPE_CHECKING:
    chosen = in_python
    from tachograph_frameworks.torch.hot_path.in_python import (
        FRAMES,
        LoaderListener,
        Notes,
        Pass,
        Slot,
        StepListener,
        plain_events,
    )
else:
    _IN_C = f"{__name__}._in_c"
    try:
        chosen = importlib.import_module(_IN_C)
    except (ImportError, AttributeError) as error:  # there was no compiler, this is not Linux, or it knows other names
        chosen, is_stale = in_python, error.name != _IN_C
    else:
        is_stale = getattr(chosen, "LAYOUT", None) != in_python.LAYOUT
    if is_stale:
        chosen = in_python
        guard.misuse("the C part of the PyTorch plug-in was built from other sources: install tachograph anew")
    FRAMES, plain_events = chosen.FRAMES, chosen.plain_events
    StepListener, LoaderListener, Notes, Pass, Slot = (
        chosen.StepListener,
        chosen.LoaderListener,
        chosen.Notes,
        chosen.Pass,
        chosen.Slot,
    )

__all__ = ["FRAMES", "LoaderListener", "Note", "Notes", "Pass", "Slot", "StepListener", "chosen", "plain_events"]
