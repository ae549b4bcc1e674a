"""Calls of ``partial_fit`` on one object: steps of one run, cheap, and on record in full in the end."""

from __future__ import annotations

import multiprocessing
import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest
from sklearn.cluster import MiniBatchKMeans
from sklearn.decomposition import IncrementalPCA
from sklearn.linear_model import SGDClassifier
from sklearn.multiclass import OneVsRestClassifier
from sklearn.naive_bayes import GaussianNB
from sklearn.neural_network import MLPClassifier

import tachograph
from tachograph.hooks import session
from tachograph.runtime import deferred
from tachograph.runtime.background import background
from tachograph_frameworks.sklearn import series
from tachograph_frameworks.sklearn.series import Series

X = np.random.default_rng(0).normal(size=(100, 20))
y = (X[:, 0] > 0).astype(int)


@pytest.fixture(autouse=True)
def autologged(root: Any) -> Iterator[None]:
    with tachograph.autolog("sklearn", system=False):
        yield


def fitted(calls: int, model: Any = None) -> Any:
    model = SGDClassifier(random_state=0) if model is None else model
    for _ in range(calls):
        model.partial_fit(X, y, classes=[0, 1])
    return model


def only() -> Any:
    [run] = tachograph.open_store().runs()
    return run


def test_the_last_call_is_on_record_in_full() -> None:
    model = fitted(300)
    run = only()
    assert run.history("fit_seconds").steps.tolist() == list(range(300))
    assert run.history("train_accuracy").steps[-1] == 299
    assert run.metrics["train_accuracy"] == model.score(X, y)
    assert (run.status, run.tags["partial_fit"]) == ("finished", "recorded")
    assert run.artifact("model").step == 299
    np.testing.assert_array_equal(run.artifact("model").load(trusted=True).coef_, model.coef_)
    assert not run.notes


def test_few_calls_are_looked_at_closely() -> None:
    fitted(300)
    assert len(only().history("train_accuracy").steps) <= 10


def test_parameters_are_those_of_the_last_call() -> None:
    model = fitted(40)
    model.set_params(alpha=0.5)
    fitted(3, model)
    assert only().params["alpha"] == 0.5


def test_only_the_last_model_stays(root: Path) -> None:
    fitted(300)
    assert only().artifact("model").step == 299
    files = [path for path in (root / "blobs").rglob("*") if path.is_file()]
    assert len(files) > 1
    for path in files:
        os.utime(path, (time.time() - 7200,) * 2)
    subprocess.run([sys.executable, "-m", "tachograph", "gc", "--root", root], check=True)
    assert len([path for path in files if path.exists()]) == 1
    only().artifact("model").load(trusted=True)


def test_a_fit_after_it_is_another_run() -> None:
    model = fitted(300)
    kept = model.coef_.copy()
    model.fit(X, 1 - y)
    after, before = tachograph.open_store().runs()
    np.testing.assert_array_equal(before.artifact("model").load(trusted=True).coef_, kept)
    np.testing.assert_array_equal(after.artifact("model").load(trusted=True).coef_, model.coef_)


def test_in_the_users_run_it_is_on_record_before_that_ends() -> None:
    with tachograph.start_run("mine"):
        model = fitted(300)
    run = only()
    assert run.tags["partial_fit"] == "recorded"
    np.testing.assert_array_equal(run.artifact("model").load(trusted=True).coef_, model.coef_)


def test_a_curve_that_grows_is_recorded_once() -> None:
    model = fitted(20, MLPClassifier((4,), random_state=0))
    loss = only().history("loss")
    assert loss.steps.tolist() == list(range(20))
    assert loss.values.tolist() == model.loss_curve_


def test_clusters_and_what_only_transforms() -> None:
    clusters, pca = MiniBatchKMeans(3, random_state=0), IncrementalPCA(2)
    for _ in range(20):
        clusters.partial_fit(X)
        pca.partial_fit(X)
    run = only()
    assert run.name == "MiniBatchKMeans"
    assert run.history("fit_seconds").steps[-1] == 19


def test_two_models_in_turn_are_two_runs() -> None:
    models = [SGDClassifier(random_state=0), SGDClassifier(random_state=1)]
    for _ in range(50):
        for model in models:
            fitted(1, model)
    for run, model in zip(tachograph.open_store().runs(), reversed(models), strict=True):
        np.testing.assert_array_equal(run.artifact("model").load(trusted=True).coef_, model.coef_)


class Wrapped(GaussianNB):
    def partial_fit(self, X: Any, y: Any, classes: Any = None) -> Any:
        return super().partial_fit(X, y, classes)


@pytest.mark.parametrize("model", [Wrapped(), OneVsRestClassifier(SGDClassifier(random_state=0))])
def test_what_a_call_calls_inside_is_part_of_it(model: Any) -> None:
    fitted(20, model)
    assert only().history("fit_seconds").steps.tolist() == list(range(20))


def test_nothing_where_it_is_suppressed() -> None:
    model = fitted(3)
    with tachograph.suppress():
        fitted(3, model)
    fitted(2, model)
    assert only().history("fit_seconds").steps.tolist() == list(range(5))


def test_a_run_that_is_opened_in_between_is_added_to() -> None:
    model = fitted(3)
    with tachograph.start_run("mine"):
        fitted(2, model)
    with tachograph.start_run("another"):
        fitted(1, model)
    assert [(run.name, run.history("fit_seconds").steps.tolist()) for run in tachograph.open_store().runs()] == [
        ("another", [0]),
        ("mine", [0, 1]),
        ("SGDClassifier", [0, 1, 2]),
    ]


def test_a_call_that_raises_is_no_step() -> None:
    model = fitted(3)
    for wrong in (X[:, :3], X[:50]):
        with pytest.raises(ValueError, match=r"features|inconsistent"):
            model.partial_fit(wrong, y)
    fitted(2, model)
    GaussianNB().fit(X, y)
    assert [run.name for run in tachograph.open_store().runs()] == ["GaussianNB", "SGDClassifier"]
    assert tachograph.open_store().runs()[1].history("fit_seconds").steps.tolist() == list(range(5))


def points(root: Path) -> list[list[int]]:
    """The steps of ``fit_seconds`` by writer, as they are on disk."""
    found = []
    for segment in sorted(root.glob("runs/*/*/*.jsonl")):
        events = [msgspec.json.decode(line) for line in segment.read_bytes().splitlines()]
        found.append([event["step"] for event in events if "fit_seconds" in event.get("values", {})])
    return sorted(found)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork here")
def test_a_forked_child_goes_on_in_a_journal_of_its_own(root: Path) -> None:
    model = fitted(3)
    child = multiprocessing.get_context("fork").Process(target=fitted, args=(5, model))
    child.start()
    child.join()
    assert child.exitcode == 0
    fitted(2, model)
    assert only().status == "finished"  # what is asked here is recorded in full first
    assert points(root) == [[0, 1, 2, 3, 4], [3, 4, 5, 6, 7]]


@pytest.mark.parametrize("moment", [deferred.record, Series._write, session.enter, session.leave])
def test_a_ctrl_c_at_any_moment_costs_no_later_call(moment: Any) -> None:
    def interrupt(frame: Any, event: str, argument: Any) -> None:
        if event == "call" and frame.f_code is moment.__code__:
            sys.settrace(None)
            raise KeyboardInterrupt

    model = fitted(3)

    def work() -> None:
        sys.settrace(interrupt)
        for _ in range(4):
            time.sleep(0.11)
            fitted(1, model)
            series.LAST_OF_MANY.record_all()

    try:
        with pytest.raises(KeyboardInterrupt):
            work()
    finally:
        sys.settrace(None)
    fitted(10, model)
    GaussianNB().fit(X, y)
    other, run = tachograph.open_store().runs()
    assert (other.name, run.name) == ("GaussianNB", "SGDClassifier")
    steps = run.history("fit_seconds").steps.tolist()
    assert steps == list(range(len(steps)))
    assert len(steps) >= 13


class Slow(GaussianNB):
    def partial_fit(self, X: Any, y: Any, classes: Any = None, seconds: float = 0.0) -> Any:
        time.sleep(seconds)
        return self


def test_calls_in_two_threads_have_their_own_seconds() -> None:
    model = Slow().partial_fit(X, y)
    model.partial_fit(X, y)
    long = threading.Thread(target=model.partial_fit, args=(X, y), kwargs={"seconds": 0.6})
    long.start()
    time.sleep(0.2)
    model.partial_fit(X, y, seconds=0.1)
    long.join()
    *_, shorter, longer = only().history("fit_seconds").values
    assert shorter < 0.4 < 0.6 <= longer


def test_it_says_nothing(recwarn: pytest.WarningsRecorder, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TACHOGRAPH_STRICT", "0")
    with tachograph.autolog("sklearn", system=10.0):
        fitted(30)
        assert only().notes == []
        assert background.drain(10)
    assert not recwarn


def test_a_call_costs_little() -> None:
    def seconds(calls: int, model: Any) -> float:
        began = time.thread_time()
        fitted(calls, model)
        return time.thread_time() - began

    with tachograph.suppress():
        plain = fitted(1)
        bare = min(seconds(100, plain) for _ in range(3))
    recorded = fitted(1)
    taken = min(seconds(100, recorded) for _ in range(3))
    assert taken < bare * 1.5 + 0.01  # noise included: it was seven times as much


PROGRAM = """
import os, signal, sys, time, numpy as np, tachograph
tachograph.autolog("sklearn", system=False)
from sklearn.linear_model import SGDClassifier
X = np.random.default_rng(0).normal(size=(100, 20)); y = (X[:, 0] > 0).astype(int)
model = SGDClassifier(random_state=0)
for _ in range(300): model.partial_fit(X, y, classes=[0, 1])
np.save(sys.argv[2], model.coef_)
if sys.argv[1] == "killed":
    time.sleep(0.5)
    os.kill(os.getpid(), signal.SIGKILL)
"""


@pytest.mark.slow
@pytest.mark.parametrize("how", ["ends", "killed"])
def test_at_the_end_of_a_process(how: str, root: Path, tmp_path: Path) -> None:
    file = tmp_path / "coef.npy"
    done = subprocess.run([sys.executable, "-c", PROGRAM, how, file], env={**os.environ}, timeout=120)
    assert done.returncode == (0 if how == "ends" else -9)
    run = only()
    assert run.history("fit_seconds").steps.tolist() == list(range(300))
    if how == "ends":
        assert (run.tags["partial_fit"], run.artifact("model").step) == ("recorded", 299)
        np.testing.assert_array_equal(run.artifact("model").load(trusted=True).coef_, np.load(file))
    else:
        assert run.tags["partial_fit"] == "going on"
        assert run.artifact("model").step < 299
        run.artifact("model").load(trusted=True)
