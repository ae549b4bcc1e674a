"""Checkpoints: the files that a training leaves on its way."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tachograph import guard
from tachograph.run import Run
from tachograph.session import options

KIND = "checkpoint"
BEST = "best"


def keep(
    run: Run,
    path: str | os.PathLike[str],
    *,
    name: str = "checkpoint",
    step: int | None = None,
    is_best: bool | None = None,
    meta: Mapping[str, Any] | None = None,
) -> None:
    """Keep a checkpoint, a file or a folder, as it is at this moment.

    ``is_best`` says whether it is the best so far, None where the framework doesn't say.
    """
    if options.checkpoints is False:
        return
    with guard.contained("checkpoints", run), guard.timed(run):
        run._keep(Path(path), name, KIND, step, dict(meta or {}))
        if is_best:
            run._keep(Path(path), BEST, KIND, step, dict(meta or {}))
