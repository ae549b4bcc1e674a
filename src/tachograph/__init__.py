"""Records model training by itself: one line, any framework, nothing lost, nothing slowed.

``tachograph.autolog()`` in a training script records it; ``tachograph runs`` shows it.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

# The larger half of what autolog() will need, so that neither this import nor that call takes long.
from tachograph import journal as _journal  # noqa: F401
from tachograph.version import __version__

if TYPE_CHECKING:  # "as" says to type checkers that the names are meant for the users
    from tachograph.errors import Damaged as Damaged
    from tachograph.errors import Error as Error
    from tachograph.errors import NotAllowed as NotAllowed
    from tachograph.errors import NotFound as NotFound
    from tachograph.errors import QueryError as QueryError
    from tachograph.errors import TachographWarning as TachographWarning
    from tachograph.hooks.autolog import Autolog as Autolog
    from tachograph.hooks.autolog import autolog as autolog
    from tachograph.hooks.autolog import suppress as suppress
    from tachograph.record.run import Run as Run
    from tachograph.record.start import start_run as start_run
    from tachograph.record.verbs import active_run as active_run
    from tachograph.record.verbs import flush as flush
    from tachograph.record.verbs import log as log
    from tachograph.record.verbs import log_artifact as log_artifact
    from tachograph.record.verbs import log_dataset as log_dataset
    from tachograph.record.verbs import log_figure as log_figure
    from tachograph.record.verbs import log_note as log_note
    from tachograph.record.verbs import log_params as log_params
    from tachograph.record.verbs import log_table as log_table
    from tachograph.record.verbs import set_tags as set_tags
    from tachograph.record.verbs import use_dataset as use_dataset
    from tachograph.record.verbs import use_model as use_model
    from tachograph.store.store import open_store as open_store

_HOMES = {
    "hooks.autolog": ["Autolog", "autolog", "suppress"],
    "errors": ["Damaged", "Error", "NotAllowed", "NotFound", "QueryError", "TachographWarning"],
    "record.start": ["start_run"],
    "record.run": ["Run"],
    "store.store": ["open_store"],
    "record.verbs": [
        "active_run", "flush", "log", "log_artifact", "log_dataset", "log_figure", "log_note", "log_params",
        "log_table", "set_tags", "use_dataset", "use_model",
    ],
}  # fmt: skip
_HOME = {name: home for home, names in _HOMES.items() for name in names}
__all__ = ["__version__", *sorted(_HOME)]


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
