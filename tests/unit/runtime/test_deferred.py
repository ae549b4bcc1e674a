"""What is recorded beside a training, or once it has returned."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

import tachograph
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


def test_who_settles_one_run_leaves_the_others(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(deferred, "SOON", 60.0)
    done: list[str] = []
    one, other = object(), object()
    for run, name in ((one, "a"), (other, "b"), (one, "c"), (None, "d")):
        deferred.record(lambda name=name: done.append(name), run)
    deferred.settle(one)
    assert done == ["a", "c"]
    deferred.settle()
    assert done == ["a", "c", "b", "d"]


def test_somebody_may_settle_while_something_is_done(monkeypatch: pytest.MonkeyPatch) -> None:
    """As a signal handler does, in the middle of a job."""
    monkeypatch.setattr(deferred, "SOON", 60.0)
    done: list[int] = []
    deferred.record(lambda: (deferred.settle(), done.append(1)))
    deferred.record(lambda: done.append(2))
    deferred.settle()
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


def test_what_is_begun_is_there_when_the_run_has_ended(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(deferred, "SOON", 60.0)
    with tachograph.start_run("fit") as run:
        run.recorder.log_training_data([[1.0], [2.0]], "train", "train")
    assert not deferred._pending
    assert tachograph.open_store(root).run("fit").datasets[0].rows == 2
