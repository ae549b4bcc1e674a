"""What recording costs: the calls of ``log`` are measured by samples."""

from __future__ import annotations


class Samples:
    """How long some calls took. The longest is left out of their mean, where there are others: a call during which the
    thread had to wait for a core must not stand for thousands."""

    def __init__(self) -> None:
        self.wanted = False
        self._count, self._total, self._longest = 0, 0.0, 0.0

    def add(self, seconds: float) -> None:
        self._count += 1
        self._total += seconds
        self._longest = max(self._longest, seconds)

    @property
    def mean(self) -> float:
        """0.0 before the first one."""
        if self._count < 2:
            return self._total
        return (self._total - self._longest) / (self._count - 1)
