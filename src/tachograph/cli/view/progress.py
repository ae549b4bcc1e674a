"""How sending goes on, shown on a terminal."""

from __future__ import annotations

import time
from collections.abc import Sequence

from tachograph import wording
from tachograph.cli.output import Status
from tachograph.ship.delivery import Amount

EVERY = 0.1  # seconds
BAR = 24  # characters


class Progress:
    """A bar on the last line of a terminal; nothing where standard error is none.

    ``behind`` has how many bytes of lines each run is thought to have left. The sink may hold more of one than is known
    here, so a run that is done counts in full.
    """

    def __init__(self, sink: str, behind: Sequence[int]) -> None:
        self._sink, self._behind = sink, behind
        self._done, self._here = 0, 0  # runs, bytes of the present one
        self._amount = Amount()
        self._expected = self._moving = (
            0  # bytes of files: that were, or are to be, sent; that went of the present ones
        )
        self._status = Status()
        self._shown = 0.0

    def sent(self, amount: Amount) -> None:
        """So much more of the present run."""
        self._here, self._moving = self._here + amount.bytes, 0
        self._amount = self._amount.plus(amount)
        self._show()

    def expecting(self, size: int) -> None:
        """Files of so many bytes are to be sent next."""
        self._expected, self._moving = self._amount.file_bytes + size, 0

    def moved(self, size: int) -> None:
        """So many bytes of these went."""
        self._moving = min(self._moving + size, self._expected - self._amount.file_bytes)
        self._show()

    def next_run(self) -> None:
        """The present run is done."""
        self._done, self._here = self._done + 1, 0
        self._show()

    def end(self) -> None:
        """Leave the line clear."""
        self._status.clear()

    @property
    def share(self) -> float:
        """How much is done, from 0 to 1, of what is known: which files are to go shows on the way."""
        if self._done == len(self._behind):
            return 1.0
        whole, done = sum(self._behind) + self._expected, sum(self._behind[: self._done])
        done += min(self._here, self._behind[self._done]) + self._amount.file_bytes + self._moving
        return min(done / whole, 1.0) if whole else self._done / len(self._behind)

    def _show(self) -> None:
        if self._status.is_seen and time.monotonic() - self._shown > EVERY:
            self._shown = time.monotonic()
            self._status.show(self._line())

    def _line(self) -> str:
        filled = int(self.share * BAR)
        size = wording.size(self._amount.bytes + self._amount.file_bytes + self._moving)
        runs = f"{self._done:,} of {wording.count(len(self._behind), 'run')}"
        return f"[{'#' * filled}{'.' * (BAR - filled)}] {int(self.share * 100):3}%  {runs}, {size} to {self._sink}"
