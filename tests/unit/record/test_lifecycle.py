"""What is recorded around a run: where it ran and how loaded the machine was, from its begin to its end."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

import tachograph
from tachograph.record import lifecycle
from tachograph.runtime.background import background
from tachograph.store.run_record import RunRecord

Script = Callable[..., "subprocess.CompletedProcess[str]"]


@pytest.fixture(autouse=True)
def default_interval() -> Iterator[None]:
    yield
    lifecycle.configure(True)
    assert background.drain(10)
    assert not lifecycle._monitor._runs


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
    lifecycle.configure(False)
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
    monkeypatch.setattr(lifecycle._monitor, "_fresh", fail)
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


SHORT = """
import time, tachograph
tachograph.start_run().log({"loss": 0.5})
print(time.time())
"""


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    """The folder of the script, with a change that is not committed."""
    for command in (["init", "--initial-branch=trunk"], ["add", "model.py"], ["commit", "--message=first"]):
        (tmp_path / "model.py").write_text("width = 1\n")
        who = ["-c", "user.name=somebody", "-c", "user.email=somebody@example.com"]
        subprocess.run(["git", "-C", tmp_path, *who, *command], check=True, capture_output=True)
    (tmp_path / "model.py").write_text("width = 2\n")
    return tmp_path


@pytest.fixture
def hanging(repository: Path) -> Callable[[str], str]:
    """A PATH with a git before the real one that hangs in the questions that a shell pattern names."""

    def path(questions: str) -> str:
        (repository / "bin").mkdir()
        git = repository / "bin" / "git"
        git.write_text(
            f'#!/bin/sh\nfor word; do case "$word" in {questions}) echo $$ > {repository}/pid; sleep 60;; esac; done\n'
            f'exec {shutil.which("git")} "$@"\n'
        )
        git.chmod(0o755)
        return f"{git.parent}:{os.environ['PATH']}"

    return path


def test_the_state_of_the_code_is_recorded_of_a_script_that_ends_at_once(
    script: Script, root: Path, repository: Path
) -> None:
    assert script(SHORT).returncode == 0
    run = read(root)
    assert run.environment["git"]["branch"] == "trunk"
    assert "+width = 2" in run.environment["git"]["diff"]
    assert run.notes == []


@pytest.mark.parametrize(
    ("questions", "known", "missing"),
    [
        ("diff", {"commit", "dirty"}, "git diff did not answer in time: the uncommitted changes are not recorded"),
        ("status", {"commit"}, "git status did not answer in time: the uncommitted changes are not recorded"),
        ("*", set(), "git rev-parse did not answer in time: the commit and the uncommitted changes are not recorded"),
    ],
)
def test_the_end_does_not_wait_for_a_git_that_hangs(
    script: Script, root: Path, hanging: Callable[[str], str], questions: str, known: set[str], missing: str
) -> None:
    done = script(SHORT, PATH=hanging(questions))
    took = time.time() - float(done.stdout)
    run = read(root)
    assert took < 3, done.stderr  # 0.6 on an idle machine
    assert {"commit", "dirty", "diff"} & run.environment["git"].keys() == known
    assert run.environment["packages"]
    assert run.environment["gpus"] is not None
    assert [note.text for note in run.notes] == [missing]
    assert run.metrics == {"loss": 0.5}
    assert not psutil.pid_exists(int((root.parent / "pid").read_text()))


def test_a_store_that_was_deleted_stays_so(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lifecycle, "_slow_facts", None)
    with tachograph.start_run("r") as run:
        run.recorder.log_training_data([[1.0], [2.0]], "train", "train")
    shutil.rmtree(root)
    assert tachograph.flush()
    assert not root.exists()


def test_the_statistics_of_a_pool_are_there_at_its_tasks_ends(script: Any, root: Path) -> None:
    done = script("""
        import multiprocessing, tachograph
        def job(number):
            with tachograph.start_run(f"job {number}") as run:
                run.recorder.log_training_data([[float(number)], [2.0]], "train", "train")
        if __name__ == "__main__":
            tachograph.autolog()
            with multiprocessing.get_context("fork").Pool(2) as pool:
                pool.map(job, range(4), chunksize=1)
    """)
    assert done.returncode == 0, done.stderr
    runs = tachograph.open_store(root).runs()
    assert [len(data.profile["schema"]) for run in runs for data in run.datasets] == [1] * 4


def test_a_run_that_is_opened_when_the_interpreter_ends_keeps_it_from_nothing(script: Any) -> None:
    done = script("""
        import tachograph
        class Late:
            def __del__(self):
                with tachograph.start_run("late") as run:
                    run.log_table("t", [{"a": 1}])
                os.write(1, b"done")
        import os
        with tachograph.start_run("early"):
            pass
        late = Late()
    """, TACHOGRAPH_STRICT="0")  # fmt: skip
    assert (done.returncode, done.stdout) == (0, "done"), done.stderr


ENDS = {
    "a signal": "os.kill(os.getpid(), signal.SIGTERM)",
    "another program in its place": "os.execv(sys.executable, [sys.executable, '-c', ''])",
    "a daemon's fork": "os._exit(0) if os.fork() else os._exit(0)",
}


@pytest.mark.slow
@pytest.mark.skipif(sys.platform == "win32", reason="signals and forks of Unix")
@pytest.mark.parametrize("end", ENDS.values(), ids=ENDS)
def test_statistics_that_a_sudden_end_has_prevented_are_said_to_lack(script: Any, root: Path, end: str) -> None:
    script(f"""
        import os, signal, sys
        import tachograph
        with tachograph.start_run("sudden") as run:
            run.recorder.log_training_data([[1.0], [2.0]], "train", "train")
        {end}
    """)
    run = tachograph.open_store(root).run("sudden")
    [data] = run.datasets
    assert data.digest.startswith("sha256:")
    assert data.profile["unfinished"] is True
    assert "schema" not in data.profile
    shown = subprocess.run([sys.executable, "-m", "tachograph", "show", "sudden"], capture_output=True, text=True)
    assert "statistics not done" in shown.stdout


def test_statistics_that_were_done_are_not_said_to_lack(root: Path) -> None:
    with tachograph.start_run("whole") as run:
        run.recorder.log_training_data([[1.0], [2.0]], "train", "train")
    [data] = tachograph.open_store(root).run("whole").datasets
    assert "unfinished" not in data.profile
    assert [column["mean"] for column in data.profile["schema"]] == [1.5]
