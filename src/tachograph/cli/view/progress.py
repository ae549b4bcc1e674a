"""The progress of sending, shown on a terminal."""

from __future__ import annotations

import time
from collections.abc import Sequence

from tachograph import wording
from tachograph.cli.output import Status
from tachograph.ship.delivery import Amount

EVERY = 0.1  # seconds
BAR = 24  # characters


class Progress:
    """A bar on the last line of a terminal; nothing where standard error is no terminal.

    ``behind`` has for each run how many bytes of lines may have to be sent. The sink may have more of it than is known
    here, so a run that is done counts in full.
    """

    def __init__(self, sink: str, behind: Sequence[int]) -> None:
        self._sink, self._behind = sink, behind
        self._done_runs, self._run_bytes = 0, 0  # runs that are done; bytes sent of the present one
        self._amount = Amount()
        self._file_bytes, self._moving = 0, 0  # of files: to be sent in all; sent of the present ones
        self._status = Status()
        self._shown = 0.0

    def sent(self, amount: Amount) -> None:
        """Count what was sent of the present run."""
        self._run_bytes, self._moving = self._run_bytes + amount.bytes, 0
        self._amount = self._amount.plus(amount)
        self._show()

    def expecting(self, size: int) -> None:
        """Files of ``size`` bytes together are to be sent next."""
        self._file_bytes, self._moving = self._amount.file_bytes + size, 0

    def moved(self, size: int) -> None:
        """``size`` bytes of these files were sent."""
        self._moving = min(self._moving + size, self._file_bytes - self._amount.file_bytes)
        self._show()

    def next_run(self) -> None:
        """The present run is done."""
        self._done_runs, self._run_bytes = self._done_runs + 1, 0
        self._show()

    def end(self) -> None:
        """Leave the line clear."""
        self._status.clear()

    @property
    def share(self) -> float:
        """How much is done, from 0 to 1, of what is known so far: which files are to be sent shows on the way."""
        if self._done_runs == len(self._behind):
            return 1.0
        whole, done = sum(self._behind) + self._file_bytes, sum(self._behind[: self._done_runs])
        done += min(self._run_bytes, self._behind[self._done_runs]) + self._amount.file_bytes + self._moving
        return min(done / whole, 1.0) if whole else self._done_runs / len(self._behind)

    def _show(self) -> None:
        if self._status.is_terminal and time.monotonic() - self._shown > EVERY:
            self._shown = time.monotonic()
            self._status.show(self._line())

    def _line(self) -> str:
        filled = int(self.share * BAR)
        size = wording.size(self._amount.bytes + self._amount.file_bytes + self._moving)
        runs = f"{self._done_runs:,} of {wording.count(len(self._behind), 'run')}"
        return f"[{'#' * filled}{'.' * (BAR - filled)}] {int(self.share * 100):3}%  {runs}, {size} to {self._sink}"
