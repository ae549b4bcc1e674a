"""A run: verbs that become events in this process's own journal.

None of the recording verbs raises: a misuse warns once and is noted in the run, a fault of ours stays in ``guard``.
``start_run`` (in :mod:`tachograph.record.start`) does check its arguments, before anything begins.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any

from tachograph import guard, settings, values
from tachograph.events import Metrics, Note, Params, RunEnd, RunStart, Tags
from tachograph.journal import Journal
from tachograph.printable import printable
from tachograph.record import device_values, launchers, lifecycle, open_runs, outcome, process_end, registering
from tachograph.record.overhead import Samples
from tachograph.record.recorder import Recorder
from tachograph.record.used import DataVerbs
from tachograph.runtime import deferred, process
from tachograph.runtime.quiet import quietly
from tachograph.version import __version__

STATUSES = ("finished", "failed", "interrupted")


class Run(DataVerbs):
    """A run that is being recorded, by one of its writers: this process.

    Use it as a context manager, or call :meth:`finish`. Made by :func:`start_run`, :meth:`child` and autolog.
    """

    def __init__(
        self,
        root: Path,
        id: str,
        *,
        name: str | None = None,
        experiment: str | None = None,
        parent_id: str | None = None,
        role: str = "owner",
        opener: str = "user",
        rank: int = 0,
        attempt: int = 0,
        sinks: Sequence[str] = (),
    ) -> None:
        self.id, self.name, self.experiment, self.parent_id = id, name, experiment, parent_id
        self.root, self.dir = root, root / "runs" / id if id else None
        self.sinks = tuple(sinks)
        self.ended = False
        self.joined = False
        self.registers: str | None = None  # the model of which this run makes a version when it has ended well
        self.role, self.opener, self.rank, self.attempt = role, opener, rank, attempt
        self._started = time.monotonic()
        self.spent = 0.0  # seconds of the user's threads that recording took, but for ``log``
        self._samples = Samples()
        self.recorder = Recorder(self)
        self._arguments: dict[str, Any] = {}
        self._journal = Journal(self._become_writer(), self._header, self._log_unusual)
        self._listeners: list[Callable[[Any], object]] = []
        self._choose_log()

    def _become_writer(self) -> Path:
        """Choose a name for this process as a writer; returns the folder of its journal, which nobody else uses."""
        me = process.this()
        self.writer = f"{self.rank}-{me.place}-{me.pid}-{process.random_text(6)}"
        return self.root / "runs" / self.id / self.writer

    def _header(self) -> RunStart:
        process_end.end_child()
        me = process.this()
        return RunStart(
            run=self.id, writer=self.writer, role=self.role, host=me.host, boot=me.boot, pid=me.pid, born=me.born,
            rank=self.rank, attempt=self.attempt, name=self.name, experiment=self.experiment, parent=self.parent_id,
            opener=self.opener, version=__version__, sinks=_public(self.sinks),
            namespace=me.namespace, machine=me.machine,
        )  # fmt: skip

    def _forked(self) -> None:
        """In a forked child: go on as a further writer of the same run, from the first thing that is recorded."""
        self.role = "worker"
        self.spent, self._samples = 0.0, Samples()
        self.recorder.closing.clear()  # the parent does that
        # In place, since somebody may have kept ``run.log``; and its lock may be held by a thread that is not here.
        self._journal.__init__(self._become_writer(), self._header, self._log_unusual)  # type: ignore[misc]

    @classmethod
    def join(cls, root: Path, id: str, start: RunStart | None = None) -> Run:
        """This process as a further writer of a run that another process has open, with ``start`` as its header."""
        job = launchers.job()
        rank = job.rank if job is not None else start.rank if start is not None else 0
        run = cls(root, id, role="worker", rank=rank, attempt=start.attempt if start is not None else 0)
        run.joined = True
        if start is not None:
            run.name, run.experiment, run.parent_id, run.opener = (
                start.name,
                start.experiment,
                start.parent,
                start.opener,
            )
        open_runs.register(run)
        process_end.watch()
        if job is not None and rank > 0:  # the rank is to be on record even if it records nothing
            with guard.contained("start", run):
                run._journal.begin()
        return run

    # -- recording --

    def log(self, values: Mapping[str, float], step: int | None = None) -> None:
        """Record points. They are on disk when this returns.

        ``values`` maps names to numbers (Python's, NumPy's, or arrays and tensors of one element; NaN and infinities
        too). A number on a device is copied without making anybody wait, and recorded when it has arrived. ``step`` is
        a whole number, in any order; left out, each name counts 0, 1, 2 ... for itself.
        """
        self._journal.log(values, step)  # type: ignore[arg-type]  # hidden by the same function of the journal

    def _choose_log(self) -> None:
        """Set ``log`` to the function that its next call needs: one that chose in each call would be slower."""
        self.log = self._log_measured if self._samples.wanted else self._unmeasured_log()  # type: ignore[method-assign]

    def _unmeasured_log(self) -> Callable[..., None]:
        return self._log_heard if self._listeners else self._journal.log

    def _listen(self, listener: Callable[[Any], object]) -> None:
        """From now on ``listener`` is called with the points of each call of ``log``."""
        self._listeners.append(listener)
        self._choose_log()

    def _log_heard(self, values: Mapping[str, float], step: int | None = None) -> None:
        with guard.contained("log", self):
            for listener in self._listeners:
                listener(values)
        self._journal.log(values, step)  # type: ignore[arg-type]

    def _measure_log(self) -> None:
        """Measure the next call of ``log``. Called once a second, so that the other calls are not slowed down."""
        if not self.ended:
            self._samples.wanted = True
            self._choose_log()

    def _log_measured(self, values: Mapping[str, float], step: int | None = None) -> None:
        log, samples = self._unmeasured_log(), self._samples
        if not samples.wanted:  # somebody kept this function
            log(values, step)
            return
        samples.wanted = False
        self._choose_log()
        careful, began = self._journal.careful, time.perf_counter()
        log(values, step)
        took = time.perf_counter() - began
        if self._journal.careful == careful:
            samples.add(took)

    @property
    def overhead(self) -> float:
        """Seconds that recording has taken on the user's threads so far: what was measured, and for ``log`` the number
        of its points times what the sampled ones took."""
        return self.spent + self._journal.fast * self._samples.mean

    @guard.shield
    def _log_unusual(self, points: Any, step: Any) -> None:
        """Points that are no plain floats, or whose names are at different steps."""
        points, copies, unread = device_values.start(points)
        good, complaints = values.metrics(points)
        whole = values.step(step) if step is not None else None
        if step is not None and whole is None:
            complaints.append(f"step must be a whole number, not {values.like(step)}: the next step was used")
        self._journal.alone(self._append_points, good, copies, whole)  # the counts of the steps are for all threads
        self.recorder.complain([*complaints, *unread])

    def _append_points(self, good: dict[str, Any], copies: dict[str, device_values.Copy], step: int | None) -> None:
        for by_step, part in self._journal.steps.by_step(good, step).items():
            self._journal.append(Metrics(0, 0, 0.0, by_step, part))
        for by_step, part in self._journal.steps.by_step(copies, step).items():
            device_values.waiting.add(self, by_step, part)

    @guard.shield
    @quietly()
    def log_params(self, params: Mapping[str, Any]) -> None:
        """Record parameters. Nested mappings are flattened with dots; None, bool, int, float, str and lists keep
        their type, anything else becomes text; what stands under a secret's name is left out."""
        good, complaints = values.params(params)
        if good:
            self._journal.append(Params(values=good))
        for name in self._arguments.keys() & good.keys():
            if self._arguments[name] != good[name]:
                self.recorder.remark(
                    f"param {name} was {self._arguments[name]!r} on the command line, then {good[name]!r} was recorded "
                    "under that name: the later one is shown"
                )
        self.recorder.complain(complaints)

    @guard.shield
    @quietly()
    def set_tags(self, tags: Mapping[str, str]) -> None:
        """Set labels; the last value of a name counts."""
        if not isinstance(tags, Mapping):
            self.recorder.complain([f"set_tags takes a mapping of names to text, got {type(tags).__name__}"])
            return
        named = [(values.text_name(name), value) for name, value in tags.items()]
        clean = {name: values.secret(name, value) or values.text(value) for name, value in named}
        if "" in clean:
            self.recorder.complain(["a tag's name must not be empty"])
            del clean[""]
        if clean:
            self._journal.append(Tags(values=clean))

    @guard.shield
    @quietly()
    def log_note(self, text: str) -> None:
        """Record a remark."""
        self._journal.append(Note(text=values.text(text)))

    @guard.shield
    def log_artifact(
        self, path: str | os.PathLike[str], name: str | None = None, kind: str = "file", step: int | None = None
    ) -> None:
        """Keep a copy of a file or folder as it is now. The same name again makes a newer one."""
        if not isinstance(path, str | os.PathLike) or not os.fspath(path):
            self.recorder.complain(
                [f"an artifact was not kept: its path must be text or a Path, not {values.like(path)}"]
            )
            return
        self.recorder.keep(Path(path), name, kind, step)

    @guard.shield
    @quietly()
    def log_figure(self, name: str, figure: Any, step: int | None = None) -> None:
        """Keep a figure of matplotlib (as SVG) or plotly (as its JSON)."""
        from tachograph.capture import figures

        try:
            content, filename = figures.render(figure, values.text_name(name))
        except TypeError as error:
            self.recorder.complain([f"figure {values.text_name(name)!r} was not kept: {error}"])
            return
        self.recorder.keep_bytes(content, name, "figure", filename, step)

    @guard.shield
    @quietly()
    def log_table(self, name: str, rows: Any, step: int | None = None) -> None:
        """Keep a table: a list of dicts, or a pandas or polars frame. It is kept as it is, also what stands in columns
        with names of secrets: leave out what should not be in it."""
        from tachograph.data import rows as tables

        try:
            content, meta = tables.render(rows)
        except TypeError as error:
            self.recorder.complain([f"table {values.text_name(name)!r} was not kept: {error}"])
            return
        self.recorder.keep_bytes(content, name, "table", f"{values.text_name(name)}.jsonl", step, meta)

    # -- life --

    def child(self, name: str | None = None) -> Run:
        """Open a nested run; a context manager."""
        from tachograph.record.start import open_run

        return open_run(name, self.experiment, parent=self, opener=self.opener, root=self.root)

    def finish(self, status: str = "finished", error: BaseException | str | None = None) -> None:
        """End the run: "finished", "failed" or "interrupted". What is recorded later is still kept."""
        if self.ended:
            return
        if status not in STATUSES:
            guard.misuse(
                f"a run ends {', '.join(STATUSES)}, not {values.text(status)[:80]!r}: recorded as failed", self
            )
            status = "failed"
        try:
            self._close()
            if self.registers is not None and status == "finished":
                with guard.contained("register", self), quietly():
                    registering.at_end(self, self.registers)
        finally:  # also where a Ctrl-C comes in there
            self._end_now(status, error)

    def _end_now(self, status: str, error: BaseException | str | None) -> None:
        with guard.contained("finish", self):
            lifecycle.close(self)
        self.ended = True
        open_runs.remove(self)
        if not open_runs.open_runs():
            process_end.unwatch()
        with guard.contained("finish", self):
            self._finish(status, error)

    @property
    def holds_back(self) -> bool:
        """Whether somebody has something left to record when the run ends."""
        return bool(self.recorder.closing)

    def _close(self) -> None:
        while self.recorder.closing:
            with guard.contained("finish", self), quietly():
                self.recorder.closing.pop(0)()
        with guard.contained("finish", self):
            deferred.do_now(self)
        with guard.contained("finish", self):
            device_values.waiting.wait_for(self)

    def reopen(self) -> bool:
        """Go on with a run of this process that has ended; False where it is open anyway."""
        if not self.ended:
            return False
        self.ended = False
        open_runs.push(self)
        return True

    def _finish(self, status: str, error: BaseException | str | None) -> None:
        if not self._journal.begun:
            return  # a joined process that recorded nothing
        try:
            self._journal.append(self._end(status, error))
        finally:
            self._journal.close()
            lifecycle.leave(self)

    def _end(self, status: str, error: BaseException | str | None) -> RunEnd:
        seconds = time.monotonic() - self._started
        end = RunEnd(status=status, error=outcome.describe(error), seconds=round(seconds, 6))
        end.overhead = round(min(self.overhead, seconds), 6)
        return end

    def __enter__(self) -> Run:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.finish(outcome.status(error), error)

    def __reduce__(self) -> tuple[Any, ...]:
        return (_unpickle, (str(self.root), self.id))

    def __repr__(self) -> str:
        return printable(f"<tachograph run {self.name or self.id} ({self.id})>")


def _unpickle(root: str, id: str) -> Run:
    """A pickled run: the same one where it is open in this process, else joined as a further writer."""
    if settings.off():
        from tachograph.record.start import OffRun

        return OffRun()
    for run in open_runs.open_runs():
        if run.id == id and str(run.root) == root:
            return run
    return Run.join(Path(root), id)


def _public(urls: Sequence[str]) -> list[str]:
    """URLs as they may be recorded."""
    if not urls:
        return []
    from tachograph.redaction import redact_url

    return [redact_url(url) for url in urls]
