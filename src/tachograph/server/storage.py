"""What the API needs of a place that keeps runs."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import NamedTuple, Protocol, TypeVar

from msgspec import Struct

from tachograph.errors import Error
from tachograph.events import Event, Unknown
from tachograph.server.drafts import Drafts
from tachograph.store.store import Store
from tachograph.upkeep import Collected

T = TypeVar("T")
NAME = "this store"  # as readers are told: where it lies is no matter of theirs


class Gap(Error):
    """Events before those that came are not held; ``position`` is the number of the last one that is."""

    def __init__(self, position: int) -> None:
        super().__init__(f"events after number {position} are missing: send them first")
        self.position = position


class Gone(Error):
    """The run was removed."""


class Unavailable(Error):
    """What keeps the runs is not to be had at the moment. Nothing was kept; it may be better later."""


class Reading(Unavailable):
    """No question is answered before what is new was read; ``share`` of that is done."""

    def __init__(self, why: str, share: float) -> None:
        super().__init__(why)
        self.share = share


class Batch(Struct, frozen=True):
    """Events of one writer: the lines without their ends, and their sequence numbers, which rise. ``at`` is the first
    event's time."""

    seqs: Sequence[int]
    lines: Sequence[bytes]
    at: float

    def after(self, seq: int) -> Batch:
        """Those that come after ``seq``."""
        skipped = sum(number <= seq for number in self.seqs)
        return Batch(self.seqs[skipped:], self.lines[skipped:], self.at)

    def writer_began(self, started: float | None) -> float:
        """When the writer began: at ``started``, as its first event that is kept says; else as this batch says, where
        the first event is in it; else long ago."""
        if started is not None:
            return started
        return self.at if self.seqs[0] == 1 else 0.0


class IncomingEvent(NamedTuple):
    """An event as it came: who wrote it, its number, kind, and the line."""

    writer: str
    seq: int
    kind: str
    line: bytes

    @classmethod
    def of(cls, writer: str, event: Event, line: bytes) -> IncomingEvent:
        """That of an event that was read from its line."""
        kind = event.name if isinstance(event, Unknown) else str(event.__struct_config__.tag)
        return cls(writer, event.seq, kind, line)


class Tail(Protocol):
    """Follows a run."""

    def new(self) -> Sequence[IncomingEvent]:
        """What came since the last call, a bounded amount of it; nothing where nothing did."""


class Storage(Protocol):
    """Keeps runs. Each method may be called from any thread, and by several processes at once."""

    def begin(self) -> None:
        """Get ready for questions, in the background."""

    def readiness(self) -> float:
        """How much is done of what questions wait for: 1.0 when they are answered. Raises :class:`Unavailable`."""

    def positions(self, run: str) -> Mapping[str, int]:
        """By the id of each writer of a run the number of the last event that is held; empty for a run not known."""

    def append(self, run: str, writer: str, after: int, batch: Batch) -> tuple[int, int]:
        """Keep those events that are not held yet: all of them or none, and for good when this returns.

        Gives the position, and how many events were new. Raises :class:`Gap` where the last event that is held comes
        before ``after``, :class:`Gone` where the run was removed.
        """

    def tail(self, run: str, after: Mapping[str, int]) -> Tail:
        """A run's events, those of each writer from after the number that is given (left out: from the first)."""

    def ask(self, question: Callable[[Store], T]) -> T:
        """What ``question`` gives of the store, in which there is all that was appended before."""

    def remove(self, runs: Sequence[tuple[str, str]], by: str) -> None:
        """Remove runs, each given by its id and its name, for good; ``by`` says who does."""

    def sweep(self) -> None:
        """Finish removals that were interrupted."""

    def collect(self, dry: bool, days: int) -> Collected:
        """See :class:`tachograph.upkeep.Upkeep`."""

    def missing(self, digests: Sequence[str]) -> Sequence[str]:
        """Those of ``digests`` that are not held. The others will be for an hour: who asks relies on them."""

    def lacking(self, digests: Sequence[str]) -> Sequence[str]:
        """The same, for who only wants to know."""

    def blob_size(self, digest: str) -> int | None:
        """How many bytes the blob has; None where there is none."""

    def read_blob(self, digest: str, start: int, length: int) -> Iterator[bytes]:
        """``length`` bytes of a blob from ``start`` on."""

    @property
    def drafts(self) -> Drafts:
        """Where files come in."""
