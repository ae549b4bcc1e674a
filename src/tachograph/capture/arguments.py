"""What ``argparse`` parsed: parameters of the run that is open, else of those that open later in the same program.
Filled by the hooks of autolog."""

from __future__ import annotations

from typing import Any

from tachograph import active, cells

known: dict[str, Any] = {}


def note(namespace: object) -> None:
    """A command line was parsed into ``namespace``."""
    from tachograph import values

    good, _ = values.params(vars(namespace))
    run = active.here()
    if run is not None and run.rank == 0:
        run.log_params(good)
        return
    if not known:
        cells.at_end(lambda error: known.clear())
    known.update(good)
