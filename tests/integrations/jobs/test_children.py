"""What child processes train that ``multiprocessing`` starts: it is recorded as if their parent had trained it."""

from __future__ import annotations

import os
import subprocess
import sys
import textwrap
from collections.abc import Callable
from pathlib import Path

import pytest

import tachograph
from tachograph.store.run_record import RunRecord

HEAD = """
import multiprocessing, os, sys
from concurrent.futures import ProcessPoolExecutor

def in_processes(context, work, count):
    processes = [context.Process(target=work, args=(number,)) for number in range(count)]
    for process in processes:
        process.start()
    for process in processes:
        process.join()
        assert process.exitcode == 0

def in_pool(context, work, count):
    with context.Pool(2) as pool:  # which kills its workers at the end
        pool.map(work, range(count), chunksize=1)

def in_executor(context, work, count):
    with ProcessPoolExecutor(2, mp_context=context) as executor:
        list(executor.map(work, range(count)))

def fit(number):
    from sklearn.linear_model import LogisticRegression
    LogisticRegression(C=number + 1).fit([[0.0], [1.0], [2.0], [3.0]], [0, 0, 1, 1])

def loop(number):
    import torch
    net = torch.nn.Linear(2, 1)
    optimizer = torch.optim.SGD(net.parameters(), lr=0.1)
    for _ in range(7):
        loss = net(torch.ones(2, 2)).pow(2).mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
"""
Python = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture
def python(tmp_path: Path) -> Python:
    """Runs a program that begins with ``HEAD``, and asserts that it ends well."""

    def run(code: str, *before: str, **environment: str) -> subprocess.CompletedProcess[str]:
        (tmp_path / "train.py").write_text(HEAD + textwrap.dedent(code))
        environment = {**os.environ, "OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": "", **environment}
        command = [sys.executable, *before, "train.py"]
        done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=120)
        assert done.returncode == 0, done.stdout + done.stderr
        assert "Traceback" not in done.stderr, done.stderr
        return done

    return run


def runs(root: Path) -> list[RunRecord]:
    return list(tachograph.open_store(root).runs(children=True))


@pytest.mark.parametrize(
    ("where", "method"), [("in_processes", "spawn"), ("in_pool", "forkserver"), ("in_executor", "spawn")]
)
def test_fits_in_fresh_processes_are_recorded_under_exec(root: Path, python: Python, where: str, method: str) -> None:
    code = f"""
        if __name__ == "__main__":
            {where}(multiprocessing.get_context({method!r}), fit, 3)
    """
    python(code, "-m", "tachograph", "exec", "--tag", "purpose=test", "--name", "mine", "--experiment", "theirs")
    found = runs(root)
    assert sorted(run.params["C"] for run in found) == [1, 2, 3]
    assert {run.status for run in found} == {"finished"}
    assert {(run.name, run.experiment, run.tags["purpose"]) for run in found} == {("mine", "theirs", "test")}
    assert all("train_accuracy" in run.metrics and run.artifact("model") for run in found)


def test_a_fresh_process_has_the_options_of_a_call_under_the_main_guard(root: Path, python: Python) -> None:
    code = """
        def both(number):
            import numpy as np, xgboost
            xgboost.train({}, xgboost.DMatrix(np.ones((4, 1)), np.ones(4)), 1)
            fit(number)

        if __name__ == "__main__":
            import argparse, tachograph
            parser = argparse.ArgumentParser()
            parser.add_argument("--depth", type=int, default=7)
            tachograph.autolog("sklearn", tags={"a": "b"}, models=False, experiment="e")
            parser.parse_args()
            in_processes(multiprocessing.get_context("spawn"), both, 1)
    """
    python(code)
    [run] = runs(root)
    assert (run.name, run.experiment, run.tags["a"]) == ("LogisticRegression", "e", "b")
    assert (run.artifacts, run.params["depth"]) == ([], 7)


@pytest.mark.parametrize(
    ("before", "count"),
    [("", 1), ("with tachograph.suppress():", 0), ("if autologging.undo() is None:", 0)],
    ids=["on", "suppressed", "undone"],
)
def test_a_child_that_loads_a_call_of_autolog_does_as_its_parent(
    root: Path, python: Python, before: str, count: int
) -> None:
    code = f"""
        import tachograph
        autologging = tachograph.autolog(experiment="first")

        if __name__ == "__main__":
            tachograph.autolog(experiment="second", silent=True)
            {before or "if True:"}
                in_processes(multiprocessing.get_context("spawn"), fit, 1)
    """
    done = python(code)
    assert [run.experiment for run in runs(root)] == ["second"] * count
    assert done.stderr.count("called again") <= 1, done.stderr  # in the parent


def test_a_child_sees_nothing_of_the_word_that_it_is_sent(root: Path, python: Python) -> None:
    code = """
        def look(number):
            main = sys.modules["__main__"]
            shown = (sys.argv, main.__name__, sorted(vars(main)), os.getcwd(), sys.path, sorted(os.environ))
            print(shown, "torch" in sys.modules, "numpy" in sys.modules, flush=True)

        if __name__ == "__main__":
            in_processes(multiprocessing.get_context("spawn"), look, 1)
    """
    plain = python(code).stdout
    assert python(code, "-m", "tachograph", "exec").stdout == plain
    assert "__mp_main__" in plain


def test_a_child_that_has_no_tachograph_works(root: Path, python: Python) -> None:
    code = """
        def work(number):
            import importlib.util
            print(importlib.util.find_spec("tachograph"), flush=True)

        if __name__ == "__main__":
            import tachograph
            places = {os.path.dirname(folder) for folder in tachograph.__path__}
            tachograph.autolog()
            sys.path = [folder for folder in sys.path if folder not in places]
            in_processes(multiprocessing.get_context("spawn"), work, 1)
    """
    assert python(code).stdout == "None\n"


@pytest.mark.parametrize(
    ("where", "method"), [("in_pool", "spawn"), ("in_pool", "fork"), ("in_executor", "forkserver")]
)
def test_each_task_of_a_pool_that_trains_has_a_run_which_ends(
    root: Path, python: Python, where: str, method: str
) -> None:
    code = f"""
        if __name__ == "__main__":
            {where}(multiprocessing.get_context({method!r}), loop, 3)
    """
    python(code, "-m", "tachograph", "exec")
    found = runs(root)
    assert [(run.status, len(run.history("loss").values)) for run in found] == [("finished", 7)] * 3


def test_a_task_that_fails_has_a_run_that_says_so(root: Path, python: Python) -> None:
    code = """
        def fail(number):
            loop(number)
            raise LookupError("in the task")

        if __name__ == "__main__":
            for where in (in_pool, in_executor):
                try:
                    where(multiprocessing.get_context("fork"), fail, 1)
                except LookupError:
                    continue
                raise AssertionError
    """
    python(code, "-m", "tachograph", "exec")
    assert [(run.status, run.error.type if run.error else None) for run in runs(root)] == [
        ("failed", "LookupError")
    ] * 2


@pytest.mark.parametrize("method", ["forkserver", "fork"])
def test_where_the_parent_has_a_run_open_the_tasks_of_a_pool_write_to_it(
    root: Path, python: Python, method: str
) -> None:
    code = f"""
        import time
        def task(number):
            loop(number)
            import tachograph
            tachograph.log({{"told": number}})

        if __name__ == "__main__":
            import tachograph
            tachograph.autolog()
            context = multiprocessing.get_context({method!r})
            in_processes(context, time.sleep, 1)  # what starts others is there before the run
            with tachograph.start_run("mine"):
                in_pool(context, task, 4)
    """
    python(code)
    [run] = runs(root)
    assert (run.name, run.status) == ("mine", "finished")
    assert len(run.history("loss").values) == 28
    assert sorted(run.history("told").values) == [0, 1, 2, 3]
    assert {writer.status for writer in run.writers} == {"finished"}


def test_ranks_that_are_spawned_under_exec_share_a_run(root: Path, python: Python) -> None:
    code = """
        def rank(number, port):
            import torch.distributed as dist
            os.environ.update(MASTER_ADDR="127.0.0.1", MASTER_PORT=str(port))
            dist.init_process_group("gloo", rank=number, world_size=2)
            loop(number)
            dist.destroy_process_group()

        if __name__ == "__main__":
            import socket
            import torch.multiprocessing as mp
            with socket.socket() as free:
                free.bind(("127.0.0.1", 0))
                port = free.getsockname()[1]
            mp.spawn(rank, args=[port], nprocs=2)
    """
    python(code, "-m", "tachograph", "exec")
    [run] = runs(root)
    assert sorted((writer.rank, writer.role, writer.status) for writer in run.writers) == [
        (0, "owner", "finished"),
        (1, "worker", "finished"),
    ]
    assert run.history("loss").steps.tolist() == list(range(7))
