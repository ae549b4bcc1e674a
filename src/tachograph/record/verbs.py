"""The recording verbs on the active run."""

from __future__ import annotations

from collections.abc import Mapping
from os import PathLike
from typing import TYPE_CHECKING, Any

from tachograph import guard, settings
from tachograph.record import open_runs, process_end
from tachograph.record.active_run import find as find_active
from tachograph.record.run import Run

if TYPE_CHECKING:
    from tachograph.store.version_record import VersionRecord


def active_run() -> Run | None:
    """The run that is open here; None where there is none."""
    return None if settings.off() else find_active()


def _run(verb: str) -> Run | None:
    run: Run | None = None
    with guard.contained(verb):
        run = active_run()
        if run is None and not settings.off():
            guard.misuse(f"{verb}: no run is open here, so this was not recorded; open one with tachograph.start_run()")
    return run


def log(values: Mapping[str, float], step: int | None = None) -> None:
    """:meth:`Run.log` on the active run."""
    if run := _run("log"):
        run.log(values, step)


def log_params(params: Mapping[str, Any]) -> None:
    """:meth:`Run.log_params` on the active run."""
    if run := _run("log_params"):
        run.log_params(params)


def set_tags(tags: Mapping[str, str]) -> None:
    """:meth:`Run.set_tags` on the active run."""
    if run := _run("set_tags"):
        run.set_tags(tags)


def log_note(text: str) -> None:
    """:meth:`Run.log_note` on the active run."""
    if run := _run("log_note"):
        run.log_note(text)


def log_artifact(
    path: str | PathLike[str], name: str | None = None, kind: str = "file", step: int | None = None
) -> None:
    """:meth:`Run.log_artifact` on the active run."""
    if run := _run("log_artifact"):
        run.log_artifact(path, name, kind, step)


def log_figure(name: str, figure: Any, step: int | None = None) -> None:
    """:meth:`Run.log_figure` on the active run."""
    if run := _run("log_figure"):
        run.log_figure(name, figure, step)


def log_table(name: str, rows: Any, step: int | None = None) -> None:
    """:meth:`Run.log_table` on the active run."""
    if run := _run("log_table"):
        run.log_table(name, rows, step)


def log_dataset(
    data: Any,
    name: str = "data",
    role: str = "train",
    source: str | None = None,
    version: str | None = None,
    target: Any = None,
) -> None:
    """:meth:`Run.log_dataset` on the active run."""
    if run := _run("log_dataset"):
        run.log_dataset(data, name, role, source, version, target)


def use_dataset(data: Any, name: str | None = None) -> None:
    """:meth:`Run.use_dataset` on the active run."""
    if run := _run("use_dataset"):
        run.use_dataset(data, name)


def use_model(version: VersionRecord | str) -> None:
    """:meth:`Run.use_model` on the active run."""
    if run := _run("use_model"):
        run.use_model(version)


def flush(timeout: float = 30.0) -> bool:
    """Wait until what was recorded is forced to disk and the sinks have it; False when ``timeout`` seconds ran out."""
    import time

    from tachograph.runtime.background import background

    until = time.monotonic() + timeout
    journals = [run._journal for run in open_runs.open_runs()]
    if any(journal.is_ours() for journal in journals):
        # A signal handler on top of an append, for whose end the background waits: it can't be waited for.
        for journal in journals:
            with guard.contained("flush"):
                journal.sync()
        return background.drain(0)
    for journal in journals:
        background.soon(journal.sync)
    return background.drain(timeout) and process_end.sent(until - time.monotonic())
