"""How long to wait for a sink that takes nothing."""

from __future__ import annotations

import os

FIRST_DELAY, LONGEST_DELAY = 0.5, 60.0  # seconds


class Patience:
    """Waits after failures in a row: at random up to a bound that doubles, so that many clients of a server that was
    down don't come back at the same moment. The user's random state is left alone.

    A sink that took something since the last failure is not down: it is waited for as after the first one.
    ``failures`` counts those in a row.
    """

    def __init__(self) -> None:
        self.failures = 0
        self._bound, self._progress = FIRST_DELAY, 0

    def failed(self, progress: int) -> float:
        """Seconds to wait after one more failure; ``progress`` changes with whatever got through."""
        if progress != self._progress:
            self.failures, self._bound, self._progress = 0, FIRST_DELAY, progress
        self.failures += 1
        share = int.from_bytes(os.urandom(4), "little") / 2**32
        bound, self._bound = self._bound, min(2 * self._bound, LONGEST_DELAY)
        return share * bound
