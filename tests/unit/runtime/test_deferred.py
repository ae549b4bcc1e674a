"""What is recorded beside a training, or once it has returned."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

import tachograph
from tachograph import journal
from tachograph.data import describe
from tachograph.events import Dataset
from tachograph.record import recorder
from tachograph.runtime import deferred
from tachograph.runtime.background import background


@pytest.fixture(autouse=True)
def nothing_else_is_left() -> Iterator[None]:
    assert background.drain(5)
    yield
    deferred._pending.clear()


def test_it_is_done_soon_and_elsewhere() -> None:
    done = threading.Event()
    where: list[threading.Thread] = []
    deferred.record(lambda: (where.append(threading.current_thread()), done.set()))
    assert done.wait(5)
    assert where != [threading.current_thread()]


def test_who_does_the_jobs_of_one_run_leaves_the_others(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(deferred, "SOON", 60.0)
    done: list[str] = []
    one, other = object(), object()
    for run, name in ((one, "a"), (other, "b"), (one, "c"), (None, "d")):
        deferred.record(lambda name=name: done.append(name), run)
    deferred.do_now(one)
    assert done == ["a", "c"]
    deferred.do_now()
    assert done == ["a", "c", "b", "d"]


def test_somebody_may_do_the_rest_while_something_is_done(monkeypatch: pytest.MonkeyPatch) -> None:
    """As a signal handler does, in the middle of a job."""
    monkeypatch.setattr(deferred, "SOON", 60.0)
    done: list[int] = []
    deferred.record(lambda: (deferred.do_now(), done.append(1)))
    deferred.record(lambda: done.append(2))
    deferred.do_now()
    assert done == [2, 1]


def test_a_child_that_was_over_is_there_for_who_reads_here(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(deferred, "SOON", 60.0)
    with tachograph.start_run("search") as run:
        run.recorder.add_child(
            "candidate", {"depth": 3}, [(0, {"score": 0.5}), (1, {"score": 0.75}), (0, {"mean": 0.625})]
        )
        assert not list((root / "runs").glob("*/*/*"))[1:]
    [found] = tachograph.open_store(root).run("search").children
    assert (found.name, found.status, found.params) == ("candidate", "finished", {"depth": 3})
    assert found.metrics == {"score": 0.75, "mean": 0.625}
    assert found.history("score").steps.tolist() == [0, 1]


def described(run: tachograph.Run) -> list[tuple[str, int]]:
    """Of each event of a data set in a run's journal: the digest, and how many columns are described."""
    events = [event for event in journal.read_writer(journal.writers(run.dir)[0]) if isinstance(event, Dataset)]
    return [(event.digest, len(event.profile.get("schema", []))) for event in events]


def test_of_data_the_digest_is_recorded_at_once_and_the_statistics_after_the_run(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(recorder, "LATER", 60.0)
    describe._statistics.clear()
    with tachograph.start_run("fit") as run:
        run.recorder.log_training_data([[1.0], [2.0]], "train", "train")
    [(digest, columns)] = described(run)
    assert (digest[:7], columns) == ("sha256:", 0)
    [data] = tachograph.open_store(root).run("fit").datasets  # who reads here waits for the rest
    assert (data.digest, data.rows, len(data.profile["schema"])) == (digest, 2, 1)
    assert described(run) == [(digest, 0), (digest, 1)]


def test_a_bounded_number_of_samples_waits_to_be_described(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(recorder, "LATER", 60.0)
    with tachograph.start_run("fits") as run:
        for fold in range(20):
            run.recorder.log_training_data([[float(fold)], [2.5]], f"fold {fold}", "train")
            assert deferred.count(recorder.DESCRIPTIONS) <= recorder.MOST_DESCRIPTIONS
    assert {len(data.profile["schema"]) for data in tachograph.open_store(root).run("fits").datasets} == {1}
