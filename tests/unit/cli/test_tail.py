"""``tachograph tail``: what is recorded is seen within a second."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time

import pytest

import tachograph


@pytest.fixture
def tail(store):
    """Start the real program; what it is still to say is read from it line by line."""
    started = []

    def start(*arguments: str) -> subprocess.Popen[str]:
        process = subprocess.Popen(
            [sys.executable, "-m", "tachograph", "tail", *arguments],
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        )  # fmt: skip
        started.append(process)
        return process

    yield start
    for process in started:
        process.kill()
        process.communicate()


def next_line(process: subprocess.Popen[str], within: float = 10.0) -> str:
    """The next line of its output; empty at the end."""
    timer = threading.Timer(within, process.kill)
    timer.start()
    try:
        return process.stdout.readline().rstrip("\n")
    finally:
        timer.cancel()


def test_points_lines_and_notes_as_they_come(tail, monkeypatch):
    monkeypatch.setenv("TACHOGRAPH_CONSOLE", "1")
    run = tachograph.start_run("live")
    run.log({"loss": 0.5, "acc": 1.0}, step=3)
    process = tail()
    assert next_line(process).split() == ["live", run.id]
    assert next_line(process).split()[1:] == ["step", "3", "loss=0.5", "acc=1"]
    for record, said in (
        (lambda: run.log({"loss": float("nan")}, step=4), "step 4  loss=NaN"),
        (lambda: print("epoch 1 done"), "epoch 1 done"),
        (lambda: run.log_note("changed the sampler"), "changed the sampler"),
    ):
        record()
        at = time.monotonic()
        assert next_line(process).split("  ", 1)[1] == said
        assert time.monotonic() - at < 1
    run.finish()
    assert next_line(process).startswith("finished after ")
    assert process.wait(10) == 0
    assert process.stderr.read() == ""


def test_a_run_that_has_ended_is_told_of_and_that_is_all(record, run_cli):
    record("one", points=30)
    status, output, errors = run_cli("tail", "one")
    assert (status, errors) == (0, "")
    lines = output.splitlines()
    assert len(lines) == 1 + 10 + 1
    assert "step 29" in lines[-3]
    assert lines[-1].startswith("finished after ")
    _, output, _ = run_cli("tail", "--lines", "2")
    assert len(output.splitlines()) == 4
    _, output, _ = run_cli("tail", "--lines", "0")
    assert len(output.splitlines()) == 2


def test_a_run_that_failed(store, run_cli):
    with pytest.raises(ValueError, match="half way"), tachograph.start_run("one"):
        raise ValueError("half way")
    status, output, _ = run_cli("tail")
    assert status == 1
    assert output.splitlines()[-1].endswith(": ValueError: half way")


def test_a_run_whose_process_was_killed_ends_as_crashed(tail):
    code = "r = tachograph.start_run('doomed'); r.log({'x': 1}); print(r.id, flush=True); time.sleep(60)"
    training = subprocess.Popen(
        [sys.executable, "-c", f"import tachograph, time; {code}"], stdout=subprocess.PIPE, text=True
    )
    id = training.stdout.readline().strip()
    process = tail(id)
    next_line(process)
    assert "x=1" in next_line(process)
    training.kill()
    training.communicate()
    assert next_line(process).startswith("crashed after ")
    assert process.wait(10) == 1


def test_json_is_one_document_that_grows(tail):
    run = tachograph.start_run("live")
    process = tail("live", "--json")
    assert next_line(process) == "["
    run.log({"loss": float("inf")}, step=1)
    first = next_line(process)
    assert '"values": {"loss": "Infinity"}' in first
    run.log_note("seen")
    run.finish()
    items = json.loads("[" + first + process.communicate(timeout=10)[0], parse_constant=pytest.fail)
    assert [item["kind"] for item in items] == ["metrics", "note", "end"]
    assert items[-1]["status"] == "finished"


def test_json_stays_whole_on_ctrl_c(tail):
    run = tachograph.start_run("live")
    process = tail("--json")
    assert next_line(process) == "["
    run.log({"loss": 1.0})
    first = next_line(process)
    process.send_signal(signal.SIGINT)
    output, errors = process.communicate(timeout=10)
    assert (process.returncode, errors) == (130, "")
    assert len(json.loads("[" + first + output)) == 1


def test_a_flood_is_cut_to_its_end_and_nothing_is_lost_in_json(store, run_cli, run_json):
    with tachograph.start_run("long") as run:
        for step in range(5000):
            run.log({"loss": 1.0}, step=step)
    _, output, _ = run_cli("tail", "--lines", "40")
    assert len(output.splitlines()) == 42
    assert [item.get("step") for item in run_json("tail")] == [*range(5000), None]


def test_other_ranks_are_named(store, run_cli, monkeypatch):
    from tachograph.record.run import Run

    first = Run(store, "job", name="job")
    second = Run(store, "job", name="job", rank=3, role="worker")
    for run in (first, second):
        run.log({"loss": 1.0})
    for run in (second, first):
        run.finish()
    _, output, _ = run_cli("tail", "job")
    assert [line.split("  ", 1)[1] for line in output.splitlines()[1:-1]] == [
        "step 0  loss=1",
        "rank 3  step 0  loss=1",
    ]


def test_nothing_to_follow(store, wrong):
    assert "no run" in wrong("tail", status=1)
    assert "nowhere" in wrong("tail", "nowhere", status=1)
    assert not store.exists()


def test_a_reader_that_goes_away(record, store):
    record("one", points=2000)
    command = f'"{sys.executable}" -m tachograph tail --lines 2000 | head -1; echo ${{PIPESTATUS[0]}}'
    result = subprocess.run(["bash", "-c", command], capture_output=True, text=True, timeout=180, env=os.environ)
    assert result.stderr == ""
