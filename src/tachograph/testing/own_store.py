"""A store of its own for a training, in a folder that is deleted afterwards."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import tachograph
from tachograph import guard


@contextmanager
def recorded(*frameworks: str, **options: Any) -> Iterator[Any]:
    """A store of its own with autolog on: what is trained inside is in the store that this gives."""
    with own_store() as root, tachograph.autolog(*frameworks, system=False, **options):
        yield tachograph.open_store(root)


@contextmanager
def own_store() -> Iterator[Path]:
    """The default store is an empty folder inside, and faults of ours are raised. Gives the folder."""
    before = {name: os.environ.get(name) for name in ("TACHOGRAPH_DIR", "TACHOGRAPH_STRICT")}
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        os.environ.update(TACHOGRAPH_DIR=folder, TACHOGRAPH_STRICT="1")
        try:
            yield Path(folder)
        finally:
            _restore(before)


@contextmanager
def lenient() -> Iterator[None]:
    """Faults of ours are not raised inside, and nothing is said of them."""
    before = {"TACHOGRAPH_STRICT": os.environ.pop("TACHOGRAPH_STRICT", None)}
    guard.mute(True)
    try:
        yield
    finally:
        guard.mute(False)
        guard.forget()
        _restore(before)


def _restore(variables: dict[str, str | None]) -> None:
    for name, value in variables.items():
        if value is None:
            os.environ.pop(name, None)
        else:
            os.environ[name] = value
