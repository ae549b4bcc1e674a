"""Runs on other machines that read as running, though nothing comes from them any more."""

from __future__ import annotations

import time
from datetime import UTC, datetime
from pathlib import Path

import pytest
from tests.unit.index.test_index import append, header, lines, point

import tachograph
from tachograph import wording
from tachograph.store.store import open_store

LONG_AGO = 86_400.0


def begun(root: Path, run: str, ago: float, **facts: object) -> datetime:
    """A run that was begun elsewhere, a day ago; when its last event came, which is so many seconds ago."""
    now = time.time()
    append(root, run, "0-elsewhere-7-a", lines(header(run, "0-elsewhere-7-a", **facts), at=now - LONG_AGO))
    append(root, run, "0-elsewhere-7-a", lines(point(0, loss=1.0), first=2, at=now - ago))
    return datetime.fromtimestamp(now - ago, UTC)


@pytest.mark.parametrize(("ago", "is_silent"), [(0.0, False), (540.0, False), (660.0, True), (LONG_AGO, True)])
def test_it_says_since_when_nothing_came(store, run_cli, run_json, ago, is_silent):
    at = begun(store, "r", ago)
    words_for_it = f"silent since {wording.moment(at)}"
    assert (f"running, {words_for_it}" in run_cli("runs")[1]) == is_silent
    assert (words_for_it in run_cli("show", "r")[1]) == is_silent
    said = run_json("show", "r")
    assert said["status"] == run_json("runs")[0]["status"] == "running"
    assert said["latest"] == at.isoformat()
    assert said["silent_since"] == (at.isoformat() if is_silent else None)


def test_a_nested_run_is_no_more_silent_than_its_parent(store):
    begun(store, "fold", LONG_AGO, parent="top")
    parents = {"heard": 5.0, "silent": 1200.0}
    for name, ago in parents.items():
        begun(store, name, ago)
        begun(store, f"fold of {name}", LONG_AGO, parent=name)
    silent = {run.id for run in open_store(store).runs(children=True) if run.silent_since}
    assert silent == {"fold", "silent", "fold of silent"}


def test_what_ended_is_not_silent(store):
    run = tachograph.start_run("one")
    run.finish()
    assert open_store(store).run("one").silent_since is None


def test_it_is_removed_with_force_alone(store, run_cli, wrong, record):
    begun(store, "r", LONG_AGO)
    record("done")
    said = wrong("rm", "done", "r", "--yes", status=1)
    assert (
        "run r (name of r) is still running on elsewhere as far as is known here (its last event came 1d ago)" in said
    )
    assert "--force" in said
    assert len(open_store(store).runs()) == 2
    status, output, errors = run_cli("rm", "r", "--yes", "--force")
    assert (status, errors) == (0, "")
    assert output == f"run name of r (r) removed from {store}\n"
    assert [run.name for run in open_store(store).runs()] == ["done"]


def test_a_rank_that_is_elsewhere_does_not_keep_a_run_that_ended(store, run_cli):
    run = tachograph.start_run("one")
    run.finish()
    worker = "1-elsewhere-8-b"
    append(store, run.id, worker, lines(header(run.id, worker, role="worker", rank=1)))
    assert run_cli("rm", "one", "--yes")[0] == 0
