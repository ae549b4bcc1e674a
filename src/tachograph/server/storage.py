"""What the API needs of a place that keeps runs."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple, Protocol

from tachograph.errors import Error
from tachograph.server.batch import Batch


class Gap(Error):
    """Events before those that came are not held; ``position`` is the number of the last one that is."""

    def __init__(self, position: int) -> None:
        super().__init__(f"events after number {position} are missing: send them first")
        self.position = position


class Gone(Error):
    """The run was removed."""


class Heard(NamedTuple):
    """An event as it came: who wrote it, its number, kind, and the line."""

    writer: str
    seq: int
    kind: str
    line: bytes


class Tail(Protocol):
    """Follows a run."""

    def new(self) -> Sequence[Heard]:
        """What came since the last call, a bounded amount of it; nothing where nothing did."""


class Draft(Protocol):
    """A file on its way in."""

    def write(self, content: bytes) -> None:
        """Add to it."""

    def keep(self, digest: str) -> bool:
        """Let it be the blob of that digest, which is known to be its own. False where there was one already."""

    def close(self) -> None:
        """Throw away what was not kept."""


class Storage(Protocol):
    """Keeps runs. Each method may be called from any thread, and by several processes at once.

    Those that are asked for a run by ``key`` take an id, a unique beginning of it, its name or "latest", and raise
    ``NotFound``. Documents are plain values in which numbers are finite (see :mod:`tachograph.cli.document`).
    """

    def positions(self, run: str) -> Mapping[str, int]:
        """By the id of each writer of a run the number of the last event that is held; empty for a run not known."""

    def append(self, run: str, writer: str, after: int, batch: Batch) -> tuple[int, int]:
        """Keep those events that are not held yet: all of them or none, and for good when this returns.

        Gives the position, and how many events were new. Raises :class:`Gap` where the last event that is held comes
        before ``after``, :class:`Gone` where the run was removed.
        """

    def tail(self, run: str, after: Mapping[str, int]) -> Tail:
        """A run's events, those of each writer from after the number that is given (left out: from the first)."""

    def runs(self, **query: Any) -> list[dict[str, Any]]:
        """What ``tachograph runs --json`` writes; the query has the arguments of ``Store.runs``."""

    def run(self, key: str) -> dict[str, Any]:
        """What ``tachograph show --json`` writes."""

    def status(self, key: str) -> tuple[str, str]:
        """A run's id and its status."""

    def history(self, key: str, metric: str) -> dict[str, Any]:
        """The lists ``steps``, ``times`` and ``values`` of a metric."""

    def blob_size(self, digest: str) -> int | None:
        """How many bytes the blob has; None where there is none."""

    def read_blob(self, digest: str, start: int, length: int) -> Iterator[bytes]:
        """``length`` bytes of a blob from ``start`` on."""

    def receive_blob(self) -> Draft:
        """A new file."""
