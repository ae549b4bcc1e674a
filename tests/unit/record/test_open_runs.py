"""What is recorded without naming a run lands in the right one: by context, thread and process."""

from __future__ import annotations

import asyncio
import contextvars
import copy
import pickle
import subprocess
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

import tachograph
from tachograph.errors import TachographWarning

Script = Callable[..., "subprocess.CompletedProcess[str]"]


def metrics(root: Path) -> dict[str | None, dict[str, float]]:
    """The last values of each run, by name."""
    return {run.name: dict(run.metrics) for run in tachograph.open_store(root).runs(children=True)}


def in_thread(work: Callable[[], Any]) -> Any:
    """What ``work`` gives in a thread that was started for it."""
    with ThreadPoolExecutor(1) as pool:
        return pool.submit(work).result()


def test_the_innermost_run_is_active_until_it_ends() -> None:
    assert tachograph.active_run() is None
    with tachograph.start_run("outer") as outer:
        assert tachograph.active_run() is outer
        with tachograph.start_run("inner") as inner:
            assert inner.parent_id == outer.id
            assert tachograph.active_run() is inner
        assert tachograph.active_run() is outer
    assert tachograph.active_run() is None


def test_runs_that_end_in_another_order() -> None:
    outer, inner = tachograph.start_run("outer"), tachograph.start_run("inner")
    outer.finish()
    assert tachograph.active_run() is inner
    inner.finish()
    assert tachograph.active_run() is None


def test_a_worker_thread_finds_the_run() -> None:
    with tachograph.start_run() as run:
        assert in_thread(tachograph.active_run) is run
        with run.child() as child:
            assert in_thread(tachograph.active_run) is child
        assert in_thread(tachograph.active_run) is run


def test_threads_with_runs_of_their_own_keep_them_apart(root: Path) -> None:
    ready = threading.Barrier(4)

    def train(name: str) -> None:
        with tachograph.start_run(name):
            ready.wait()
            for step in range(50):
                tachograph.log({name: float(step)})
            ready.wait()

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(train, "abcd"))
    assert metrics(root) == {name: {name: 49.0} for name in "abcd"}


def test_a_thread_between_two_runs_is_told_so() -> None:
    first: tachograph.Run = in_thread(lambda: tachograph.start_run("first"))
    second: tachograph.Run = in_thread(lambda: tachograph.start_run("second"))
    assert tachograph.active_run() is None
    with pytest.warns(TachographWarning, match="log: no run is open here"):
        tachograph.log({"loss": 0.5})
    second.finish()
    assert tachograph.active_run() is first


def test_a_run_that_a_thread_opened_ends_elsewhere() -> None:
    run: tachograph.Run = in_thread(tachograph.start_run)
    assert tachograph.active_run() is run
    run.finish()
    assert tachograph.active_run() is None


def test_tasks_have_runs_of_their_own(root: Path) -> None:
    async def train(name: str, ready: asyncio.Barrier) -> None:
        with tachograph.start_run(name):
            await ready.wait()
            tachograph.log({name: 1.0})
            await ready.wait()

    async def main() -> None:
        ready = asyncio.Barrier(3)
        await asyncio.gather(*(train(name, ready) for name in "abc"))

    asyncio.run(main())
    assert metrics(root) == {name: {name: 1.0} for name in "abc"}


def test_a_copied_context_forgets_ended_runs() -> None:
    with tachograph.start_run():
        context = contextvars.copy_context()
    assert context.run(tachograph.active_run) is None


def test_a_copied_run_is_the_run_itself() -> None:
    with tachograph.start_run() as run:
        for same in [copy.copy(run), copy.deepcopy(run), pickle.loads(pickle.dumps(run))]:
            assert same is run


def test_a_copy_of_an_ended_run_is_not_active() -> None:
    with tachograph.start_run() as run:
        pass
    again = copy.deepcopy(run)
    assert again.id == run.id
    assert tachograph.active_run() is None
