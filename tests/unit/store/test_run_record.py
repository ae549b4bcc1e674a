"""A run, recorded and read back."""

from __future__ import annotations

import json
import math
import os
from datetime import UTC
from pathlib import Path
from typing import Any

import pytest
from tests.parts.files import file

import tachograph
from tachograph.record.run import Run
from tachograph.store.run_record import RunRecord
from tachograph.store.store import open_store


def test_what_was_recorded_is_read_back(recorded: RunRecord, root: Path) -> None:
    run = recorded
    assert (run.name, run.experiment, run.status, run.opener) == ("full", "e", "finished", "user")
    assert run.params == {"lr": 0.1, "net.width": 8}
    assert run.tags == {"k": "v"}
    assert run.metrics == {"loss": 0.9, "acc": pytest.approx(0.1)}
    assert run.dir == root / "runs" / run.id
    assert run.error is None
    assert [(note.text, note.source) for note in run.notes] == [("a remark", "user"), ("another", "user")]
    assert all(note.at.tzinfo is UTC for note in run.notes)
    assert run.console[:2] == ["printed", "lines"]
    assert run.environment["python"]
    assert [child.name for child in run.children] == ["inner"]
    assert run.children[0].parent is not None
    assert run.children[0].parent.id == run.id == run.children[0].parent_id
    assert run.parent is None
    assert [(writer.rank, writer.role, writer.status, writer.pid) for writer in run.writers] == [
        (0, "owner", "finished", os.getpid())
    ]
    assert run.next_steps()["loss"] == 31
    assert repr(run) == f"<tachograph run full ({run.id}), finished>"


def test_an_exception_is_told(root: Path) -> None:
    with pytest.raises(ValueError, match="oh"), tachograph.start_run() as run:
        raise ValueError("oh")
    found = open_store().run(run.id)
    assert found.status == "failed"
    assert found.error is not None
    assert (found.error.type, found.error.message) == ("ValueError", "oh")
    assert 'raise ValueError("oh")' in found.error.traceback


def test_the_first_failure_of_a_job_is_the_runs_whatever_comes_first(root: Path, tmp_path: Path) -> None:
    ranks = [Run(root, "job", role="worker" if rank else "owner", rank=rank) for rank in range(3)]
    for rank in ranks:
        rank.log({"loss": 0.5})
    for rank, error in [(2, ValueError("boom")), (0, RuntimeError("Connection closed by peer")), (1, OSError("reset"))]:
        ranks[rank].finish("failed", error)
    cause = root / "runs" / "job" / ranks[2].writer
    cause.rename(tmp_path / "late")
    assert open_store().run("job").error.message == "Connection closed by peer"
    (tmp_path / "late").rename(cause)
    found = open_store().run("job")
    assert (found.status, found.error.type, found.error.message) == ("failed", "ValueError", "boom")
    assert found.failure is not None
    assert found.failure.rank == 2
    errors = sorted((writer.rank, writer.error.message) for writer in found.writers if writer.error)
    assert errors == [(0, "Connection closed by peer"), (1, "reset"), (2, "boom")]


def test_a_run_that_finished_has_no_error_of_another_rank(root: Path) -> None:
    ranks = [Run(root, "job", role="worker" if rank else "owner", rank=rank) for rank in range(2)]
    for rank, error in zip(ranks, [None, ValueError("boom")], strict=True):
        rank.log({"loss": 0.5})
        rank.finish("failed" if error else "finished", error)
    assert open_store().run("job").error is None


def test_a_run_that_is_open_is_running(root: Path) -> None:
    run = tachograph.start_run()
    run.log({"x": 1})
    found = open_store().run(run.id)
    assert (found.status, found.ended, found.metrics) == ("running", None, {"x": 1})
    run.finish("interrupted")
    assert found.status == "running"  # what was read stays what it was
    assert open_store().run(run.id).status == "interrupted"


def test_a_resumed_run_goes_on(root: Path) -> None:
    with tachograph.start_run("n") as run:
        run.log({"x": 1})
    with tachograph.start_run(resume=run.id) as again:
        assert open_store().run(run.id).status == "running"
        again.log({"x": 2})
    found = open_store().run(run.id)
    assert found.status == "finished"
    assert found.history("x").steps.tolist() == [0, 1]
    assert [writer.attempt for writer in found.writers] == [0, 1]


def test_the_last_values_of_the_hardware_stand_apart(root: Path) -> None:
    with tachograph.start_run() as run:
        run.log({"system/mine": 12.0, "loss": 1.0})
    found = open_store().run(run.id)
    assert found.metrics == {"loss": 1.0}
    assert found.system["system/mine"] == 12.0
    assert found.history("system/mine").values[0] == 12.0


def test_datasets(recorded: RunRecord) -> None:
    (found,) = recorded.datasets
    assert (found.name, found.role, found.rows, found.columns) == ("train", "train", 2, 2)
    assert (found.source, found.version) == ("here", "7")
    assert found.digest
    assert found.profile


def test_the_newest_of_a_name_counts(root: Path, tmp_path: Path) -> None:
    with tachograph.start_run() as run:
        for content in ("old", "new"):
            run.log_artifact(file(tmp_path / "a.txt", content), name="a")
        run.log_table("a", [{"x": 1}])
        run.log_artifact(file(tmp_path / "b.txt", "newest"), name="a")
    found = open_store().run(run.id)
    assert found.artifact("a").load() == "newest"
    assert found.table("a") == [{"x": 1}]
    assert [each.filename for each in found.artifacts] == ["b.txt", "a.jsonl"]


def test_tables(recorded: RunRecord) -> None:
    rows = recorded.table("confusion")
    assert repr(rows) == "[{'a': 1, 'b': [nan, 'x']}, {'a': 2, 'b': None}]"
    with pytest.raises(tachograph.NotFound, match=r"has no table 'data\.txt'; it has confusion"):
        recorded.table("data.txt")


def test_a_table_whose_name_has_a_slash(root: Path) -> None:
    with tachograph.start_run() as run:
        run.log_table("val/confusion", [{"x": 1}])
    assert open_store().run(run.id).table("val/confusion") == [{"x": 1}]


def test_the_values_that_an_experiment_can_hold_survive(root: Path) -> None:
    params: dict[str, Any] = {
        "none": None, "true": True, "int": 2**62, "big": 2**80, "float": 0.1, "inf": -math.inf, "text": "é\n\"'",
        "list": [1, [2.5, None, "x"]], "NaN": "NaN",
    }  # fmt: skip
    with tachograph.start_run(params=params):
        pass
    found = open_store().run("latest").params
    assert found == params | {"big": str(2**80)}
    assert {name: type(value) for name, value in found.items()} == {
        name: type(value) for name, value in (params | {"big": ""}).items()
    }
    assert json.dumps(found, sort_keys=True) == json.dumps(params | {"big": str(2**80)}, sort_keys=True)
