"""What is recorded without naming a run lands in the right one, in child processes too."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

import tachograph
from tachograph.record import launchers
from tachograph.runtime import process

Script = Callable[..., "subprocess.CompletedProcess[str]"]


def metrics(root: Path) -> dict[str | None, dict[str, float]]:
    """The last values of each run, by name."""
    return {run.name: dict(run.metrics) for run in tachograph.open_store(root).runs(children=True)}


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
        monkeypatch.setenv(launchers.PARENT, value)
        assert tachograph.active_run() is None
