"""What is trained in a job of Hydra is recorded with the job's configuration, and ends with the job."""

from __future__ import annotations

import os
import subprocess
import sys
import textwrap
from pathlib import Path
from typing import Any

import pytest

import tachograph
from tachograph.store.store import Store

pytest.importorskip("torch")
pytest.importorskip("hydra")

QUIET = ["hydra/job_logging=none", "hydra/hydra_logging=none", "hydra.run.dir=out", "hydra.sweep.dir=out"]
PROGRAM = """
    import os
    import hydra
    import tachograph
    import torch
    from hydra.core.config_store import ConfigStore

    ConfigStore.instance().store(name="config", node={"lr": 0.1, "fail": False, "db": {"host": "${oc.env:DB_HOST}"}})

    def loop(lr, steps):
        model = torch.nn.Linear(2, 1)
        optimizer = torch.optim.SGD(model.parameters(), lr=lr)
        for _ in range(steps):
            loss = model(torch.ones(3, 2)).pow(2).mean()
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()

    @hydra.main(version_base=None, config_name="config")
    def main(config):
        BODY

    BEFORE
    main()
    AFTER
"""


def run(folder: Path, body: str, *arguments: str, before: str = "tachograph.autolog()", after: str = "") -> Any:
    """A program of Hydra in a process of its own, and the store that it leaves."""
    code = textwrap.dedent(PROGRAM).replace("    BODY", textwrap.indent(textwrap.dedent(body), "    "))
    (folder / "train.py").write_text(code.replace("BEFORE", before).replace("AFTER", after))
    done = subprocess.run(
        [sys.executable, "train.py", *arguments, *QUIET], cwd=folder, capture_output=True, text=True, timeout=120,
        env={**os.environ, "TACHOGRAPH_DIR": "store", "DB_HOST": "user:password-of-a-host"},
    )  # fmt: skip
    return done, tachograph.open_store(folder / "store")


def oldest_first(store: Store) -> list[Any]:
    return sorted(store.runs(children=True), key=lambda run: run.started)


def test_each_job_of_a_sweep_is_a_run_with_its_own_configuration_and_curve(tmp_path: Path) -> None:
    done, store = run(tmp_path, "loop(config.lr, 4)", "-m", "lr=0.01,0.02,0.03", "hydra.job.chdir=True")
    assert done.returncode == 0, done.stderr
    runs = oldest_first(store)
    assert [one.params["lr"] for one in runs] == [0.01, 0.02, 0.03]
    assert [one.history("loss").steps.tolist() for one in runs] == [[0, 1, 2, 3]] * 3
    assert [one.history("lr").values.tolist() for one in runs] == [[0.01] * 4, [0.02] * 4, [0.03] * 4]
    assert not [name for one in runs for name in one.params if name.startswith(("hydra", "multirun", "db."))]


def test_autolog_may_be_called_in_the_job_itself(tmp_path: Path) -> None:
    body = """
        tachograph.autolog()
        loop(config.lr, 3)
    """
    done, store = run(tmp_path, body, "-m", "lr=0.01,0.02", before="")
    assert done.returncode == 0, done.stderr
    assert [one.params["lr"] for one in oldest_first(store)] == [0.01, 0.02]
    assert [one.history("loss").steps.tolist() for one in oldest_first(store)] == [[0, 1, 2]] * 2


@pytest.mark.parametrize("end", ["run.finish()", "pass"])
def test_a_run_that_a_job_opens_is_that_job_s(tmp_path: Path, end: str) -> None:
    body = f"""
        run = tachograph.start_run(f"rate {{config.lr}}")
        loop(config.lr, 3)
        run.log({{"own": config.lr}})
        {end}
    """
    done, store = run(tmp_path, body, "-m", "lr=0.01,0.02")
    assert done.returncode == 0, done.stderr
    runs = oldest_first(store)
    assert [(one.name, one.parent, one.status) for one in runs] == [
        ("rate 0.01", None, "finished"),
        ("rate 0.02", None, "finished"),
    ]
    assert [one.params["lr"] for one in runs] == [one.metrics["own"] for one in runs] == [0.01, 0.02]
    assert [one.history("loss").steps.tolist() for one in runs] == [[0, 1, 2]] * 2


def test_a_run_around_all_jobs_stays_open_for_all(tmp_path: Path) -> None:
    before, after = "tachograph.autolog(); run = tachograph.start_run('sweep')", "run.log({'after': 1.0}); run.finish()"
    done, store = run(tmp_path, "loop(config.lr, 3)", "-m", "lr=0.01,0.02", before=before, after=after)
    assert done.returncode == 0, done.stderr
    [one] = store.runs(children=True)
    assert (one.name, one.metrics["after"], len(one.history("loss").steps)) == ("sweep", 1.0, 6)


def test_a_job_that_fails_is_a_run_that_failed(tmp_path: Path) -> None:
    body = """
        loop(config.lr, 3)
        if config.fail:
            raise ValueError("it does not converge")
    """
    done, store = run(tmp_path, body, "-m", "fail=false,true")
    assert done.returncode == 1
    good, failed = oldest_first(store)
    assert (good.status, good.params["fail"]) == ("finished", False)
    assert (failed.status, failed.params["fail"]) == ("failed", True)
    assert (failed.error.type, failed.error.message) == ("ValueError", "it does not converge")


def test_what_comes_after_the_job_does_not_have_its_configuration(tmp_path: Path) -> None:
    done, store = run(tmp_path, "loop(config.lr, 2)", "lr=0.5", after="loop(0.25, 3)")
    assert done.returncode == 0, done.stderr
    job, after = oldest_first(store)
    assert (job.params["lr"], "lr" in after.params) == (0.5, False)
    assert after.history("loss").steps.tolist() == [0, 1, 2]
