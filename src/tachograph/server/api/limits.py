"""What one client may ask of the server: sizes, numbers, rates."""

from __future__ import annotations

import time
from collections import OrderedDict

from msgspec import Struct


class Limits(Struct, frozen=True):
    """Bounds on what one client can ask of the server. Sizes are in bytes, times in seconds, rates per second."""

    body: int = 16 << 20  # of a request, as it comes
    plain: int = 64 << 20  # of a batch of events, unpacked
    line: int = 16 << 20  # of an event
    blob: int = 256 << 30
    digests: int = 10_000  # in one request
    patience: float = 60.0  # for a batch, and for each piece of a file
    uploads: int = 1000  # of one token that are not finished
    rest: float = 7 * 86400.0  # after which an upload that nobody has written to is deleted
    rate: float = 500.0  # requests of a client
    burst: float = 2_000.0
    wrong_rate: float = 5.0  # requests from an address without a valid token
    wrong_burst: float = 50.0
    streams: int = 200


class RequestRates:
    """How often clients may come: each has a bucket that fills with time, and each request takes one out of it. Clients
    that were not seen for long are forgotten."""

    REMEMBERED = 10_000

    def __init__(self, rate: float, burst: float) -> None:
        self._rate, self._burst = rate, burst
        self._buckets: OrderedDict[str, tuple[float, float]] = OrderedDict()  # the level, and when it was that

    def take(self, client: str) -> float:
        """Count a request; 0 where it may go on, else the seconds after which to come again."""
        wait = self.wait(client)
        if not wait:
            level, at = self._buckets[client]
            self._buckets[client] = level - 1.0, at
        return wait

    def wait(self, client: str) -> float:
        """What :meth:`take` would say, without counting."""
        now = time.monotonic()
        level, at = self._buckets.pop(client, (self._burst, now))
        level = min(self._burst, level + (now - at) * self._rate)
        self._buckets[client] = level, now
        if len(self._buckets) > self.REMEMBERED:
            self._buckets.popitem(last=False)
        return 0.0 if level >= 1.0 else (1.0 - level) / self._rate
