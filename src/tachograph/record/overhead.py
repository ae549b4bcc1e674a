"""What recording costs: the calls of ``log`` are measured by samples."""

from __future__ import annotations


class Samples:
    """How long some calls took, for an estimate of what all calls took.

    ``wanted`` says that the next call is to be measured. The longest one is left out of the mean, where there are
    others: a call during which the thread had to wait for a core must not stand for thousands.
    """

    def __init__(self) -> None:
        self.wanted = False
        self._count, self._total, self._longest = 0, 0.0, 0.0

    def add(self, seconds: float) -> None:
        self._count += 1
        self._total += seconds
        self._longest = max(self._longest, seconds)

    @property
    def mean(self) -> float:
        """Seconds that a call takes; 0.0 before the first one."""
        if self._count < 2:
            return self._total
        return (self._total - self._longest) / (self._count - 1)
