"""``tachograph runs``."""

from __future__ import annotations

import os
import pty
import re
import struct
import subprocess
import sys
import time
from datetime import UTC, datetime, timedelta

import pytest

import tachograph

FIELDS = ["id", "name", "experiment", "status", "started", "ended", "params", "metrics", "tags"]


def test_json_has_exactly_the_promised_fields(record, run_json):
    id = record("one", depth=3, layers=[8, 8], note=None)
    (found,) = run_json("runs")
    assert list(found) == FIELDS
    assert (found["id"], found["name"], found["experiment"], found["status"]) == (id, "one", "churn", "finished")
    assert found["params"] == {"lr": 0.01, "depth": 3, "layers": [8, 8], "note": None}
    assert list(found["metrics"]) == ["accuracy", "loss", "val_loss"]
    assert found["tags"] == {"owner": "ada"}


def test_json_times_are_utc(record, run_json):
    record("one")
    (found,) = run_json("runs")
    started, ended = (datetime.fromisoformat(found[name]) for name in ("started", "ended"))
    assert started.utcoffset() == ended.utcoffset() == timedelta(0)
    assert started <= ended <= datetime.now(UTC)


def test_json_of_a_run_that_has_not_ended(store, run_json):
    tachograph.start_run("open")
    (found,) = run_json("runs")
    assert (found["status"], found["ended"]) == ("running", None)


def test_json_is_strict_where_numbers_are_not(store, run_json):
    with tachograph.start_run("odd", params={"limit": float("inf"), "deep": {"x": [float("nan")]}}) as run:
        run.log({"a": float("nan"), "b": float("inf"), "c": float("-inf"), "損失": 1})
    (found,) = run_json("runs")
    assert found["metrics"] == {"a": "NaN", "b": "Infinity", "c": "-Infinity", "損失": 1}
    assert found["params"] == {"limit": "Infinity", "deep.x": ["NaN"]}


def test_children_are_listed_when_asked_for(store, run_json, run_cli):
    with tachograph.start_run("parent") as parent, parent.child("inner") as child, child.child("innermost"):
        pass
    assert [run["name"] for run in run_json("runs")] == ["parent"]
    assert {run["name"] for run in run_json("runs", "--children")} == {"parent", "inner", "innermost"}
    _, output, _ = run_cli("runs", "--children")
    names = [line[24:].split("  finished")[0].rstrip() for line in output.splitlines()[1:]]
    assert names == ["parent", "  inner", "    innermost"]


def test_experiment_limit_and_order(record, run_json):
    for name, experiment in (("a", "x"), ("b", "y"), ("c", "x")):
        record(name, experiment)
        time.sleep(0.01)
    assert [run["name"] for run in run_json("runs")] == ["c", "b", "a"]
    assert [run["name"] for run in run_json("runs", "--experiment", "x")] == ["c", "a"]
    assert [run["name"] for run in run_json("runs", "--limit", "1")] == ["c"]
    assert run_json("runs", "--limit", "0") == []
    assert run_json("runs", "--experiment", "nowhere") == []


def test_where_and_order_by(record, run_json):
    for name, rate in (("slow", 0.001), ("fast", 0.1), ("middle", 0.01)):
        record(name, rate=rate)
    assert [run["name"] for run in run_json("runs", "--order-by", "metrics.loss")] == ["fast", "middle", "slow"]
    found = run_json("runs", "--where", "params.lr >= 0.01 and tags.owner = 'ada'", "--order-by", "name desc")
    assert [run["name"] for run in found] == ["middle", "fast"]


@pytest.mark.parametrize("query", ["metrics.", "loss < ", "params.lr = 'x", "nonsense = 1", "("])
def test_a_query_that_can_not_be_read_is_wrong_usage(record, wrong, query):
    record("one")
    wrong("runs", "--where", query)
    wrong("runs", "--order-by", query)


def test_wrong_usage(store, wrong):
    assert "whole number" in wrong("runs", "--limit", "many")
    assert "whole number" in wrong("runs", "--limit=-1")
    assert "--nope" in wrong("runs", "--nope")
    assert "surplus" in wrong("runs", "surplus")
    assert "did you mean runs" in wrong("run")
    assert "no command" in wrong("qwxz")


def test_nothing_recorded_yet_is_no_error(store, run_cli, run_json):
    status, output, errors = run_cli("runs")
    assert (status, output) == (0, "")
    assert errors.startswith("tachograph: nothing is recorded")
    assert "tachograph exec" in errors
    status, output, errors = run_cli("runs", "--json")
    assert (status, output.strip()) == (0, "[]")
    assert not store.exists()


def test_another_store(record, run_json, store, tmp_path, monkeypatch):
    record("one")
    monkeypatch.setenv("TACHOGRAPH_DIR", str(tmp_path / "other"))
    assert run_json("runs") == []
    assert len(run_json("runs", "--root", str(store))) == 1
    assert len(run_json("runs", "--root", "store")) == 1


def test_into_a_pipe_nothing_is_cut_and_nothing_coloured(record, program):
    name = "a very long name of a run that no terminal would have room for, not even a wide one"
    record(name, **{f"param_{i}": i for i in range(5)})
    record("other", **{f"param_{i}": i + 1 for i in range(5)})
    result = program("runs")
    assert (result.returncode, result.stderr) == (0, "")
    assert "\x1b" not in result.stdout
    assert name in result.stdout
    header = result.stdout.splitlines()[0]
    assert all(f"param_{i}" in header for i in range(5))
    assert not any(line.endswith(" ") for line in result.stdout.splitlines())


def terminal(width: int, *arguments: str, **environment: str) -> str:
    """What the real program shows in a terminal."""
    import fcntl
    import termios

    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 40, width, 0, 0))
    process = subprocess.Popen(
        [sys.executable, "-m", "tachograph", *arguments],
        stdin=theirs, stdout=theirs, stderr=theirs, env={**os.environ, "TERM": "xterm-256color", **environment},
    )  # fmt: skip
    os.close(theirs)
    chunks = []
    try:
        while chunk := os.read(ours, 65536):
            chunks.append(chunk)
    except OSError:  # the other end was closed
        pass
    os.close(ours)
    assert process.wait(30) == 0
    return b"".join(chunks).decode().replace("\r\n", "\n")


@pytest.mark.parametrize("width", [60, 80, 120, 160])
def test_in_a_terminal_it_fits(record, width):
    record("検索 " * 10, "experiment with a long name", **{f"param_{i}": i for i in range(9)})
    record("short", "other", **{f"param_{i}": -i for i in range(9)})
    from rich.cells import cell_len

    lines = re.sub("\x1b\\[[0-9;]*m", "", terminal(width, "runs")).splitlines()
    assert len(lines) == 4  # none was broken
    assert max(map(cell_len, lines)) <= width
    assert ("val_loss" in lines[0]) == (width >= 80)


def test_colours_are_for_terminals_that_want_them(record):
    record("one")
    assert "\x1b[32mfinished" in terminal(80, "runs")
    assert "\x1b[32m" not in terminal(80, "runs", NO_COLOR="1")


@pytest.mark.slow
def test_names_can_not_take_over_the_terminal(store, program):
    with tachograph.start_run(
        "evil \x1b[31m\x07 [bold]name[/bold]\nsecond line", tags={"a\x1b]0;x\x07": "\x1b[2J"}
    ) as run:
        run.log({"m\x1b[0m": 1.0})
    for command in (["runs"], ["show", "latest"]):
        output = program(*command).stdout
        assert "\x1b" not in output
        assert "\x07" not in output
        assert "[bold]name[/bold] second line" in output


def test_an_output_that_can_not_show_everything(store, program):
    with tachograph.start_run("検索") as run:
        run.log({"損失": 1.0})
        run.log({"損失": 2.0})
    result = program("show", "latest", env={**os.environ, "PYTHONIOENCODING": "ascii"})
    assert (result.returncode, result.stderr) == (0, "")


def test_a_pipe_that_is_closed_early(record, store):
    for number in range(3):
        record(f"run {number}", points=1)
    command = f'"{sys.executable}" -m tachograph runs --json | head -1'
    result = subprocess.run(command, shell=True, capture_output=True, text=True, timeout=180)
    assert (result.stdout, result.stderr) == ("[\n", "")


def test_ctrl_c_is_quiet(record, program):
    record("one")
    code = (
        "import sys, _thread, tachograph.store.store as s\n"
        "s.open_observed = lambda *arguments: _thread.interrupt_main() or {}[0]\n"
    )
    result = subprocess.run(
        [sys.executable, "-c", f"{code}import tachograph.cli as c; sys.exit(c.main(['runs']))"],
        capture_output=True, text=True, timeout=180,
    )  # fmt: skip
    assert (result.returncode, result.stdout, result.stderr) == (130, "", "")


@pytest.mark.slow
def test_the_whole_program_is_quick(record, program):
    import resource

    def spent() -> float:
        """Processor time, since the tests beside this one take their share of the other."""
        usage = resource.getrusage(resource.RUSAGE_CHILDREN)
        return usage.ru_utime + usage.ru_stime

    record("one")
    program("runs")
    times = []
    for _ in range(5):
        before = spent()
        program("runs")
        times.append(spent() - before)
    assert min(times) < 0.4


def test_a_list_imports_no_framework_and_no_pandas(record):
    record("one")
    code = "import sys; from tachograph.cli import main; main(['runs', '--json']); print(sorted(sys.modules))"
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=180)
    loaded = eval(result.stdout.splitlines()[-1])
    assert not {"rich", "pandas", "polars", "sklearn", "torch", "asyncio"} & set(loaded)


@pytest.mark.parametrize("command", ["runs", "show", "verify", "exec"])
def test_help_has_examples(command, run_cli, program):
    if command == "exec":
        result = program(command, "--help")
        status, output, errors = result.returncode, result.stdout, result.stderr
    else:
        status, output, errors = run_cli(command, "--help")
    assert (status, errors) == (0, "")
    assert f"examples:\n  tachograph {command}" in output


def test_the_overview_names_every_command(run_cli):
    from tachograph.cli import COMMANDS

    status, output, _ = run_cli("--help")
    assert status == 0
    assert all(f"\n  {name} " in output for name in COMMANDS)
    status, again, _ = run_cli()
    assert (status, again) == (2, output)
    status, output, _ = run_cli("--version")
    assert (status, output) == (0, f"tachograph {tachograph.__version__}\n")


def test_a_long_first_reading_is_shown_on_a_terminal(root, monkeypatch):
    import threading

    from tachograph.cli import main

    with tachograph.start_run() as run:
        run.log({"loss": 0.5})
    monkeypatch.setattr("tachograph.cli.with_store.PATIENCE", 0.0)
    controller, terminal = pty.openpty()
    with open(terminal, "w") as shown:
        monkeypatch.setattr("sys.stderr", shown)
        assert main(["runs"]) == 0
        shown.flush()
        told: list[bytes] = []
        reader = threading.Thread(target=lambda: told.append(os.read(controller, 4096)))
        reader.start()
        reader.join(5)
    assert b"reading what is new:" in told[0]
    assert told[0].endswith(b"\r\x1b[K")
