"""``tachograph show``."""

from __future__ import annotations

import math
import os
import re
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest

import tachograph

pytestmark = pytest.mark.filterwarnings("ignore::tachograph.TachographWarning")


@pytest.fixture
def full(store, tmp_path, monkeypatch) -> str:
    """A run with something of everything, and a child; its id."""
    monkeypatch.setenv("TACHOGRAPH_CONSOLE", "1")
    (tmp_path / "model.bin").write_bytes(b"w" * 12_345)
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "a.txt").write_text("a")
    labels = np.array([0, 0, 0, 1])
    with (
        suppress(ZeroDivisionError),
        tachograph.start_run("everything", experiment="churn", params={"lr": 0.1, "net": {"depth": 3}}) as run,
    ):
        run.set_tags({"owner": "ada", "purpose": "test"})
        run.log_dataset(np.array([[1.0, math.nan]] * 4), name="X_train", target=labels)
        for step in range(20):
            run.log({"loss": 1 / (step + 1), "odd": math.nan}, step=step * 10)
        run.log({"best_score": 0.5})
        run.log({"wrong": "text"})
        run.log_note("changed the sampler")
        run.log_artifact(tmp_path / "model.bin", name="model", kind="model")
        run.log_artifact(tmp_path / "out")
        with run.child("inner") as child:
            child.log({"score": 1.0})
        print("almost done")
        run.log({"x": 1 / 0})
    assert tachograph.flush()
    return run.id


def test_json_is_the_listed_object_and_everything_else(full, run_json):
    found = run_json("show", full)
    (listed,) = run_json("runs")
    assert {name: found[name] for name in listed} == listed
    assert found["status"] == "failed"
    assert (found["error"]["type"], found["error"]["message"]) == ("ZeroDivisionError", "division by zero")
    assert "1 / 0" in found["error"]["traceback"]
    assert found["params"] == {"lr": 0.1, "net.depth": 3}
    assert (found["parent"], len(found["children"]), len(found["writers"])) == (None, 1, 1)
    assert found["writers"][0]["pid"] == os.getpid()
    assert [note["source"] for note in found["notes"]] == ["tachograph", "user"]
    assert found["environment"]["python"]["implementation"] == "cpython"
    assert Path(found["dir"]).is_dir()
    assert any(name.startswith("system/") for name in found["system"])


def test_json_summarizes_each_metric(full, run_json):
    summary = run_json("show", full)["summary"]
    assert summary["loss"] == {
        "count": 20, "first": 1.0, "last": 0.05, "min": 0.05, "max": 1.0, "min_step": 190, "max_step": 0,
        "mean": pytest.approx(sum(1 / k for k in range(1, 21)) / 20),
    }  # fmt: skip
    assert summary["odd"]["last"] == summary["odd"]["mean"] == "NaN"
    assert summary["odd"]["min_step"] is None


def test_json_has_data_and_artifacts(full, run_json):
    found = run_json("show", full)
    (data,) = found["datasets"]
    assert (data["name"], data["role"], data["rows"], data["columns"]) == ("X_train", "train", 4, 2)
    assert data["profile"]["classes"] == {"0": 3, "1": 1}
    assert [(one["name"], one["kind"], one["size"]) for one in found["artifacts"]] == [
        ("model", "model", 12_345), ("out", "file", 1),
    ]  # fmt: skip
    assert all(one["digest"].startswith("sha256:") for one in found["artifacts"])


def test_a_child_names_its_parent(full, run_json):
    (child,) = run_json("show", full)["children"]
    found = run_json("show", child)
    assert (found["parent"], found["name"], found["metrics"]) == (full, "inner", {"score": 1.0})


def test_everything_is_drawn(full, run_cli):
    status, output, errors = run_cli("show", full)
    assert (status, errors) == (0, "")
    for text in (
        f"everything  {full}", "failed after", "experiment churn", "owner=ada  purpose=test",
        "ZeroDivisionError: division by zero", "run.log({\"x\": 1 / 0})",
        "lr=0.1", "net.depth=3", "best_score=0.5",
        "4 in 1 column", "0 75%, 1 25%", "12.3 kB", "out/",
        "changed the sampler", "by tachograph  metric 'wrong' is not a number",
        "almost done", "1 child", "inner",
    ):  # fmt: skip
        assert text in output, text
    assert re.search(r"loss +0\.05 +0\.05 +190 +1 +0 +20 +█▄", output)
    assert re.search(r"odd +NaN +NaN +NaN +20", output)
    assert not any(line.endswith(" ") for line in output.splitlines())


def test_a_run_is_found_by_latest_name_and_beginning(record, run_json):
    first = record("first")
    second = record("second")
    assert run_json("show", "latest")["id"] == second
    assert run_json("show", "first")["id"] == first
    assert run_json("show", first[:-1])["id"] == first


def test_a_run_that_is_not_there_or_not_the_only_one(record, wrong, store):
    assert "no run" in wrong("show", "latest", status=1)
    assert not store.exists()
    record("twin")
    record("twin")
    assert "twin" in wrong("show", "twin", status=1)
    assert "nowhere" in wrong("show", "nowhere", status=1)
    assert "nowhere" in wrong("show", "nowhere", "--json", status=1)
    assert "RUN" in wrong("show")


def test_a_run_with_nothing_in_it(store, run_cli, run_json):
    run = tachograph.start_run("empty")
    status, output, _ = run_cli("show", run.id)
    assert (status, output.splitlines()[1].startswith("running for ")) == (0, True)
    assert run_json("show", run.id)["summary"] == {}


def test_a_run_whose_journal_is_damaged_is_still_shown(record, store, run_cli):
    id = record("one")
    (path,) = store.glob(f"runs/{id}/*/*.jsonl")
    lines = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(b"".join([b"garbage\n", *lines[1:9], b"\xff\xfe\n", *lines[10:]]))
    status, output, errors = run_cli("show", id)
    assert (status, errors) == (0, "")
    assert "loss" in output


def test_many_points_are_drawn_quickly(store, run_cli):
    import time

    with tachograph.start_run("long") as run:
        for step in range(100_000):
            run.log({"loss": step * 0.5}, step=step)
    run_cli("runs")
    start = time.perf_counter()
    status, output, _ = run_cli("show", "long")
    assert status == 0
    assert "100,000" in output
    assert "▁▁▁▂▂▂▂▃▃▃▃" in output
    assert time.perf_counter() - start < 2


def test_what_a_run_was_resumed_from_and_who_made_that(store, run_cli, tmp_path):
    (tmp_path / "last.pt").write_bytes(b"weights")
    with tachograph.start_run("first") as first:
        first.log_artifact(tmp_path / "last.pt")
    digest = tachograph.open_store().run(first.id).artifact("last.pt").digest
    with tachograph.start_run("second") as second:
        second.recorder.link("resumed from", digest, path="last.pt")
    _, shown, _ = run_cli("show", second.id)
    line = next(line for line in shown.splitlines() if line.startswith("resumed from"))
    assert f"first {first.id}" in line
    assert "last.pt" in line
    assert [run.id for run in tachograph.open_store().keepers(digest)] == [first.id]


def test_metrics_come_first_and_what_has_no_value_takes_one_line(store, run_cli):
    nothing = {f"option_{number}": None for number in range(40)}
    with tachograph.start_run("many", params={**nothing, "lr": 0.1}) as run:
        run.log({"loss": 0.5})
    _, output, _ = run_cli("show", "many")
    lines = output.splitlines()
    assert lines.index("Metrics") < lines.index("loss=0.5") < lines.index("Params") < lines.index("lr=0.1")
    (none,) = [line for line in lines if "option_" in line]
    assert none.startswith("None: option_0, option_1, option_10")
    assert "option_39" in none
