"""The one line: what it refuses, what it changes, and that all of that can be put back."""

from __future__ import annotations

import argparse
import importlib
import subprocess
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from tests.parts.global_state import snapshot

import tachograph
from tachograph.errors import TachographWarning
from tachograph.hooks import plugins, session
from tachograph.record import lifecycle

pytestmark = pytest.mark.usefixtures("everything_is_put_back")
Script = Callable[..., "subprocess.CompletedProcess[str]"]


# ---- arguments -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("framework", ["scikit-learn", "", "Sklearn", None, 3, ["sklearn"], ("sklearn", "xgboost")])
def test_an_unknown_framework_is_refused_with_the_known_ones(framework: Any) -> None:
    known = "hydra, keras, lightning, sklearn, torch, xgboost"
    with pytest.raises(ValueError, match=rf"autolog knows no framework .*; it knows {known}$"):
        tachograph.autolog(framework)


@pytest.mark.parametrize(
    "wrong",
    [
        {"checkpoints": "last"},
        {"checkpoints": True},
        {"checkpoints": None},
        {"checkpoints": 0},
        {"system": 0},
        {"system": -1.0},
        {"system": float("inf")},
        {"system": float("nan")},
        {"system": "often"},
        {"system": None},
        {"every_n_steps": 0},
        {"every_n_steps": True},
        {"every_n_steps": 1.5},
        {"models": 1},
        {"datasets": None},
        {"silent": "yes"},
        {"experiment": ""},
        {"experiment": 3},
        {"tags": ["a"]},
        {"sinks": "https://host"},
        {"sinks": [None]},
    ],
    ids=repr,
)
def test_arguments_that_can_not_be_right(wrong: dict[str, Any]) -> None:
    (name,) = wrong
    with pytest.raises(ValueError, match=name) as caught:
        tachograph.autolog(**wrong)
    assert "\n" not in str(caught.value)
    assert not any(found.state == "waiting" for found in plugins.status())


@pytest.mark.parametrize(
    "right",
    [
        {"checkpoints": False},
        {"checkpoints": "all"},
        {"system": False},
        {"system": True},
        {"system": 0.5},
        {"every_n_steps": 10},
        {"models": False, "datasets": False, "silent": True},
        {"experiment": "trial", "tags": {"a": "b"}, "sinks": []},
    ],
    ids=repr,
)
def test_arguments_that_are_right(right: dict[str, Any]) -> None:
    tachograph.autolog(**right)
    for name, value in right.items():
        assert getattr(session.options, name) == value


def test_the_interval_of_hardware_samples() -> None:
    for system, interval in [(False, False), (True, 10.0), (0.5, 0.5)]:
        with tachograph.autolog(system=system):
            assert lifecycle._interval == interval
    assert lifecycle._interval == 10.0


# ---- twice and undone ------------------------------------------------------------------------------------------------


def test_twice_is_once(recwarn: pytest.WarningsRecorder) -> None:
    tachograph.autolog("sklearn")
    start, parse = vars(threading.Thread)["start"], vars(argparse.ArgumentParser)["parse_known_args"]
    tachograph.autolog("sklearn")
    tachograph.autolog()
    assert vars(threading.Thread)["start"] is start
    assert vars(argparse.ArgumentParser)["parse_known_args"] is parse
    assert not recwarn


def test_again_with_other_arguments_says_so_and_they_count() -> None:
    tachograph.autolog(every_n_steps=5, tags={"a": "b"})
    with pytest.warns(TachographWarning, match=r"called again with other arguments: every_n_steps=10 \(was 5\)"):
        tachograph.autolog(every_n_steps=10)
    assert session.options.every_n_steps == 10
    assert session.options.tags == {"a": "b"}


def test_undo_as_often_as_one_likes() -> None:
    first, second = tachograph.autolog(), tachograph.autolog()
    before = snapshot()
    first.undo()
    second.undo()
    first.undo()
    assert snapshot() != before
    assert all(found.state == "off" for found in plugins.status())


def test_as_a_context_manager() -> None:
    with tachograph.autolog():
        assert any(found.state != "off" for found in plugins.status())
    assert all(found.state == "off" for found in plugins.status())
    with pytest.raises(ZeroDivisionError), tachograph.autolog():
        _ = 1 / 0
    assert all(found.state == "off" for found in plugins.status())


def test_undo_with_frameworks_loaded_restores_the_identical_objects() -> None:
    pytest.importorskip("sklearn")
    names = ["base", "linear_model", "model_selection", "metrics", "pipeline"]
    base, linear, selection, metrics, pipeline = (importlib.import_module(f"sklearn.{name}") for name in names)
    owners = [base.BaseEstimator, base.TransformerMixin, linear.LogisticRegression, selection.GridSearchCV, metrics]
    owners += [selection, pipeline, pipeline.Pipeline]
    before = [dict(vars(owner)) for owner in owners]
    for _ in range(2):
        with tachograph.autolog("sklearn"):
            assert "__wrapped__" in vars(vars(linear.LogisticRegression)["fit"])
        for owner, namespace in zip(owners, before, strict=True):
            now = dict(vars(owner))
            assert now.keys() == namespace.keys()
            assert [name for name in now if now[name] is not namespace[name]] == []


def test_undo_leaves_open_runs_open() -> None:
    handle = tachograph.autolog()
    with tachograph.start_run() as run:
        handle.undo()
        assert not run.ended
        run.log({"loss": 0.5})


def test_a_thread_that_can_not_start_says_what_it_always_says() -> None:
    tachograph.autolog()
    thread = threading.Thread(target=int)
    thread.start()
    with pytest.raises(RuntimeError, match="threads can only be started once"):
        thread.start()
    thread.join()


# ---- switched off ----------------------------------------------------------------------------------------------------


@pytest.mark.slow
def test_switched_off_nothing_happens_at_all(script: Script, tmp_path: Path) -> None:
    code = """
        import os, random, sys, threading
        def state():
            found = threading.Thread.start, random.seed, sys.exit, sys.stdout.write
            return [*found, str(sys.meta_path), dict(os.environ)]
        before = state()
        import tachograph
        with tachograph.autolog(experiment="x", tags={"a": "b"}, sinks=["https://host"]):
            from sklearn.linear_model import LogisticRegression
            LogisticRegression().fit([[0.0], [1.0]], [0, 1])
            assert state() == before
        with tachograph.start_run() as run:
            run.log({"loss": 0.5})
        assert threading.active_count() == 1
        sys.exit(3)
    """
    work = tmp_path / "work"
    work.mkdir()
    done = script(f"import os; os.chdir({str(work)!r})\n" + "\n".join(line[8:] for line in code.splitlines()),
                  TACHOGRAPH_OFF="1", TACHOGRAPH_DIR="", HOME=str(work))  # fmt: skip
    assert (done.returncode, done.stderr) == (3, "")
    assert list(work.iterdir()) == []


@pytest.mark.slow
def test_without_being_asked_nothing_leaves_the_machine(script: Script) -> None:
    done = script("""
        import socket, sys
        def refuse(event, arguments):
            if event.startswith("socket."):
                raise SystemExit(f"{event} {arguments}")
        sys.addaudithook(refuse)
        import tachograph
        tachograph.autolog()
        from sklearn.linear_model import LogisticRegression
        LogisticRegression().fit([[0.0], [1.0]], [0, 1])
        with tachograph.start_run() as run:
            run.log({"loss": 0.5})
    """)
    assert done.returncode == 0, done.stderr


def test_it_takes_little_time(script: Script) -> None:
    code = """
        import time, tachograph
        started = time.process_time()
        tachograph.autolog()
        print(time.process_time() - started)
    """
    assert min(float(script(code).stdout) for _ in range(3)) < 0.2  # the benchmarks say it exactly
