"""The questions that a store asks of whatever holds its runs: an index here, the mirror of a bucket, a server.

The answers are plain rows and bytes, so that they can come from tables or through a network alike. What people see is
made of them in :mod:`tachograph.store.store` and :mod:`tachograph.store.run_record`, in one way for all of these.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any, NamedTuple, Protocol

from msgspec import Meta, Struct

from tachograph.errors import NotFound
from tachograph.printable import decoded

PIECE = 1000  # runs that are asked about together
TEXTS = 100  # texts that are looked for together
SHOWN = 6  # runs that are listed where a key could mean several
ALL = 1 << 40  # as a limit of rows: as many as there are

Number = Annotated[int, Meta(ge=0, le=(1 << 63) - 1)]
Points = tuple[str, int, int, bytes, bytes, bytes]


def asked_name(name: object, what: str, of: str = "its name") -> str:
    """What is asked for by name, as it is recorded. Raises ``NotFound`` for what is no text."""
    if not isinstance(name, str):
        raise NotFound(f"{what} is found by {of}, not by a value of type {type(name).__name__}")
    return decoded(name)


def check_limit(limit: object, what: str) -> None:
    """Raise ValueError for what is no limit of how many there are to be; None is none at all."""
    if limit is not None and (isinstance(limit, bool) or not isinstance(limit, int) or limit < 0):
        raise ValueError(f"limit is a number of {what}, 0 or more, not {limit!r}")


class Row(NamedTuple):
    """A run, at a glance. Times are in seconds since 1970, UTC; ``latest`` is that of its last event."""

    id: str
    name: str | None
    experiment: str | None
    status: str
    started: float
    ended: float | None
    parent: str | None
    opener: str | None
    latest: float


class RunState(NamedTuple):
    """A run, and a text that changes with all that is recorded for it."""

    row: Row
    version: str


class Query(Struct, frozen=True, omit_defaults=True):
    """Which runs, see ``Store.runs``. ``parent`` is the id of the run in which they were opened, ``keeps`` the digest
    of an artifact that they recorded."""

    experiment: str | None = None
    where: str | None = None
    order_by: str | None = None
    children: bool = False
    parent: str | None = None
    keeps: str | None = None


class Page(NamedTuple):
    """Some runs of a query. ``after`` is what to ask with for those that follow, None where these are the last."""

    rows: list[Row]
    after: str | None


class Matches(Struct, frozen=True):
    """The runs that a key could mean: how many there are, and the newest of them. ``how`` says what the key is of them:
    "id", "beginning" (of an id) or "name"."""

    how: str
    count: int
    rows: list[Row]


class Files(Protocol):
    """Where the bytes of artifacts come from, by digest."""

    @property
    def copies(self) -> Path:
        """A folder for copies under their own names."""

    def blob(self, digest: str) -> Path:
        """A local file with these bytes, which the caller checks. There is no such file where the store lacks them."""

    def lacking(self, digests: Sequence[str]) -> Sequence[str]:
        """Those of ``digests`` whose bytes the store lacks."""


class Questions(Protocol):
    """What a store asks. Of a run that isn't there the answers are empty.

    Long answers can be asked for in parts: the first ``limit`` of those rows that come after the one whose first
    columns are ``after``. Numbers are as they were recorded, NaN and infinities too.
    """

    @property
    def name(self) -> str:
        """What people call the store: its folder, or its URL."""

    @property
    def root(self) -> Path | None:
        """Its folder of journals on this machine, where it has one."""

    @property
    def files(self) -> Files:
        """The bytes of its artifacts."""

    def refresh(self) -> None:
        """Take in what was recorded since."""

    def close(self) -> None:
        """Give back files and connections; the next question opens them again."""

    # -- runs --

    def runs(self, query: Query, after: str | None = None, limit: int = ALL) -> Page:
        """The runs of a query in order. Raises ``QueryError`` for one that can't be read."""

    def states(self, after: tuple[float, str] | None = None, limit: int = ALL) -> list[RunState]:
        """All runs, nested ones too, in the order in which they started, and then of their ids."""

    def find(self, key: str) -> Matches:
        """The run that ``key`` means: the one with that id, else the only one whose id begins so, else the only one of
        that name. Where there is no such, all that it could mean."""

    def removed(self, key: str) -> str | None:
        """A sentence on the removed run that ``key`` means; None where there is no such."""

    def experiments(self, after: tuple[str] | None = None, limit: int = ALL) -> list[tuple[str]]:
        """Their names."""

    def damage(
        self, torn: bool, after: tuple[str, str, Number, Number] | None = None, limit: int = ALL
    ) -> list[tuple[str, str, int, int, int, str]]:
        """Lines that can't be read: run, writer, segment, line, offset, reason. With ``torn`` those that were cut off
        when their writers died, else all others."""

    def unreadable(self, after: tuple[str] | None = None, limit: int = ALL) -> list[tuple[str, str]]:
        """Files and folders that can't be read, and why."""

    # -- of several runs: id, name, value --

    def params(
        self, ids: Sequence[str], after: tuple[str, str] | None = None, limit: int = ALL
    ) -> list[tuple[str, str, bytes]]:
        """Parameters as their events have them, in JSON."""

    def tags(
        self, ids: Sequence[str], after: tuple[str, str] | None = None, limit: int = ALL
    ) -> list[tuple[str, str, str]]:
        """Labels."""

    def metrics(
        self, ids: Sequence[str], system: bool, after: tuple[str, str] | None = None, limit: int = ALL
    ) -> list[tuple[str, str, float]]:
        """The last values: with ``system`` those of the hardware, whose names begin with "system/", else all others."""

    def happened(
        self, ids: Sequence[str], kind: str, after: tuple[str, float, str, Number] | None = None, limit: int = ALL
    ) -> list[tuple[str, float, str, int, bytes]]:
        """The events of a kind, the oldest of each run first: run, time, writer, sequence number, line."""

    # -- of all runs --

    def mentions(
        self, kind: str, texts: Sequence[str], after: tuple[str, float, str, Number] | None = None, limit: int = ALL
    ) -> list[tuple[str, float, str, int, bytes]]:
        """The events of a kind in whose lines one of ``texts`` stands, as for :meth:`happened`; "" stands in all."""

    # -- of one run --

    def events(
        self, id: str, kind: str, newest: bool = False, after: tuple[float, str, Number] | None = None, limit: int = ALL
    ) -> list[tuple[float, str, int, bytes]]:
        """The events of a kind, the oldest or the ``newest`` first: time, writer, sequence number, line."""

    def chunks(self, id: str, metric: str, after: tuple[str, Number] | None = None, limit: int = ALL) -> list[Points]:
        """The points of a metric, chunk by chunk: writer, first sequence number, and from ``size`` on the fields of
        :class:`tachograph.store.history.Packed`."""

    def series(self, id: str, writer: str, after: tuple[str, Number] | None = None, limit: int = ALL) -> list[Points]:
        """The points of all metrics of one writer: the same, with the metric's name in place of the writer."""

    def digests(
        self, id: str, metrics: Sequence[str], after: tuple[str, str, Number] | None = None, limit: int = ALL
    ) -> list[tuple[Any, ...]]:
        """What summaries are made of, for each chunk of several metrics: name, writer, first sequence number, and the
        fields of :class:`tachograph.index.chunks.ChunkDigest`."""

    def next_steps(self, id: str, after: tuple[str] | None = None, limit: int = ALL) -> list[tuple[str, int]]:
        """The metrics, and for each the step after its last one."""

    def end(self, id: str) -> bytes | None:
        """The event with which the writer that leads the run has ended it."""

    def writers(
        self, id: str, after: tuple[float, str] | None = None, limit: int = ALL
    ) -> list[tuple[float, str, bytes | None, bytes | None, bool]]:
        """The run's writers: when each started, its id, its start event, its end event, and whether nothing more is to
        be expected of it. The end was written by the writer, or by a witness of its crash; witnesses are not listed."""
