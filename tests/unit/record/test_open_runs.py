"""What is recorded without naming a run lands in the right one: by context, thread and process."""

from __future__ import annotations

import asyncio
import contextvars
import copy
import os
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
from tachograph.record import open_runs
from tachograph.runtime import process

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


# ---- other processes -------------------------------------------------------------------------------------------------


@pytest.mark.slow
def test_a_program_that_the_training_starts(script: Script, root: Path) -> None:
    done = script("""
        import subprocess, sys, tachograph
        inner = "import tachograph; tachograph.log({'inner': 1.0}); print(tachograph.active_run().id)"
        with tachograph.start_run("outer") as run:
            said = subprocess.run([sys.executable, "-c", inner], capture_output=True, text=True, check=True).stdout
            assert said.strip() == run.id
            said = subprocess.run(
                [sys.executable, "-c", "import subprocess, sys; subprocess.run(sys.argv[1:], check=True)",
                 sys.executable, "-c", inner], capture_output=True, text=True, check=True).stdout
            assert said.strip() == run.id
            with run.child("child"):
                subprocess.run([sys.executable, "-c", inner.replace("inner", "deep")], check=True)
        said = subprocess.run([sys.executable, "-c", inner], capture_output=True, text=True)
        assert "no run is open here" in said.stderr, said.stderr
    """)
    assert done.returncode == 0, done.stderr
    assert metrics(root) == {"outer": {"inner": 1.0}, "child": {"deep": 1.0}}


def test_a_child_of_a_process_that_recorded_in_two_places(script: Script, tmp_path: Path) -> None:
    done = script("""
        import os, subprocess, sys, tachograph
        inner = "import tachograph; tachograph.log({'inner': 1.0})"
        for place in sys.argv[1:]:
            os.environ["TACHOGRAPH_DIR"] = place
            with tachograph.start_run(place):
                subprocess.run([sys.executable, "-c", inner], check=True)
    """, str(tmp_path / "a"), str(tmp_path / "b"))  # fmt: skip
    assert done.returncode == 0, done.stderr
    for place in [tmp_path / "a", tmp_path / "b"]:
        assert metrics(place) == {str(place): {"inner": 1.0}}


LOKY = """
    import sys
    import joblib, tachograph

    def work(number, run=None):
        (run or tachograph).log({"work": float(number)}, step=number)
        return tachograph.active_run().id if run is None else run.id

    if __name__ == "__main__":
        with joblib.parallel_config(backend="loky", n_jobs=2):
"""


@pytest.mark.slow
@pytest.mark.parametrize("pickled", [False, True], ids=["found", "pickled"])
def test_a_pool_that_outlives_its_run_goes_to_the_next(script: Script, root: Path, pickled: bool) -> None:
    pytest.importorskip("joblib")
    done = script(
        LOKY
        + f"""
            for name in "abc":
                with tachograph.start_run(name) as run:
                    share = run if {pickled} else None
                    ids = joblib.Parallel()(joblib.delayed(work)(number, share) for number in range(8))
                    assert set(ids) == {{run.id}}, (name, ids, run.id)
    """
    )
    assert done.returncode == 0, done.stderr
    runs = tachograph.open_store(root).runs()
    assert sorted(run.name for run in runs) == ["a", "b", "c"]
    for run in runs:
        assert sorted(run.history("work").steps) == list(range(8))
        assert run.status == "finished"


@pytest.mark.slow
def test_a_pool_between_runs_records_nowhere(script: Script, root: Path) -> None:
    pytest.importorskip("joblib")
    done = script(
        LOKY
        + """
            with tachograph.start_run("a"):
                joblib.Parallel()(joblib.delayed(work)(number) for number in range(4))
            found = joblib.Parallel()(joblib.delayed(tachograph.active_run)() for number in range(4))
            assert found == [None] * 4, found
    """
    )
    assert done.returncode == 0, done.stderr


def test_looking_for_a_parents_run_in_vain_costs_little(script: Script, root: Path) -> None:
    for number in range(300):
        (root / "runs" / f"run-{number}" / "0-host-1-abc").mkdir(parents=True)
    code = """
        import os, time, tachograph
        if os.environ.get("TACHOGRAPH_PARENT"):
            os.utime(os.path.join(os.environ["TACHOGRAPH_DIR"], "runs"), (1, 1))   # nothing has changed for long
        tachograph.active_run()
        started = time.perf_counter()
        for _ in range(100):
            assert tachograph.active_run() is None
        print((time.perf_counter() - started) / 100)
    """
    alone = script(code)
    assert float(alone.stdout) < 0.0005, alone.stderr
    child = script(code, TACHOGRAPH_PARENT=f"{os.getpid()}:{process.this().born}:{process.this().namespace}:{root}")
    assert float(child.stdout) < 0.0005, child.stderr


def test_a_child_that_looked_in_vain_finds_a_run_that_opens_later(script: Script, root: Path) -> None:
    done = script("""
        import os, subprocess, sys, time, tachograph
        with tachograph.start_run("before"):
            pass
        os.utime(os.path.join(os.environ["TACHOGRAPH_DIR"], "runs"), (1, 1))
        child = "import tachograph; "
        child += "[print(getattr(tachograph.active_run(), 'id', None), flush=True) for line in open(0)]"
        started = subprocess.Popen([sys.executable, "-c", child], stdin=-1, stdout=-1, text=True, bufsize=1)
        def ask():
            started.stdin.write("?\\n")
            return started.stdout.readline().strip()
        assert [ask() for _ in range(3)] == ["None"] * 3
        for _ in range(3):
            with tachograph.start_run() as run:
                assert [ask() for _ in range(3)] == [run.id] * 3
            assert ask() == "None"
        started.stdin.close()
        started.wait()
    """)
    assert done.returncode == 0, done.stderr


def test_a_pickled_run_of_a_process_that_is_switched_off(script: Script, root: Path) -> None:
    done = script("""
        import os, pickle, subprocess, sys, tachograph
        with tachograph.start_run("outer") as run:
            code = "import pickle, sys; run = pickle.load(sys.stdin.buffer); run.log({'x': 1.0}); print(repr(run.id))"
            environment = {**os.environ, "TACHOGRAPH_OFF": "1"}
            done = subprocess.run([sys.executable, "-c", code], input=pickle.dumps(run), env=environment, stdout=-1)
            assert done.stdout.strip() == b"''", done
    """)
    assert done.returncode == 0, done.stderr
    assert metrics(root) == {"outer": {}}


def test_looking_for_a_parents_run_survives_any_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for value in [
        "",
        ":",
        "1",
        "1:2",
        "x:y:z",
        "1:2:/nowhere",
        f"1:0:{tmp_path}",
        f"99999999:5:{tmp_path}",
        "²:1:/x",
        "1:0:0:/nowhere",
        "1:2:x:/nowhere",
        "99999999:5:1:/nowhere",
    ]:
        monkeypatch.setenv(open_runs.PARENT, value)
        assert tachograph.active_run() is None
