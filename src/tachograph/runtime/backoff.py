"""How long to wait before trying again what a sink did not take."""

from __future__ import annotations

import os

from tachograph.errors import Retry

FIRST_DELAY, LONGEST_DELAY = 0.5, 60.0  # seconds


class Backoff:
    """Delays after failures in a row: at random up to a bound that doubles, so that many clients of a server that was
    down don't come back at the same moment. The user's random state is left alone.

    A sink that took something since the last failure is not down: the delays begin anew. ``failures`` counts those in a
    row.
    """

    def __init__(self) -> None:
        self.failures = 0
        self._bound, self._progress = FIRST_DELAY, 0

    def failed(self, progress: int, at_least: float = 0.0) -> float:
        """Seconds to wait after one more failure. ``progress`` is any number that changes with whatever got through."""
        if progress != self._progress:
            self.failures, self._bound, self._progress = 0, FIRST_DELAY, progress
        self.failures += 1
        share = int.from_bytes(os.urandom(4), "little") / 2**32
        bound, self._bound = self._bound, min(2 * self._bound, LONGEST_DELAY)
        return max(share * bound, at_least)


def requested_delay(error: Exception) -> float:
    """How many seconds a sink that failed with ``error`` asked to be left alone; 0.0 where it didn't say."""
    return (error.after if isinstance(error, Retry) else None) or 0.0
