"""What a store asks of the place where its runs are.

The answers are plain rows and bytes, so that they can come from tables or through a network alike. What people see is
made of them in :mod:`tachograph.store` and :mod:`tachograph.records`, in one way for all places.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple, Protocol

from msgspec import Struct

from tachograph.journal import Damage

PIECE = 1000  # runs that are asked about together
SHOWN = 6  # of the runs that a key could mean


class Row(NamedTuple):
    """A run, at a glance. Times are in seconds since 1970, UTC."""

    id: str
    name: str | None
    experiment: str | None
    status: str
    started: float
    ended: float | None
    parent: str | None
    opener: str | None


class State(NamedTuple):
    """A run, and a text that changes with all that is recorded for it."""

    row: Row
    version: str


class Query(Struct, frozen=True, omit_defaults=True):
    """Which runs, see ``Store.runs``."""

    experiment: str | None = None
    where: str | None = None
    order_by: str | None = None
    limit: int | None = None
    children: bool = False


class Found(Struct, frozen=True):
    """What a key could mean: ``how`` is "id", "beginning" or "name"; the newest of ``count`` runs."""

    how: str
    count: int
    rows: list[Row]


class Files(Protocol):
    """Where the bytes of artifacts come from, by digest."""

    @property
    def copies(self) -> Path:
        """A folder for copies under their own names."""

    def blob(self, digest: str) -> Path:
        """A local file with these bytes, which the caller checks; one that isn't there, where they are not held."""

    def lacking(self, digests: Sequence[str]) -> Sequence[str]:
        """Those of ``digests`` whose bytes are not held."""


class Questions(Protocol):
    """What a store asks. Of a run that isn't there the answers are empty.

    ``name`` is what people call the place; ``root`` its folder of journals on this machine, where it has one. Numbers
    are as they were recorded, NaN and infinities too. Raises ``QueryError`` for a query that can't be read.
    """

    @property
    def name(self) -> str: ...

    @property
    def root(self) -> Path | None: ...

    @property
    def files(self) -> Files: ...

    def refresh(self) -> None:
        """Take in what was recorded since."""

    def close(self) -> None:
        """Give back files and connections; the next question opens them again."""

    # -- runs --

    def pages(self, query: Query) -> Iterator[list[Row]]:
        """The runs of a query in order, ``PIECE`` at a time."""

    def states(self, after: tuple[float, str], limit: int) -> list[State]:
        """The runs, nested ones too, in the order in which they started, then of their ids: ``limit`` of those whose
        start and id come after the given ones."""

    def find(self, key: str) -> Found:
        """What ``key`` means: an id, else the beginning of one alone, else a name of one alone; else what it could
        mean."""

    def row(self, id: str) -> Row | None:
        """The run with exactly this id."""

    def children(self, id: str) -> list[Row]:
        """The runs that were opened in this one, oldest first."""

    def keepers(self, digest: str) -> list[Row]:
        """The runs that recorded an artifact with this digest, the newest first."""

    def removed(self, key: str) -> str | None:
        """What to say of a run that was removed, if ``key`` means one."""

    def experiments(self) -> list[str]:
        """Their names, in order."""

    def damage(self, torn: bool) -> list[Damage]:
        """Lines that can't be read: those that were cut off when their writers died, or all others."""

    # -- of several runs: id, name, value --

    def params(self, ids: Sequence[str]) -> list[tuple[str, str, bytes]]:
        """Parameters as their events have them, in JSON."""

    def tags(self, ids: Sequence[str]) -> list[tuple[str, str, str]]:
        """Labels."""

    def metrics(self, ids: Sequence[str], system: bool) -> list[tuple[str, str, float]]:
        """The last values: those of the hardware, whose names begin with "system/", or all others."""

    # -- of one run --

    def events(self, id: str, kind: str) -> list[bytes]:
        """The lines of a kind in the order of time."""

    def chunks(self, id: str, metric: str) -> list[tuple[str, int, bytes, bytes, bytes]]:
        """The fields of :class:`tachograph.history.Packed`, by writer and sequence number."""

    def series(self, id: str, writer: str, after: tuple[str, int], limit: int) -> list[tuple[Any, ...]]:
        """Chunks of all of a writer's metrics: the name, the first sequence number, and from ``size`` on the fields of
        :class:`tachograph.history.Packed`. In this order, ``limit`` of those that come after the given name and
        number."""

    def digests(self, id: str, metric: str) -> list[tuple[Any, ...]]:
        """Of each of these chunks the writer and the fields of :class:`tachograph.history.Digest`."""

    def next_steps(self, id: str) -> list[tuple[str, int]]:
        """By metric the step after its last one."""

    def end(self, id: str) -> bytes | None:
        """The end that the run's leader wrote."""

    def writers(self, id: str) -> list[tuple[str, bytes | None, bytes | None, bool]]:
        """Id, start, end, and whether nothing more is to be expected; the oldest first."""
