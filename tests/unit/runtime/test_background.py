"""The background thread: jobs in order, regular ones every second, and never in the way."""

from __future__ import annotations

import os
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import pytest

from tachograph.errors import TachographWarning
from tachograph.runtime import background as module
from tachograph.runtime.background import Background

Script = Callable[..., "subprocess.CompletedProcess[str]"]


@pytest.fixture
def background(monkeypatch: pytest.MonkeyPatch) -> Iterator[Background]:
    """One of the test's own, in a hurry."""
    monkeypatch.setattr(module, "TICK", 0.02)
    used = Background()
    yield used
    for job in list(used._regular):
        used.no_longer(job)
    assert used.drain(5)


def wait_for(condition: Callable[[], object]) -> None:
    end = time.monotonic() + 5
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.005)


def test_jobs_are_done_in_their_order_and_elsewhere(background: Background) -> None:
    done: list[tuple[int, bool]] = []
    for number in range(100):
        background.soon(partial(lambda number: done.append((number, threading.current_thread().daemon)), number))
    assert background.drain(5)
    assert done == [(number, True) for number in range(100)]


def test_what_has_time_comes_later(background: Background) -> None:
    done: list[tuple[str, float]] = []
    began = time.monotonic()

    def job(name: str) -> Callable[[], None]:
        return lambda: done.append((name, time.monotonic() - began))

    background.later(job("second"), 0.2)
    background.later(job("first"), 0.1)
    background.soon(job("at once"))
    wait_for(lambda: len(done) == 3)
    assert [name for name, _ in done] == ["at once", "first", "second"]
    assert done[1][1] >= 0.1
    assert done[2][1] >= 0.2


def test_who_waits_for_what_is_left_waits_for_no_time_to_pass(background: Background) -> None:
    done: list[int] = []
    background.later(lambda: background.later(partial(done.append, 2), 60), 60)
    background.later(partial(done.append, 1), 60)
    assert background.drain(5)
    assert done == [1, 2]


def test_what_comes_after_the_end_is_done_at_once(background: Background) -> None:
    background.end(5)
    done: list[int] = []
    background.later(partial(done.append, 1), 60)
    wait_for(lambda: done == [1])


def test_the_thread_ends_when_there_is_nothing_left_and_comes_back(background: Background) -> None:
    done: list[int] = []
    for number in range(3):
        background.soon(partial(done.append, number))
        assert background.drain(5)
        wait_for(lambda: background._thread is None)
    assert done == [0, 1, 2]


def test_regular_jobs_come_until_they_are_taken_back(background: Background) -> None:
    counts: list[int] = []
    background.regularly(count := lambda: counts.append(1))
    background.regularly(count)
    wait_for(lambda: len(counts) >= 3)
    background.no_longer(count)
    background.no_longer(count)
    assert background.drain(5)
    wait_for(lambda: background._thread is None)
    before = len(counts)
    time.sleep(0.1)
    assert len(counts) == before


def test_a_flood_of_jobs_does_not_keep_the_regular_ones(background: Background) -> None:
    counts: list[int] = []
    stop = threading.Event()

    def again() -> None:
        if not stop.is_set():
            background.soon(again)

    background.regularly(lambda: counts.append(1))
    background.soon(again)
    wait_for(lambda: len(counts) >= 3)
    stop.set()


def test_draining_is_bounded_and_says_so(background: Background) -> None:
    release = threading.Event()
    background.soon(release.wait)
    started = time.monotonic()
    assert not background.drain(0.05)
    assert not background.drain(0)
    assert not background.drain(-1)
    assert time.monotonic() - started < 2
    release.set()
    assert background.drain(float("inf"))


def test_a_job_may_ask_for_more_and_wait_for_nothing(background: Background) -> None:
    done: list[object] = []

    def job() -> None:
        background.soon(lambda: done.append("more"))
        done.append(background.drain(60))

    background.soon(job)
    assert background.drain(5)
    assert done == [True, "more"]


def test_a_job_that_fails_does_not_keep_the_others(background: Background, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TACHOGRAPH_STRICT", "0")
    done: list[int] = []
    with pytest.warns(TachographWarning, match="background failed.*ZeroDivisionError"):  # noqa: PT031
        background.soon(lambda: 1 / 0)
        background.soon(lambda: done.append(1))
        assert background.drain(5)
    assert done == [1]


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_in_strict_mode_a_fault_ends_the_thread_and_another_goes_on(background: Background) -> None:
    done: list[int] = []
    background.soon(lambda: 1 / 0)
    wait_for(lambda: background._thread is None or not background._thread.is_alive())
    background.soon(lambda: done.append(1))
    assert background.drain(5)
    assert done == [1]


def test_from_many_threads(background: Background) -> None:
    done: list[int] = []

    def work() -> None:
        for _ in range(200):
            background.soon(lambda: done.append(1))

    threads = [threading.Thread(target=work) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert background.drain(5)
    assert len(done) == 1600


def test_a_forked_child_begins_anew(background: Background) -> None:
    release = threading.Event()
    background.soon(release.wait)
    background.regularly(release.wait)
    if (pid := os.fork()) == 0:
        background.reset()
        done: list[int] = []
        background.soon(lambda: done.append(1))
        os._exit(0 if background.drain(5) and done == [1] and not background._regular else 1)
    release.set()
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0


def test_what_is_left_when_no_thread_can_be_started(script: Script) -> None:
    """From Python 3.12 on none can be, once the interpreter is ending."""
    done = script("""
        import atexit, threading, time
        from tachograph.runtime.background import background

        def at_exit():
            started = time.monotonic()
            background.soon(lambda: print("done"))
            assert background.drain(30)
            assert time.monotonic() - started < 5

        atexit.register(at_exit)
    """)
    assert (done.returncode, done.stdout, done.stderr) == (0, "done\n", "")


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")
def test_a_fork_leaves_no_module_half_imported_in_the_child(script: Script, tmp_path: Path) -> None:
    (tmp_path / "slow_to_import.py").write_text("import time; time.sleep(0.3); ready = True")
    done = script(
        """
        import importlib, os, sys, time
        from tachograph.runtime.background import background
        background.soon(lambda: importlib.import_module("slow_to_import"))
        while "slow_to_import" not in sys.modules:
            time.sleep(0.01)
        child = os.fork()
        if child == 0:
            import slow_to_import
            os._exit(0 if slow_to_import.ready else 1)
        sys.exit(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
        """,
        PYTHONPATH=str(tmp_path),
        PYTHONWARNINGS="ignore",
    )
    assert done.returncode == 0, done.stderr


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")
def test_a_fork_does_not_wait_for_ever_for_an_import(script: Script, tmp_path: Path) -> None:
    (tmp_path / "never_imported.py").write_text("import time; time.sleep(60)")
    done = script(
        """
        import importlib, os, sys, time
        from tachograph.runtime import forks
        from tachograph.runtime.background import background
        forks.LONGEST = 0.1
        background.soon(lambda: importlib.import_module("never_imported"))
        while "never_imported" not in sys.modules:
            time.sleep(0.01)
        began = time.monotonic()
        child = os.fork()
        if child == 0:
            os._exit(0)
        assert 0.1 <= time.monotonic() - began < 2
        os._exit(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
        """,
        PYTHONPATH=str(tmp_path),
        PYTHONWARNINGS="ignore",
    )
    assert done.returncode == 0, done.stderr


def test_at_the_end_the_thread_is_gone_and_jobs_are_still_done(background: Background) -> None:
    done: list[str] = []
    background.regularly(lambda: None)
    background.soon(lambda: (time.sleep(0.05), done.append("before")))
    background.end(5)
    assert background._thread is None
    assert done == ["before"]
    background.soon(lambda: done.append("after"))
    assert background.drain(5)
    assert done == ["before", "after"]


def test_the_end_does_not_wait_for_a_job_that_hangs(background: Background) -> None:
    hangs = threading.Event()
    background.soon(partial(hangs.wait, 10))
    began = time.monotonic()
    background.end(0.1)
    assert time.monotonic() - began < 2
    hangs.set()


def test_no_thread_of_ours_is_there_when_python_ends(script: Script) -> None:
    done = script("""
        import atexit, threading
        atexit.register(lambda: print([thread.name for thread in threading.enumerate()]))  # the first is called last
        import tachograph
        with tachograph.start_run() as run:
            run.log({"loss": 0.5})
    """)
    assert done.stdout == "['MainThread']\n", done.stderr
