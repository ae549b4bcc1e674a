"""``run.recorder``: what plug-ins may ask of a run, beyond the verbs that its user has.

None of it raises for what can't be recorded: that is noted in the run.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

from tachograph import guard, values
from tachograph.events import Artifact, Dataset, Event, Link, Member, Note, Params
from tachograph.journal import folders
from tachograph.journal.blobs import Blobs
from tachograph.runtime import deferred
from tachograph.runtime.background import LATER
from tachograph.runtime.quiet import quietly

if TYPE_CHECKING:
    from tachograph.data.fingerprint import Fingerprint
    from tachograph.record.run import Run

DESCRIPTIONS = "descriptions"  # of data sets, in what is deferred
MOST_DESCRIPTIONS = 4  # each holds a sample of its data


class Recorder:
    """Records to ``run``: events, files, data sets, links, remarks."""

    def __init__(self, run: Run) -> None:
        self.run = run
        self.blobs = Blobs(run.root)
        self.closing: list[Callable[[], object]] = []
        self._remarks: set[str] = set()

    # -- events --

    @guard.shield
    def append(self, *events: Event) -> None:
        """Write events, with nothing else in between; each is numbered, and dated where it has no date."""
        self.run._journal.append_all(events)

    @guard.shield
    def append_late(self, event: Event) -> None:
        """Write an event that may come after the run's end. A folder that was deleted since stays so."""
        if not self.run.ended or self.run.dir is None or self.run.dir.exists():
            self.append(event)

    def log(self, points: Mapping[str, float], step: int | None = None) -> None:
        """Like ``run.log``, for points that are not the user's: listeners are not called with them."""
        self.run._journal.log(points, step)  # type: ignore[arg-type]

    def next_step(self, name: str) -> int:
        """The step that a point of ``name`` gets if it is logged without one."""
        return self.run._journal.steps.next(name)

    def keep_open(self) -> None:
        """Keep the journal of a run that has ended open between events, since more of them are to come."""
        self.run._journal.reopen()

    def forked(self) -> None:
        """In a forked child: give a run that has ended a journal of the child's own. Open runs have theirs already."""
        self.run._forked()

    @guard.shield
    def link(self, relation: str, target: str, **meta: Any) -> None:
        """Record how the run is related to something: a file, a run, an address."""
        self.append(Link(relation=relation, target=target, meta=meta))

    @guard.shield
    def log_arguments(self, parsed: Mapping[str, Any]) -> None:
        """Record what the command line was parsed to, as parameters; ``log_params`` says where it differs."""
        self.run._arguments.update(parsed)
        self.append(Params(values=dict(parsed)))

    def remark(self, text: str) -> None:
        """Note what could not be recorded, and why; the same text only once. It may quote what others have said."""
        if text not in self._remarks:
            self._remarks.add(text)
            self.run._journal.append(Note(text=values.text(text), source="tachograph"))

    def complain(self, complaints: Iterable[str]) -> None:
        """Warn of what could not be recorded, each once, and note it in the run."""
        for complaint in complaints:
            guard.misuse(complaint, self.run)

    # -- when --

    def before_end(self, job: Callable[[], object]) -> None:
        """Call ``job`` when the run is about to end, while something can still be recorded in it."""
        self.closing.append(job)

    def listen(self, listener: Callable[[Any], object]) -> None:
        """From now on ``listener`` is called with the points of each call of ``run.log``."""
        self.run._listen(listener)

    @guard.shield
    def add_child(
        self, name: str, params: Mapping[str, Any], points: Sequence[tuple[int, Mapping[str, float]]]
    ) -> None:
        """Record a nested run of something that is over already: its parameters, and its points with their steps."""
        from tachograph.record.start import record_child

        record_child(self.run, name, params, points)

    # -- data --

    @guard.shield
    @quietly()
    def log_dataset(
        self, data: Any, name: str, role: str, target: Any = None, source: str | None = None, version: str | None = None
    ) -> None:
        """See :meth:`Run.log_dataset`."""
        from tachograph.data import describe

        described = describe.fingerprint(data, target=target)
        self.append(_dataset(described, name, role, source=source, version=version))

    @guard.shield
    @quietly()
    def log_training_data(self, data: Any, name: str, role: str, target: Any = None) -> None:
        """:meth:`log_dataset` for a training that is about to begin: it need not wait for the statistics.

        What is known at once is recorded at once, digest included; the whole description comes some tenths of a second
        later, also after the run's end, and takes its place.
        """
        from tachograph.data import describe

        begun = describe.begin(data, target=target)
        self.append(_dataset(begun.known, name, role))
        if begun.complete is not None:
            deferred.record(partial(self._append_complete, begun.complete, name, role), DESCRIPTIONS, LATER)
            if deferred.count(DESCRIPTIONS) > MOST_DESCRIPTIONS:
                deferred.do_now(DESCRIPTIONS)

    @guard.shield
    @quietly()
    def _append_complete(self, complete: Callable[[], Fingerprint], name: str, role: str) -> None:
        self.append_late(_dataset(complete(), name, role))

    # -- files --

    @guard.shield
    def keep(
        self,
        path: Path,
        name: str | None,
        kind: str,
        step: int | None = None,
        meta: Mapping[str, Any] | None = None,
        filename: str = "",
    ) -> None:
        """Keep a copy of a file or folder as it is now; ``filename`` is what it is called, if not as it is there."""
        filename = filename or path.name or path.absolute().name or "folder"
        members: list[Member] | None = None
        left_out: dict[str, str] = {}
        try:
            if path.is_dir():
                digest, size, members, left_out = self.blobs.put_folder(path)
            else:
                digest, size = self.blobs.put_file(path)
        except (OSError, ValueError) as error:  # ValueError: a path with a zero byte
            self._not_kept(f"artifact {path} was not kept: {getattr(error, 'strerror', None) or error}")
            return
        self.kept(name or filename, kind, digest, size, filename, step, members, meta)
        self.say_left_out(f"artifact {path}", left_out)

    @guard.shield
    def keep_bytes(
        self,
        content: bytes,
        name: str,
        kind: str,
        filename: str,
        step: int | None = None,
        meta: Mapping[str, Any] | None = None,
    ) -> str | None:
        """Keep some bytes as a file. Returns their digest, or None where they could not be kept."""
        try:
            digest, size = self.blobs.put_bytes(content)
        except OSError as error:
            self._not_kept(f"artifact {name} was not kept: {error.strerror or error}")
            return None
        self.kept(name, kind, digest, size, filename, step, None, meta)
        return digest

    def kept(
        self,
        name: str,
        kind: str,
        digest: str,
        size: int,
        filename: str,
        step: int | None = None,
        members: list[Member] | None = None,
        meta: Mapping[str, Any] | None = None,
    ) -> None:
        """Record what is in ``blobs`` already, by its digest; a folder with the files that are its members."""
        whole = None if step is None else values.step(step)
        if whole is None and step is not None:
            self.complain([f"step must be a whole number, not {values.like(step)}: an artifact was kept without one"])
        self.append(
            Artifact(
                name=values.text_name(name) or "unnamed",
                type=values.text_name(kind) or "file",
                digest=digest,
                size=size,
                filename=values.file_name(filename),
                step=whole,
                members=members,
                meta=dict(meta or {}),
            )
        )

    def say_left_out(self, what: str, left_out: Mapping[str, str]) -> None:
        """Complain of the parts of a folder that were not kept: each path, and why."""
        if left_out:
            self.complain([f"{what} was kept without {folders.named(left_out)}"])

    def _not_kept(self, complaint: str) -> None:
        """Complain of a file; only in the run where the whole store takes nothing, which was said already."""
        if self.run._journal.unwritten:
            self.remark(complaint)
        else:
            self.complain([complaint])


def _dataset(
    described: Fingerprint, name: str, role: str, source: str | None = None, version: str | None = None
) -> Dataset:
    return Dataset(
        name=values.text_name(name) or "data",
        role=values.text_name(role),
        digest=described.digest or "",
        rows=described.rows,
        columns=described.columns,
        source=None if source is None else values.text(source),
        version=None if version is None else values.text(version),
        profile=msgspec.to_builtins(described),
    )


class OffRecorder(Recorder):
    """The recorder of a process in which recording is switched off: it takes everything and does nothing."""

    def __init__(self) -> None:
        self.closing = []

    def next_step(self, name: str) -> int:
        return 0

    def _ignore(self, *args: Any, **kwargs: Any) -> None:
        return None

    append = append_late = log = keep_open = link = remark = complain = before_end = listen = add_child = _ignore
    log_arguments = forked = _ignore
    log_dataset = log_training_data = keep = keep_bytes = kept = say_left_out = _ignore
