"""The interface between the API and what keeps the runs."""

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
NAME = "this store"  # for readers, who need not know where it lies


class Gap(Error):
    """Events are missing before those that were sent; ``position`` is the number of the last one that is kept."""

    def __init__(self, position: int) -> None:
        super().__init__(f"events after number {position} are missing: send them first")
        self.position = position


class Gone(Error):
    """The run was removed."""


class Unavailable(Error):
    """The storage can't be reached at the moment. Nothing was kept; later it may work."""


class StillReading(Unavailable):
    """Questions wait until what is new was read; ``share`` of that is done."""

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
        """The events after number ``seq``."""
        skipped = sum(number <= seq for number in self.seqs)
        return Batch(self.seqs[skipped:], self.lines[skipped:], self.at)

    def writer_began(self, started: float | None) -> float:
        """When the writer began: at ``started``, as its first event that is kept says; else as this batch says, where
        the first event is in it; else long ago."""
        if started is not None:
            return started
        return self.at if self.seqs[0] == 1 else 0.0


class IncomingEvent(NamedTuple):
    """An event as it was received: its writer, number, kind, and line."""

    writer: str
    seq: int
    kind: str
    line: bytes

    @classmethod
    def of(cls, writer: str, event: Event, line: bytes) -> IncomingEvent:
        """From an event and the line that it was read from."""
        kind = event.name if isinstance(event, Unknown) else str(event.__struct_config__.tag)
        return cls(writer, event.seq, kind, line)


class Tail(Protocol):
    """Follows a run."""

    def new(self) -> Sequence[IncomingEvent]:
        """The events that came since the last call: some of them, where they are many."""


class Storage(Protocol):
    """What keeps runs. Each method may be called from any thread, and by several processes at once."""

    def begin(self) -> None:
        """Get ready for questions, in the background; called once, when the server starts."""

    def readiness(self) -> float:
        """How much is read of what questions wait for; 1.0 when they are answered. Raises :class:`Unavailable`."""

    def positions(self, run: str) -> Mapping[str, int]:
        """The number of the last event that is kept of each writer of a run; empty where there is no such run."""

    def append(self, run: str, writer: str, after: int, batch: Batch) -> tuple[int, int]:
        """Keep the events of a batch that are not kept yet: all of them or none, and for good when this returns.

        Returns the number of the last event that is kept, and how many were new. Raises :class:`Gap` where events up
        to ``after`` are missing, :class:`Gone` where the run was removed.
        """

    def tail(self, run: str, after: Mapping[str, int]) -> Tail:
        """Follow a run: each writer's events after the number that ``after`` has for it, else from the first."""

    def ask(self, question: Callable[[Store], T]) -> T:
        """Call ``question`` with the store, in which there is all that was appended before; what it returns."""

    def remove(self, runs: Sequence[tuple[str, str]], by: str) -> None:
        """Remove runs, each given by its id and its name, for good; ``by`` is the name of who does."""

    def sweep(self) -> None:
        """Finish removals that were interrupted."""

    def collect(self, dry: bool, days: int) -> Collected:
        """See :class:`tachograph.upkeep.Upkeep`."""

    def missing(self, digests: Sequence[str]) -> Sequence[str]:
        """Those of ``digests`` that are not kept, for senders: the others stay for an hour at least, so that events may
        refer to them until then."""

    def lacking(self, digests: Sequence[str]) -> Sequence[str]:
        """The same for readers."""

    def blob_size(self, digest: str) -> int | None:
        """How many bytes the blob has; None where there is none."""

    def read_blob(self, digest: str, start: int, length: int) -> Iterator[bytes]:
        """``length`` bytes of a blob from ``start`` on."""

    @property
    def drafts(self) -> Drafts:
        """The files that are being received."""
