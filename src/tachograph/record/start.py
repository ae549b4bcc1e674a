"""Starting a run: checking the arguments, choosing the run's id and rank, and beginning to record."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from tachograph import guard, settings, values
from tachograph.events import Event, Metrics, Params
from tachograph.record import active_run, job_runs, launchers, lifecycle, open_runs, process_end
from tachograph.record import verbs as _verbs  # noqa: F401  # they are to be there when no file can be opened any more
from tachograph.record.recorder import OffRecorder
from tachograph.record.run import Run
from tachograph.runtime import deferred, notebooks, process

DEFAULT_EXPERIMENT = "default"


class OffRun(Run):
    """The run of a process in which recording is switched off: it takes everything and does nothing."""

    def __init__(self) -> None:
        self.id, self.name, self.experiment, self.parent_id = "", None, None, None
        self.root, self.dir, self.sinks, self.ended = Path(), None, (), False
        self.opener, self.role, self.rank, self.attempt = "user", "owner", 0, 0
        self.recorder = OffRecorder()

    def _ignore(self, *args: Any, **kwargs: Any) -> None:
        return None

    log = log_params = set_tags = log_note = log_artifact = log_figure = log_table = log_dataset = _ignore
    use_dataset = use_model = register_model = finish = _forked = _ignore

    def child(self, name: str | None = None) -> Run:
        return OffRun()

    def __reduce__(self) -> tuple[Any, ...]:
        return (OffRun, ())


def start_run(
    name: str | None = None,
    *,
    experiment: str | None = None,
    params: Mapping[str, Any] | None = None,
    tags: Mapping[str, str] | None = None,
    parent: Run | str | None = None,
    resume: Run | str | None = None,
    sinks: Sequence[str] | None = None,
) -> Run:
    """Open a run, and make it the active one. ``with start_run() as run: ...`` ends it too.

    Inside another run of the same thread it becomes that one's child, unless ``parent`` says otherwise. ``resume``
    goes on with an earlier run. Raises ValueError for arguments of the wrong type, and ``NotFound`` for a ``parent`` or
    ``resume`` that the store does not have.
    """
    check_text(name=name, experiment=experiment)
    check_mapping(params=params, tags=tags)
    check_sinks(sinks)
    check_run(parent=parent, resume=resume)
    if settings.off():
        return OffRun()
    if resume is not None:
        run = _resume(resume, sinks)
    else:
        run = open_run(name, experiment, parent=_parent(parent), sinks=sinks)
    if params:
        run.log_params(params)
    if tags:
        run.set_tags(tags)
    return run


def open_run(
    name: str | None,
    experiment: str | None,
    *,
    parent: Run | str | None = None,
    opener: str = "user",
    sinks: Sequence[str] | None = None,
    root: Path | None = None,
) -> Run:
    """Open a run without checking the arguments: the common part of ``start_run``, ``child`` and autolog."""
    parent_id = parent.id if isinstance(parent, Run) else parent
    if root is None:
        root = parent.root if isinstance(parent, Run) else settings.root()
    if experiment is None:
        experiment = (
            (parent.experiment if isinstance(parent, Run) else None) or settings.get("experiment") or DEFAULT_EXPERIMENT
        )
    if sinks is None:
        sinks = parent.sinks if isinstance(parent, Run) else settings.sinks()
    name = name or script_name()
    identity, resumed = _identity(root, name, parent_id, opener)
    run = Run(
        root, name=name, experiment=experiment, parent_id=parent_id, opener=opener, sinks=sinks,
        **identity,
    )  # fmt: skip
    if resumed:
        with guard.contained("resume", run):
            run._journal.steps.resume(job_runs.next_steps(run.root / "runs" / run.id, run.rank))
    return _begin(run)


def record_child(parent: Run, name: str, params: Mapping[str, Any], points: Sequence[tuple[int, Any]]) -> None:
    """Record a nested run of something that is over already: its parameters, and points with their steps.

    It is never active. Its folder and its events are written later, in one go.
    """
    identity, _ = _identity(parent.root, name, parent.id, parent.opener)
    run = Run(
        parent.root, name=name, experiment=parent.experiment, parent_id=parent.id, opener=parent.opener,
        sinks=parent.sinks, **identity,
    )  # fmt: skip
    good = values.params(params)[0]
    curves = [Metrics(0, 0, 0.0, step, values.metrics(part)[0]) for step, part in points]
    deferred.record(partial(_record_whole, run, [Params(values=good), *curves, run._end("finished", None)]))


def _record_whole(run: Run, events: Sequence[Event]) -> None:
    run._journal.append_all(events)
    run._journal.close()
    run.ended = True
    _ship(run)
    lifecycle.leave(run)


def _ship(run: Run) -> None:
    if run.sinks:
        with guard.contained("sinks", run):
            from tachograph.ship.shipper import shipper

            shipper.enter(run)


def _begin(run: Run) -> Run:
    open_runs.push(run)
    start: list[Callable[[], object]] = [
        run._journal.begin,
        partial(_hide, run.root),
        partial(active_run.announce, run.root),
        process_end.watch,
        partial(lifecycle.enter, run),
        partial(lifecycle.look, run.root),
    ]
    for step in start:  # a fault in one does not keep the others
        with guard.contained("start", run):
            step()
    _ship(run)
    return run


def _hide(root: Path) -> None:
    """Keep a store inside a repository out of its version control."""
    if root.name == settings.FOLDER and not (root / ".gitignore").exists():
        with contextlib.suppress(OSError):  # the journal says so, where nothing can be written
            (root / ".gitignore").write_text("*\n", encoding="utf-8")


def _identity(root: Path, name: str, parent_id: str | None, opener: str) -> tuple[dict[str, Any], bool]:
    """The run's id, rank, attempt and role, and whether it goes on with the run of an earlier attempt.

    In a distributed job they follow from the job; elsewhere the id is a new one.
    """
    ours: job_runs.RunRank | None = None
    with guard.contained("rank"):
        ours = job_runs.run_rank(root, name, parent_id, opener)
    if ours is None:
        return {"id": f"{time.strftime('%Y%m%d-%H%M%S', time.gmtime())}-{process.random_text(6)}"}, False
    role = "owner" if ours.rank == 0 else "worker"
    return {"id": ours.id, "rank": ours.rank, "attempt": ours.attempt, "role": role}, ours.resumed


def _resume(resume: Run | str, sinks: Sequence[str] | None) -> Run:
    from tachograph.store.store import open_store

    if isinstance(resume, Run) and not resume.ended:
        return resume
    root = resume.root if isinstance(resume, Run) else settings.root()
    recorded = open_store(root).run(resume.id if isinstance(resume, Run) else resume)
    job = launchers.job()
    rank = 0 if job is None else job.rank
    run = Run(
        root, recorded.id, name=recorded.name, experiment=recorded.experiment, parent_id=recorded.parent_id,
        role="owner" if rank == 0 else "worker", rank=rank,
        attempt=max((writer.attempt for writer in recorded.writers if writer.rank == rank), default=0) + 1,
        sinks=settings.sinks() if sinks is None else sinks,
    )  # fmt: skip
    run._journal.steps.resume(recorded.next_steps() if rank == 0 else job_runs.next_steps(recorded.dir, rank))
    return _begin(run)


def _parent(parent: Run | str | None) -> Run | str | None:
    """The run below which a new one is opened, or its id; None for a run of its own."""
    if parent is None:
        return open_runs.here()
    if isinstance(parent, Run):
        return parent
    from tachograph.store.store import open_store

    return open_store(settings.root()).run(parent).id


def script_name() -> str:
    """The name of a run that nobody has named: that of the notebook, the script or the package that runs here."""
    import sys

    if (notebook := notebooks.notebook()) is not None:
        return notebook
    path = Path(sys.argv[0]) if sys.argv and sys.argv[0] not in ("", "-c", "-m") else Path()
    stem = path.parent.name if path.name == "__main__.py" else path.stem  # a package that is run as a program
    return values.text_name(stem) or "run"


def check_text(**arguments: object) -> None:
    """Raise ValueError for an argument that is neither None nor text with something in it."""
    for name, value in arguments.items():
        if value is not None and (not isinstance(value, str) or not value.strip()):
            raise ValueError(f"{name} must be text that is not empty, got {value!r}")


def check_mapping(**arguments: object) -> None:
    """Raise ValueError for an argument that is neither None nor a mapping."""
    for name, value in arguments.items():
        if value is not None and not isinstance(value, Mapping):
            raise ValueError(f"{name} must be a mapping of names to values, got {value!r}")


def check_sinks(sinks: object) -> None:
    """Raise ValueError for sinks that are no list of URLs, or for which there is none."""
    if sinks is None:
        return
    if isinstance(sinks, str) or not isinstance(sinks, Sequence):
        raise ValueError(f'sinks must be a list of URLs such as ["https://host"], got {sinks!r}')
    for sink in sinks:
        if not isinstance(sink, str) or "://" not in sink:
            raise ValueError(f'sinks must be URLs such as "https://host", got {sink!r}')
        from tachograph.sinks import check

        check(sink)


def check_run(**arguments: object) -> None:
    """Raise ValueError for an argument that is neither None nor a run nor the id of one."""
    for name, value in arguments.items():
        if not (value is None or isinstance(value, Run) or (isinstance(value, str) and value.strip())):
            raise ValueError(f"{name} must be a run or its id, got {value!r}")
