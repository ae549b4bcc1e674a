"""What ``argparse`` parsed, kept for the runs that open later. Filled by the hooks of autolog."""

from __future__ import annotations

from typing import Any

known: dict[str, Any] = {}


def note(namespace: object) -> None:
    """A command line was parsed into ``namespace``."""
    from tachograph import values

    good, _ = values.params(vars(namespace))
    known.update(good)
