"""Records model training by itself: one line, any framework, nothing lost, nothing slowed.

``tachograph.autolog()`` in a training script records it; ``tachograph runs`` shows it.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

# The larger half of what autolog() will need, so that neither this import nor that call takes long.
from tachograph import journal as _journal  # noqa: F401

__version__ = "0.1.0"

if TYPE_CHECKING:
    from tachograph.autologging import Autolog, autolog, suppress
    from tachograph.errors import Damaged, Error, NotFound, QueryError, TachographWarning
    from tachograph.run import Run, start_run
    from tachograph.store import open_store
    from tachograph.verbs import (
        active_run,
        flush,
        log,
        log_artifact,
        log_dataset,
        log_figure,
        log_note,
        log_params,
        log_table,
        set_tags,
    )

_HOMES = {
    "autologging": ["Autolog", "autolog", "suppress"],
    "errors": ["Damaged", "Error", "NotFound", "QueryError", "TachographWarning"],
    "run": ["Run", "start_run"],
    "store": ["open_store"],
    "verbs": [
        "active_run", "flush", "log", "log_artifact", "log_dataset", "log_figure", "log_note", "log_params",
        "log_table", "set_tags",
    ],
}  # fmt: skip
_HOME = {name: home for home, names in _HOMES.items() for name in names}
__all__ = ["__version__", *sorted(_HOME)]  # noqa: PLE0604


def __getattr__(name: str) -> Any:
    # The names are looked up when first used: the command line and the reading side don't load with the recording.
    home = _HOME.get(name)
    if home is None:
        raise AttributeError(f"module 'tachograph' has no attribute {name!r}")
    value = getattr(importlib.import_module(f"tachograph.{home}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return __all__
