"""``tachograph compare``: what differs, the likeliest cause first."""

from __future__ import annotations

import math
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import tachograph

SECTIONS = ["params", "data", "code", "environment", "packages", "metrics"]


def test_only_what_differs_is_there(record, run_json):
    first = record("first", rate=0.01, depth=3, seed=7)
    second = record("second", rate=0.02, depth=3, seed=7, extra=None)
    assert tachograph.flush()  # packages and the like are found out in the background
    found = run_json("compare", "first", "second")
    assert list(found) == ["runs", *SECTIONS]
    assert [run["id"] for run in found["runs"]] == [first, second]
    assert found["params"] == {"lr": {first: 0.01, second: 0.02}, "extra": {second: None}}
    assert set(found["metrics"]) == {"loss", "val_loss", "accuracy"}
    assert found["data"] == found["code"] == found["environment"] == found["packages"] == {}


def test_values_of_other_types_differ_and_nan_is_like_nan(store, run_json):
    runs = []
    for value in (1, 1.0, True):
        with tachograph.start_run(params={"same": math.nan, "differs": value}) as run:
            run.log({"odd": math.nan})
        runs.append(run.id)
    found = run_json("compare", *runs)
    assert list(found["params"]) == ["differs"]
    assert found["metrics"] == {}


def test_data_by_its_digest(store, run_json, run_cli):
    for name, number in (("a", 1.0), ("b", 2.0)):
        with tachograph.start_run(name) as run:
            run.log_dataset(np.array([[number]]), name="X")
            run.log_dataset(np.array([[0.0]]), name="X_test", role="test")
    found = run_json("compare", "a", "b")
    assert list(found["data"]) == ["train X"]
    _, output, _ = run_cli("compare", "a", "b")
    assert "Data\n" in output


@pytest.fixture
def repository(tmp_path, monkeypatch) -> Path:
    folder = tmp_path / "repository"
    folder.mkdir()
    monkeypatch.chdir(folder)
    (folder / "train.py").write_text("lr = 0.1\nimport tachograph\ntachograph.start_run(str(lr)).finish()\n")
    for command in (["init", "-q"], ["add", "."], ["-c", "user.name=x", "-c", "user.email=x@y", "commit", "-qm", "x"]):
        subprocess.run(["git", *command], check=True)
    return folder


@pytest.mark.slow
def test_code_by_the_lines_that_were_changed(repository, run_json, run_cli):
    text = (repository / "train.py").read_text()
    for rate in ("0.1", "0.2", "0.3"):
        (repository / "train.py").write_text(text.replace("0.1", rate))
        subprocess.run([sys.executable, "train.py"], check=True)
    found = run_json("compare", "0.1", "0.2")
    assert list(found["code"]) == ["diff"]
    _, output, _ = run_cli("compare", "0.2", "0.3")
    assert "A  train.py  +lr = 0.2\nB  train.py  +lr = 0.3\n" in output
    assert "-lr = 0.1" not in output  # both have changed that line
    assert "the same: environment, packages; not recorded: params, data, metrics" in output


def test_metrics_of_two_runs_show_the_change(store, run_cli):
    for name, loss in (("a", 0.5), ("b", 0.25)):
        with tachograph.start_run(name) as run:
            run.log({"loss": loss, "zero": loss - 0.5, "gone" if name == "a" else "new": 1.0, "odd": loss})
        if name == "a":
            run.log({"odd": math.inf})
    status, output, errors = run_cli("compare", "a", "b")
    assert (status, errors) == (0, "")
    lines = {line.split()[0]: line.split()[1:] for line in output.splitlines() if line}
    assert lines["loss"] == ["0.5", "0.25", "-0.25", "(-50.0%)"]
    assert lines["zero"] == ["0", "-0.25", "-0.25"]
    assert lines["gone"] == ["1", "–"]
    assert lines["odd"] == ["∞", "0.25"]


def test_wrong_usage(record, wrong):
    record("one")
    assert "two to 10 different runs" in wrong("compare", "one")
    assert "two to 10 different runs" in wrong("compare", "one", "latest")
    assert "RUN" in wrong("compare")
    assert "nowhere" in wrong("compare", "one", "nowhere", status=1)
