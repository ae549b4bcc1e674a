"""Runs as they are read back."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec
from msgspec import Struct

from tachograph import events, wording
from tachograph.errors import NotFound
from tachograph.events import Fault, RunEnd
from tachograph.index.projection import decode_start
from tachograph.printable import printable
from tachograph.store import notebook
from tachograph.store.artifacts import Artifact
from tachograph.store.questions import PIECE, Questions, Row, asked_name

if TYPE_CHECKING:
    from tachograph.store.history import History, Summary
    from tachograph.store.store import Store
    from tachograph.store.version_record import VersionRecord

CONSOLE_LINES = 10_000
SILENT_SECONDS = 600.0

_decode = msgspec.json.Decoder().decode
_decode_end = msgspec.json.Decoder(RunEnd).decode


class Note(Struct, frozen=True):
    """A remark. ``source`` is "user", or "tachograph" for what could not be recorded as asked."""

    at: datetime
    text: str
    source: str


class Writer(Struct, frozen=True):
    """A process that wrote to a run. ``role`` is "owner" or "worker"; ``status`` is one of a run's; ``ended`` is when
    that was recorded, None where it wasn't."""

    id: str
    host: str
    pid: int
    rank: int
    role: str
    attempt: int
    status: str
    error: Fault | None
    ended: datetime | None = None


class RunRecord:
    """A run as it was when the store was asked for it. Ask the store again for what came since.

    ``status`` is "running", "finished", "failed", "interrupted" or "crashed"; ``started`` and ``ended`` are aware
    datetimes (UTC), ``ended`` None while it runs; ``latest`` is the time of its last event. ``opener`` is "user" or the
    plug-in whose call opened the run.

    A run has crashed where its process (that of the newest attempt of rank 0) is gone and has written no end. The
    machine on which it ran can prove that; elsewhere it is known from a witness (see
    :mod:`tachograph.journal.witnesses`).
    """

    def __init__(self, store: Store, row: Row, batch: ReadTogether) -> None:
        self._store, self._questions, self._batch = store, store.questions, batch
        self.id: str
        self.id, name, self.experiment, self.status, started, ended, self.parent_id, opener, latest = row
        self.name: str = name or self.id
        self.opener: str = opener or "user"
        self.started: datetime = moment(started)
        self.ended: datetime | None = None if ended is None else moment(ended)
        self.latest: datetime = moment(latest)

    def __repr__(self) -> str:
        return printable(f"<tachograph run {self.name} ({self.id}), {self.status}>")

    def _repr_html_(self) -> str:
        return notebook.run(self)

    # -- what was set --

    @property
    def dir(self) -> Path:
        """The run's folder of journals. Raises ``NotFound`` where it doesn't lie on this machine, but on a server or in
        a bucket: what is kept here of a bucket is a copy, which comes and goes."""
        return self._store.root / "runs" / self.id

    @property
    def params(self) -> dict[str, Any]:
        """Parameters by name, the last value of each."""
        return self._batch.params.setdefault(self.id, {})

    @property
    def tags(self) -> dict[str, str]:
        """Labels by name."""
        return self._batch.tags.setdefault(self.id, {})

    @cached_property
    def environment(self) -> Mapping[str, Any]:
        """Where the run ran: python, packages, os, cpu, memory, gpus, git, argv, cwd, variables."""
        facts: dict[str, Any] = {}
        for event in self._events(events.Environment):
            facts |= event.values
        return facts

    # -- metrics --

    @property
    def metrics(self) -> dict[str, float]:
        """The last recorded value of each metric; the hardware's are in :attr:`system`."""
        return self._batch.metrics.setdefault(self.id, {})

    @property
    def system(self) -> dict[str, float]:
        """The last recorded values of the hardware's metrics, whose names begin with "system/"."""
        return self._batch.system.setdefault(self.id, {})

    def history(self, name: str) -> History:
        """The points of a metric in recorded order: arrays ``steps``, ``times`` (seconds since 1970) and ``values``.

        Raises ``NotFound`` for a metric that the run doesn't have.
        """
        from tachograph.store.history import Packed, merge

        name = asked_name(name, "a metric")
        chunks = self._questions.chunks(self.id, name)
        if not chunks:
            raise self._no_metric(name)
        return merge([Packed(row[0], *row[2:]) for row in chunks])

    def summary(self, name: str) -> Summary:
        """Count, first, last, min, max, mean of a metric, and the steps of min and max. Raises ``NotFound``."""
        [summary] = self.summaries([name]).values()
        return summary

    def summaries(self, names: Iterable[str]) -> dict[str, Summary]:
        """The summaries of several metrics, which are asked for together. Raises ``NotFound``."""
        from tachograph.index.chunks import ChunkDigest
        from tachograph.store.history import summarize

        asked = [asked_name(name, "a metric") for name in names]
        metrics: dict[str, dict[str, list[ChunkDigest]]] = {name: {} for name in asked}  # by name and writer
        unique = list(metrics)
        for start in range(0, len(unique), PIECE):
            for name, writer, _, *row in self._questions.digests(self.id, unique[start : start + PIECE]):
                metrics[name].setdefault(writer, []).append(ChunkDigest(*row))
        for name in (name for name, writers in metrics.items() if not writers):
            raise self._no_metric(name)
        return {name: summarize(list(writers.values())) for name, writers in metrics.items()}

    def _no_metric(self, name: str) -> NotFound:
        return NotFound(f"run {self.id} has no metric {name!r}; it has {wording.listed([*self.metrics, *self.system])}")

    def next_steps(self) -> dict[str, int]:
        """The step after the last one of each metric of rank 0: where a resumed run goes on."""
        return dict(self._questions.next_steps(self.id))

    # -- what was kept --

    @cached_property
    def artifacts(self) -> list[Artifact]:
        """Files and folders, the newest of each name and kind (of checkpoints that of each step, too), in the order in
        which they first came."""
        newest = {_identity(event): event for event in self._events(events.Artifact)}
        return [Artifact(self._questions.files, event, self._released) for event in newest.values()]

    def artifact(self, name: str) -> Artifact:
        """The newest artifact of that name, of whatever kind. Raises ``NotFound``."""
        return self._artifact("artifact", name, {event.name: event for event in self._events(events.Artifact)})

    def table(self, name: str) -> list[dict[str, Any]]:
        """The rows of a table that was logged with ``log_table``. Raises ``NotFound``."""
        tables = {event.name: event for event in self._events(events.Artifact) if event.type == "table"}
        rows: list[dict[str, Any]] = self._artifact("table", name, tables).load()
        return rows

    def _artifact(self, what: str, name: str, artifacts: Mapping[str, events.Artifact]) -> Artifact:
        name = asked_name(name, f"{'an' if what == 'artifact' else 'a'} {what}")
        if name not in artifacts:
            raise NotFound(f"run {self.id} has no {what} {name!r}; it has {wording.listed(artifacts)}")
        return Artifact(self._questions.files, artifacts[name], self._released)

    def register_model(
        self,
        name: str,
        artifact: str = "model",
        bump: str | None = None,
        version: str | None = None,
        tags: Mapping[str, str] | None = None,
        description: str | None = None,
    ) -> VersionRecord:
        """Make an artifact of this run the next version of a model, and return that.

        ``bump`` is what goes up from the highest version there is, "major", "minor" (as when it is left out), "patch"
        or "prerelease"; or ``version`` is the number itself. Raises ``NotFound`` where there is no such artifact,
        ValueError for a name that no model can have, and for a number that is taken or no version of semver.org.
        """
        return self._store.registry.register(self, name, artifact, bump, version, tags, description)

    @cached_property
    def _released(self) -> dict[str, str]:
        """The digests of files that the run no longer needs, as those of older checkpoints, and why."""
        return {digest: event.reason for event in self._events(events.Release) for digest in event.digests}

    @cached_property
    def datasets(self) -> list[events.Dataset]:
        """What the run was trained and evaluated on; each data set once for each role."""
        datasets = {(event.name, event.role, event.digest): event for event in self._events(events.Dataset)}
        return list(datasets.values())

    @cached_property
    def links(self) -> list[events.Link]:
        """Relations to something else, for example ``used`` a model version."""
        return self._events(events.Link)

    def keepers(self, digest: str) -> list[RunRecord]:
        """The runs of this store that have recorded an artifact with this digest: where a linked file came from."""
        return self._store.keepers(digest)

    @cached_property
    def notes(self) -> list[Note]:
        """Remarks, in order."""
        return [Note(moment(event.at), event.text, event.source) for event in self._events(events.Note)]

    @cached_property
    def console(self) -> list[str]:
        """Lines that the program printed, the last some ten thousand."""
        newest_first = self._questions.events(self.id, "console", newest=True, limit=CONSOLE_LINES)
        lines = [line for event in _decoded(reversed(newest_first), events.Console) for line in event.text.split("\n")]
        return lines[-CONSOLE_LINES:]

    def _events(self, kind: type[Any]) -> list[Any]:
        return _decoded(self._questions.events(self.id, str(kind.__struct_config__.tag)), kind)

    # -- who --

    @property
    def error(self) -> Fault | None:
        """What the run failed with: ``.type``, ``.message``, ``.traceback``; None where nothing is known.

        Of a job it is the first failure in time, of whichever rank: what the others then fail with follows from it, and
        stays with their writers.
        """
        return self.failure.error if self.failure else None

    @property
    def failure(self) -> Writer | None:
        """The writer that failed first, of those of the newest attempt; None where the run didn't fail."""
        if self.status in ("running", "finished"):
            return None
        newest = max((writer.attempt for writer in self.writers), default=0)
        failed = [writer for writer in self.writers if writer.attempt == newest and writer.error]
        return min(failed, key=lambda writer: writer.ended or self.latest, default=None)

    @property
    def silent_since(self) -> datetime | None:
        """The time of its last event, if it reads as running and nothing came for ten minutes; else None.

        The hardware is sampled every ten seconds unless that was switched off. So where nothing comes, the process or
        its machine may be gone, or the network between. A nested run, whose hardware is not sampled, is silent only if
        its parent is.
        """
        seen: set[str] = set()  # parents may form a cycle
        run: RunRecord | None = self
        while run is not None and run.status == "running" and run.id not in seen:
            if (datetime.now(UTC) - run.latest).total_seconds() < SILENT_SECONDS:
                return None
            seen.add(run.id)
            run = run.parent
        return self.latest if seen else None

    @property
    def seconds(self) -> float | None:
        """How long the run took, by the clock of its process; None where it has no recorded end."""
        return self._end.seconds if self._end else None

    @property
    def overhead(self) -> float | None:
        """How many of these seconds recording took on the user's threads, about; None where nothing is known."""
        return self._end.overhead if self._end else None

    @cached_property
    def _end(self) -> RunEnd | None:
        end = self._questions.end(self.id)
        return _decode_end(end) if end else None

    @cached_property
    def writers(self) -> list[Writer]:
        """The processes that wrote to the run, oldest first."""
        return _crashed_where_restarted([_writer(*row[1:]) for row in self._questions.writers(self.id)])

    @property
    def parent(self) -> RunRecord | None:
        """The run in which this one was opened, or None."""
        matches = self._questions.find(self.parent_id) if self.parent_id else None
        return self._store.records(matches.rows)[0] if matches and matches.how == "id" else None

    @property
    def children(self) -> list[RunRecord]:
        """The runs that were opened in this one, oldest first."""
        return self._store.children(self.id)


class ReadTogether:
    """Params, tags and last metrics of runs that were asked for together, read together when first needed."""

    def __init__(self, questions: Questions, ids: Sequence[str]) -> None:
        self._questions, self._ids = questions, ids

    @cached_property
    def params(self) -> dict[str, dict[str, Any]]:
        rows = self._questions.params(self._ids)
        return _grouped((run, name, events.param(_decode(value))) for run, name, value in rows)

    @cached_property
    def tags(self) -> dict[str, dict[str, str]]:
        return _grouped(self._questions.tags(self._ids))

    @cached_property
    def metrics(self) -> dict[str, dict[str, float]]:
        return _grouped(self._questions.metrics(self._ids, system=False))

    @cached_property
    def system(self) -> dict[str, dict[str, float]]:
        return _grouped(self._questions.metrics(self._ids, system=True))


def _decoded(rows: Iterable[tuple[float, str, int, bytes]], kind: type[Any]) -> list[Any]:
    decoded_events = (events.decode(line) for *_, line in rows)
    return [event for event in decoded_events if isinstance(event, kind)]


def _identity(event: events.Artifact) -> tuple[str, str, int | None]:
    """What a newer artifact has in common with the older one that it replaces: name and kind, of checkpoints the step,
    too."""
    is_series = event.type == "checkpoint" and event.name != "best"
    return event.name, event.type, event.step if is_series else None


def _grouped(rows: Iterable[tuple[str, str, Any]]) -> dict[str, dict[str, Any]]:
    groups: dict[str, dict[str, Any]] = {}
    for run, name, value in rows:
        groups.setdefault(run, {})[name] = value
    return groups


def _writer(id: str, header: bytes | None, end: bytes | None, sealed: bool) -> Writer:
    start, run_end = header and decode_start(header), end and _decode_end(end)
    status = run_end.status if run_end else "crashed" if sealed else "running"
    error = run_end.error if run_end else None
    # The end event of a crash has the time at which somebody found out, not that of the crash.
    at = moment(run_end.at) if run_end and run_end.status != "crashed" else None
    if not start:
        return Writer(id, host="", pid=0, rank=0, role="", attempt=0, status=status, error=error, ended=at)
    return Writer(id, start.host, start.pid, start.rank, start.role, start.attempt, status, error, at)


def _crashed_where_restarted(writers: list[Writer]) -> list[Writer]:
    """The writers, as crashed where their rank was started again: they are gone, even where their machine can't be
    looked at from here."""
    newest: dict[int, int] = {}
    for writer in writers:
        newest[writer.rank] = max(writer.attempt, newest.get(writer.rank, 0))
    return [
        msgspec.structs.replace(writer, status="crashed")
        if writer.status == "running" and writer.attempt < newest[writer.rank]
        else writer
        for writer in writers
    ]


def moment(at: float) -> datetime:
    """Seconds since 1970 as an aware datetime."""
    return datetime.fromtimestamp(at, UTC)
