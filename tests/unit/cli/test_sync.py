"""``tachograph sync``, and what ``doctor`` says of sinks."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest
from tests.unit.cli.conftest import strict

import tachograph
from tachograph.cli import sync
from tachograph.ship.positions import Positions, rejected_line


@pytest.fixture
def far(tmp_path):
    return tmp_path / "far"


def recorded(name: str, **how) -> str:
    with tachograph.start_run(name, **how) as run:
        run.log({"loss": 1})
    assert tachograph.flush(10)
    return run.id


def test_to_another_place_and_twice(record, run_json, far):
    ids = [record("one"), record("two")]
    assert tachograph.flush(30)  # what is found out in the background is recorded, too
    found = run_json("sync", "--to", far.as_uri())
    assert found["there"] is True
    (way,) = found["sinks"]
    assert [part["run"] for part in way["runs"]] == sorted(ids)
    assert all(part["lines"] > 50 for part in way["runs"])
    assert len(tachograph.open_store(far).runs()) == 2
    (again,) = run_json("sync", "--to", far.as_uri())["sinks"]
    assert [part["lines"] for part in again["runs"]] == [0, 0]


def test_only_the_runs_that_are_named_with_their_children(record, run_cli, far):
    record("one")
    with tachograph.start_run("two") as run, run.child("fold"):
        pass
    assert run_cli("sync", "two", "--to", far.as_uri())[0] == 0
    assert {run.name for run in tachograph.open_store(far).runs(children=True)} == {"two", "fold"}


def test_to_where_each_run_was_recorded_to_go(record, run_cli, run_json, tmp_path, program):
    record("nowhere")
    code = (
        "import sys, tachograph\nwith tachograph.start_run(sys.argv[1], sinks=[sys.argv[2]]) as run: run.log({'a': 1})"
    )
    for name in ("one", "two"):
        url = (tmp_path / f"mount-{name}" / "far").as_uri()
        environment = {**os.environ, "TACHOGRAPH_EXIT_WAIT": "0"}
        subprocess.run([sys.executable, "-c", code, name, url], env=environment, capture_output=True, check=True)
        (tmp_path / f"mount-{name}").mkdir()
    found = run_json("sync")
    assert found["there"] is True
    assert [len(way["runs"]) for way in found["sinks"]] == [1, 1]
    for name in ("one", "two"):
        assert [run.name for run in tachograph.open_store(tmp_path / f"mount-{name}" / "far").runs()] == [name]


def test_without_a_sink_there_is_nothing_to_do(record, run_cli):
    record("nowhere")
    status, output, _ = run_cli("sync")
    assert (status, output) == (0, "no run here was recorded with a sink: --to URL names one\n")


def test_a_dry_run_sends_nothing(record, run_cli, far):
    record("one")
    status, output, _ = run_cli("sync", "--dry-run", "--to", far.as_uri())
    assert status == 1
    assert "lines" in output
    assert "would be sent" in output
    assert not far.exists()


def test_wrong_usage(record, wrong, far):
    record("one")
    assert "there is no sink for gopher://" in wrong("sync", "--to", "gopher://host")
    assert "nobody" in wrong("sync", "nobody", "--to", far.as_uri(), status=1)


def test_a_sink_that_is_not_there(record, run_cli, tmp_path, monkeypatch):
    monkeypatch.setattr(sync, "ATTEMPTS", 2)
    record("one")
    status, _, errors = run_cli("sync", "--to", (tmp_path / "not" / "mounted").as_uri())
    assert status == 1
    assert "was given up" in errors


def test_doctor_says_how_far_each_sink_is(run_json, run_cli, far, monkeypatch):
    recorded("one", sinks=[far.as_uri()])
    (sink,) = run_json("doctor")["sinks"]
    assert (sink["url"], sink["state"], sink["bytes"], sink["rejected"]) == (far.as_uri(), "even", 0, [])
    assert (sink["sent"], sink["events"], sink["oldest"], sink["error"]) == (1, 0, None, None)
    assert far.as_uri() in run_cli("doctor")[1]
    monkeypatch.setenv("TACHOGRAPH_SINKS", "gopher://host")
    status, output, _ = run_cli("doctor")
    assert status == 1
    assert "gopher://host: there is no sink for such URLs" in output


def test_what_was_rejected_is_a_problem(run_cli, store, far):
    id = recorded("one", sinks=[far.as_uri()])
    Positions(store, far.as_uri()).reject(id, [rejected_line("0-a", 3, b"{}", "odd")])
    status, output, _ = run_cli("doctor")
    assert status == 1
    assert f"did not take 1 line of run {id}" in " ".join(output.split())


def test_doctor_says_what_is_left_and_why(run_json, run_cli, tmp_path, store):
    far = tmp_path / "not mounted" / "far"
    code = "import sys, tachograph\nwith tachograph.start_run('one', sinks=[sys.argv[1]]) as run: run.log({'a': 1})"
    environment = {**os.environ, "TACHOGRAPH_EXIT_WAIT": "0.5"}
    command = [sys.executable, "-c", code, far.as_uri()]
    subprocess.run(command, env=environment, capture_output=True, check=True)
    status, output, _ = run_cli("doctor", "--json")
    assert status == 1
    (sink,) = strict(output)["sinks"]
    (run,) = tachograph.open_store(store).runs()
    lines = [line for path in run.dir.glob("*/*.jsonl") for line in path.read_bytes().splitlines()]
    assert (sink["state"], sink["sent"], sink["runs"]) == ("behind", 0, 1)
    assert (sink["events"], sink["bytes"]) == (len(lines), sum(map(len, lines)) + len(lines))
    assert sink["oldest"] == run.started.isoformat()
    assert "not mounted" in sink["error"]["reason"]
    status, output, _ = run_cli("doctor")
    assert f"{len(lines)} events" in output
    assert "takes nothing, as of now" in " ".join(output.split())
    (tmp_path / "not mounted").mkdir()
    assert run_cli("sync")[0] == 0
    (sink,) = run_json("doctor")["sinks"]
    assert (sink["state"], sink["sent"], sink["error"], sink["oldest"]) == ("even", 1, None, None)


@pytest.fixture
def recorded_store(record, store):
    """A store with four runs, of which one has a file."""
    for name in ("one", "two", "three"):
        record(name)
    with tachograph.start_run("with a file") as run:
        run.recorder.keep_bytes(b"kept", "kept", "file", "kept.txt", None, {})
    assert tachograph.flush(30)
    return store


@pytest.mark.slow
@pytest.mark.parametrize("what", ["*/*.jsonl", "*", ".", "a file"])
def test_what_can_not_be_read_keeps_no_other_run_from_being_sent(recorded_store, program, forbidden, far, what):
    runs = {run.name: run.id for run in tachograph.open_store().runs()}
    hidden = runs["with a file" if what == "a file" else "one"]
    folder = recorded_store / "runs" / hidden
    [path] = recorded_store.glob("blobs/*/*") if what == "a file" else [folder] if what == "." else folder.glob(what)
    path.chmod(0)
    done = forbidden("sync", "--to", far.as_uri())
    assert (done.returncode, len(done.stderr.splitlines())) == (1, 1)
    assert f"run {hidden} was not sent: " in done.stderr
    assert "Permission denied" in done.stderr
    assert "3 of 4 runs all there" in done.stdout
    assert {run.id for run in tachograph.open_store(far).runs()} >= set(runs.values()) - {hidden}
    again = forbidden("sync", "--json", "--to", far.as_uri())
    [way] = strict(again.stdout)["sinks"]
    assert [part["run"] for part in way["runs"] if part["error"]] == [hidden]
    assert (again.returncode, way["error"]) == (1, None)
    path.chmod(0o700)
    assert program("sync", "--to", far.as_uri()).returncode == 0
    assert {run.id for run in tachograph.open_store(far).runs()} == set(runs.values())


def test_where_a_run_was_to_go_may_be_unreadable(recorded_store, program, forbidden):
    hidden = min((recorded_store / "runs").iterdir())
    hidden.chmod(0)
    done = forbidden("sync")
    assert (done.returncode, len(done.stderr.splitlines())) == (1, 1)
    assert f"run {hidden.name} was not sent: " in done.stderr
