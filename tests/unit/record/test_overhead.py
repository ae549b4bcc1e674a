"""A run says how much of its time recording took."""

from __future__ import annotations

import re
import time
from pathlib import Path
from typing import Any

import pytest

import tachograph
from tachograph import guard
from tachograph.cli import main
from tachograph.hooks import Call, Hooks, Watcher, session
from tachograph.record.overhead import Samples
from tachograph.record.run import Run
from tachograph.store.store import open_store


class SlowObject:
    """What takes its time to be shown."""

    def __str__(self) -> str:
        time.sleep(0.1)
        return "slow"


def test_verbs_are_measured_and_told(capfd: pytest.CaptureFixture[str]) -> None:
    with tachograph.start_run("one") as run:
        time.sleep(0.2)
        run.log_params({"a": SlowObject()})
        run.log_note("quick")
    read = open_store().run(run.id)
    assert read.overhead is not None
    assert read.seconds is not None
    assert 0.1 <= read.overhead < 0.2 < 0.3 <= read.seconds < 5
    assert main(["show", "one"]) == 0
    assert re.search(r"^recording took 1\d\dms, \d\d\.\d% of its time$", capfd.readouterr().out, re.MULTILINE)
    assert main(["show", "one", "--json"]) == 0
    assert '"overhead": 0.1' in capfd.readouterr().out


def test_a_running_run_says_nothing() -> None:
    with tachograph.start_run("one"):
        read = open_store().run("one")
    assert (read.overhead, read.seconds) == (None, None)


@pytest.mark.slow
def test_fast_points_are_measured_by_samples() -> None:
    with tachograph.start_run("fast") as run:
        kept, began, count = run.log, time.perf_counter(), 0
        while time.perf_counter() - began < 2.3:
            run.log({"loss": 0.5})
            count += 1
        kept({"loss": 0.5})
        assert count - 20 < run._journal.fast <= count  # the first one, and those that meet a sync, go the careful way
        assert run._samples.mean > 0
    read = open_store().run(run.id)
    assert read.overhead is not None
    assert read.seconds is not None
    assert 0.05 < read.overhead <= read.seconds  # a loop that does little else
    assert len(read.history("loss").steps) == count + 1


def test_a_kept_log_goes_on_recording_when_it_was_a_measuring_one() -> None:
    with tachograph.start_run("one") as run:
        run._measure_log()
        kept = run.log
        for _ in range(3):
            kept({"x": 1.0})
        run.log({"x": 1.0})
        assert run.log == run._journal.log
    assert open_store().run(run.id).history("x").steps.tolist() == [0, 1, 2, 3]


def test_points_that_need_care_are_no_sample() -> None:
    with tachograph.start_run("one") as run:
        run._measure_log()
        run.log({"x": True})  # type: ignore[dict-item]
        assert run._samples.mean == 0
        assert run._journal.fast == 0
        assert run.spent > 0


def test_one_long_call_does_not_stand_for_all() -> None:
    samples = Samples()
    for seconds in (1e-6, 1.0, 3e-6):
        samples.add(seconds)
    assert samples.mean == pytest.approx(2e-6)


class Estimator:
    def fit(self) -> None:
        time.sleep(0.3)


def _note(call: Call, active: session.Session) -> Watcher:
    assert active.run is not None
    time.sleep(0.1)
    active.run.log_params({"a": SlowObject()})  # inside what is measured anyway
    yield
    time.sleep(0.1)


def test_a_plug_in_s_notes_are_measured_once_and_the_training_is_not(root: Path) -> None:
    hooks = Hooks("fake")
    hooks.around(Estimator, "fit", session.training(_note, plugin="fake", name=lambda call: "fit"))
    Estimator().fit()
    hooks.undo()
    (read,) = open_store().runs()
    assert read.overhead is not None
    assert 0.3 <= read.overhead < 0.4


def test_blocks_in_each_other_count_once_and_other_threads_for_themselves(root: Path) -> None:
    run: Any = Run(root, "r")
    with guard.timed(run), guard.timed(run):
        time.sleep(0.05)
    assert 0.05 <= run.spent < 0.09
    with guard.timed(None), guard.timed(object()):
        pass
