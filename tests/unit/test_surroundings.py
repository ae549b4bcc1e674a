"""What is recorded around a run: where it ran and how loaded the machine was, from its begin to its end."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

import tachograph
from tachograph import surroundings
from tachograph.background import background
from tachograph.records import RunRecord

Script = Callable[..., "subprocess.CompletedProcess[str]"]


@pytest.fixture(autouse=True)
def default_interval() -> Iterator[None]:
    yield
    surroundings.configure(True)
    assert background.drain(10)
    assert not surroundings._monitor._runs


def read(root: Path) -> RunRecord:
    assert background.drain(10)
    return tachograph.open_store(root).run("latest")


def test_where_it_ran(root: Path) -> None:
    with tachograph.start_run():
        pass
    environment = read(root).environment
    assert environment["cwd"] == os.getcwd()
    assert environment["packages"]["pytest"] == pytest.__version__
    assert {"python", "os", "cpu", "memory", "argv", "variables", "seeds"} <= environment.keys()


def test_the_machine_is_sampled_at_the_begin_and_at_the_end(root: Path) -> None:
    with tachograph.start_run():
        pass
    run = read(root)
    assert run.system
    assert not run.metrics
    assert all(name.startswith("system/") for name in run.system)
    name = next(iter(run.system))
    assert run.history(name).steps.tolist() == [0, 1]


def test_it_can_be_switched_off(root: Path) -> None:
    surroundings.configure(False)
    with tachograph.start_run():
        pass
    assert not read(root).system


def test_a_child_run_leaves_that_to_its_parent(root: Path) -> None:
    with tachograph.start_run() as run, run.child() as child:
        pass
    assert background.drain(10)
    found = tachograph.open_store(root).run(child.id)
    assert not found.system
    assert not found.environment


def test_a_sampler_that_fails_is_let_go(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail() -> None:
        raise ZeroDivisionError

    monkeypatch.setenv("TACHOGRAPH_STRICT", "0")
    monkeypatch.setattr(surroundings._monitor, "_fresh", fail)
    with pytest.warns(tachograph.TachographWarning, match="ZeroDivisionError"):  # noqa: PT031
        with tachograph.start_run() as run:
            run.log({"loss": 0.5})
        assert background.drain(10)
    assert read(root).metrics == {"loss": 0.5}


def test_a_forked_child_does_not_sample_for_its_parent(script: Script, root: Path) -> None:
    done = script("""
        import contextvars, os, sys, time, tachograph
        run = tachograph.start_run("parent")
        child = os.fork()
        if child == 0:
            contextvars.Context().run(tachograph.start_run, "child")   # which knows nothing of the parent's
            time.sleep(1.5)
            sys.exit()
        os.waitpid(child, 0)
    """, PYTHONWARNINGS="ignore")  # fmt: skip
    assert done.returncode == 0, done.stderr
    runs = {run.name: run for run in tachograph.open_store(root).runs()}
    assert {name: len(run.writers) for name, run in runs.items()} == {"parent": 1, "child": 1}
    assert runs["child"].system
