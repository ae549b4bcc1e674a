"""``tachograph rm`` removes runs for good, and says so on record."""

from __future__ import annotations

import json
import os
import pty
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest

import tachograph
from tachograph.errors import NotFound
from tachograph.journal import tombstones
from tachograph.store.store import open_store


@pytest.fixture
def family(store) -> list[str]:
    """A run with a child that has a child."""
    with tachograph.start_run("search") as run, run.child("candidate") as child, child.child("fold") as fold:
        fold.log({"loss": 1.0})
    assert tachograph.flush()  # the last look at the hardware comes after the end
    return [run.id, child.id, fold.id]


def folders(store: Path) -> list[str]:
    return sorted(path.name for path in (store / "runs").iterdir())


def stones(store: Path) -> list[dict[str, object]]:
    path = store / tombstones.FILENAME
    return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []


def test_a_run_goes_with_all_below_it_and_nothing_else(family, record, store, run_cli, wrong):
    other = record("other")
    status, output, errors = run_cli("rm", "search", "--yes")
    assert (status, errors) == (0, "")
    assert output == f"run search ({family[0]}) with 2 children removed from {store}\n"
    assert folders(store) == [other]
    assert {stone["id"]: stone["name"] for stone in stones(store)} == dict(
        zip(family, ("search", "candidate", "fold"), strict=True)
    )
    for key in (family[0], family[0][:-2], "search"):
        said = wrong("show", key, status=1)
        assert f"run {family[0]} was removed on {time.strftime('%Y-', time.gmtime())}" in said
    assert "was removed on" in wrong("rm", "fold", "--yes", status=1)
    assert "was removed" not in wrong("show", "nonsense", status=1)


def test_an_open_store_forgets_it(family, store, run_json):
    reading = open_store()
    assert len(reading.runs(children=True)) == 3
    said = run_json("rm", family[1], "--yes")
    assert said["removed"]
    assert [one["name"] for one in said["runs"]] == ["candidate", "fold"]
    assert [run.id for run in reading.runs(children=True)] == [family[0]]
    with pytest.raises(NotFound, match="was removed on"):
        reading.run(family[2])
    with pytest.raises(NotFound, match="was removed on"):
        tachograph.start_run(resume=family[1])


def test_a_dry_run_removes_nothing_and_needs_no_answer(family, store, run_json):
    said = run_json("rm", "search", "fold", "--dry-run")
    assert sorted(one["id"] for one in said["runs"]) == sorted(family)
    assert not said["removed"]
    assert (len(folders(store)), stones(store)) == (3, [])


@pytest.mark.slow
def test_without_a_terminal_and_without_yes_it_is_wrong_usage(family, store, program):
    done = program("rm", "search", stdin=subprocess.DEVNULL)
    assert (done.returncode, done.stdout, len(done.stderr.splitlines())) == (2, "", 1)
    assert "--yes" in done.stderr
    assert (len(folders(store)), stones(store)) == (3, [])


@pytest.mark.slow
@pytest.mark.parametrize(("answer", "status", "left"), [(b"y\n", 0, 0), (b"\n", 1, 3), (b"no\n", 1, 3)])
def test_it_asks_on_a_terminal(family, store, answer, status, left):
    terminal, end = pty.openpty()
    os.write(terminal, answer)
    command = [sys.executable, "-m", "tachograph", "rm", "search"]
    done = subprocess.run(command, stdin=end, capture_output=True, text=True, timeout=180)
    os.close(end)
    os.close(terminal)
    assert "with 2 children for good? [y/N]" in done.stderr
    assert (done.returncode, len(folders(store))) == (status, left)


def test_a_run_that_is_still_running_is_refused_and_so_is_what_was_named_beside_it(record, store, wrong):
    record("done")
    with tachograph.start_run("top") as top, top.child("below"):
        for keys in (["top"], ["below"], ["done", "top"]):
            assert "is still running" in wrong("rm", *keys, "--yes", status=1)
    assert (len(folders(store)), stones(store)) == (3, [])


@pytest.mark.parametrize("command", [["rm", "other", "--yes"], ["gc"]])
def test_a_removal_that_was_interrupted_is_finished(family, record, store, run_cli, command):
    other = record("other")
    shutil.copytree(store / "runs", store.parent / "backup")
    run_cli("rm", family[0], "--yes")
    shutil.copytree(store.parent / "backup", store / "runs", dirs_exist_ok=True)
    shutil.rmtree(next((store / "runs" / family[2]).iterdir()))
    assert [run.id for run in open_store().runs(children=True)] == [other]  # nothing brings them back
    assert run_cli(*command)[0] == 0
    assert set(folders(store)) <= {other}


def test_a_late_event_brings_nothing_back_but_the_same_job_queued_again_is_a_new_recording(store, run_cli, run_json):
    with tachograph.start_run("one") as run:
        pass
    assert run_cli("rm", "one", "--yes")[0] == 0
    run.log_note("late")
    assert folders(store) == [run.id]
    assert run_json("runs") == []
    assert run_json("gc", "--dry-run")["runs"] == [run.id]
    again = tachograph.record.run.Run(store, run.id, name="again")
    again.log({"loss": 1.0})
    again.finish()
    assert [one["name"] for one in run_json("runs")] == ["again"]
    assert run_json("gc")["runs"] == []
    assert folders(store) == [run.id]


def test_files_of_a_removed_run_are_garbage(store, tmp_path, run_cli, run_json):
    (tmp_path / "model").write_text("m")
    with tachograph.start_run("one") as run:
        run.log_artifact(tmp_path / "model")
    for path in store.glob("blobs/*/*"):
        os.utime(path, (time.time() - 7200,) * 2)
    assert run_json("gc")["files"] == []
    run_cli("rm", "one", "--yes")
    assert len(run_json("gc")["files"]) == 1


def test_a_line_that_was_cut_off_costs_itself_alone(record, store, run_cli):
    record("one")
    (store / tombstones.FILENAME).write_bytes(b'{"id":"half')
    assert run_cli("rm", "one", "--yes")[0] == 0
    assert [stone.name for stone in tombstones.removed(store).values()] == ["one"]


def test_nothing_outside_the_runs_can_be_named(record, store, tmp_path, run_cli):
    record("one")
    (tmp_path / "precious").mkdir()
    (store / tombstones.FILENAME).write_text('{"id":"../../precious","name":"x","at":9e9}\n')
    assert run_cli("gc")[0] == 0
    assert (tmp_path / "precious").is_dir()
