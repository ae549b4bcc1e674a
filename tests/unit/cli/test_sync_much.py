"""``tachograph sync`` of many runs, interrupted, on a terminal, counted beforehand."""

from __future__ import annotations

import json
import os
import pty
import random
import re
import select
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

import tachograph
from tachograph import events, journal
from tachograph.cli.view.progress import Progress
from tachograph.events import Metrics, RunEnd, RunStart
from tachograph.ship import delivery
from tachograph.ship.delivery import Amount
from tachograph.ship.positions import Positions
from tachograph.sinks.folder import FolderSink


@pytest.fixture
def far(tmp_path: Path) -> Path:
    return tmp_path / "far"


def write_runs(root: Path, count: int, points: int = 3, sink: str = "") -> list[str]:
    """Runs as processes that are gone have left them."""
    made = [f"20260101-000000-{number:06}" for number in range(count)]
    for run in made:
        folder = root / "runs" / run / "0-elsewhere-1-aaaaaa"
        folder.mkdir(parents=True)
        start = RunStart(run=run, writer=folder.name, role="owner", host="elsewhere", boot="", pid=1, born=1)
        start.name, start.experiment, start.sinks = "many", "many", [sink] if sink else []
        metrics = [Metrics(step=step, values={"loss": step / 3}) for step in range(points)]
        found = [start, *metrics, RunEnd(status="finished")]
        for seq, event in enumerate(found, start=1):
            event.v, event.seq, event.at = events.VERSION, seq, 1.7e9 + seq
        (folder / "1.jsonl").write_bytes(b"".join(events.encode(event) + b"\n" for event in found))
    return made


def contents(root: Path) -> dict[str, bytes]:
    return {str(path.relative_to(root)): path.read_bytes() for path in sorted(root.glob("runs/*/*/*.jsonl"))}


def blobs(root: Path) -> set[str]:
    return {path.name for path in root.glob("blobs/*/*")}


SYNC = [sys.executable, "-m", "tachograph", "sync"]


def test_a_dry_run_says_what_is_then_sent(store, run_json, run_cli, far, tmp_path):
    (tmp_path / "model.bin").write_bytes(b"weights" * 1000)
    for name in ("one", "two"):  # the same file in both: it is sent once
        with tachograph.start_run(name) as run:
            run.log({"loss": 1})
            run.log_artifact(tmp_path / "model.bin")
            run.log_table(name, [{"a": name}])
    assert tachograph.flush(30)
    write_runs(store, 3)
    torn = store / "runs" / "20260101-000000-000001" / "0-elsewhere-1-aaaaaa" / "1.jsonl"
    lines = torn.read_bytes().splitlines()
    torn.write_bytes(b"\n".join([*lines[:2], b"garbage", *lines[2:]]))  # and the last line lacks its end
    old = time.time() - 7200
    os.utime(torn, (old, old))
    status, output, _ = run_cli("sync", "--dry-run", "--to", far.as_uri(), "--json")
    assert status == 1
    assert not far.exists()
    would = json.loads(output)
    (tmp_path / "far").mkdir()
    did = json.loads(run_cli("sync", "--to", far.as_uri(), "--json")[1])
    figures = ("run", "lines", "bytes", "files", "file_bytes", "rejected")
    assert [[one[key] for key in figures] for one in would["sinks"][0]["runs"]] == [
        [one[key] for key in figures] for one in did["sinks"][0]["runs"]
    ]
    assert sum(one["files"] for one in did["sinks"][0]["runs"]) == len(blobs(far)) == len(blobs(store)) > 2
    sent = sum(one["lines"] for one in did["sinks"][0]["runs"])
    assert sent == sum(content.count(b"\n") for content in contents(far).values())
    again = json.loads(run_cli("sync", "--dry-run", "--to", far.as_uri(), "--json")[1])
    assert (again["there"], sum(one["lines"] for one in again["sinks"][0]["runs"])) == (True, 0)


def test_named_runs(record, run_cli, run_json, wrong, far):
    ids = [record("one"), record("two"), record("two"), record("three")]
    assert tachograph.flush(30)
    found = run_json("sync", "one", ids[3][:-1], "--to", far.as_uri())
    assert sorted(part["run"] for part in found["sinks"][0]["runs"]) == sorted([ids[0], ids[3]])
    assert "nobody" in wrong("sync", "one", "nobody", "--to", far.as_uri(), status=1)
    assert "two" in wrong("sync", "two", "--to", far.as_uri(), status=1)  # two runs have that name


def test_what_was_all_there_is_not_asked_for_again(store, run_json, far, monkeypatch):
    write_runs(store, 5)
    assert run_json("sync", "--to", far.as_uri())["there"] is True
    for module in (journal, journal.reading):
        monkeypatch.setattr(module, "opened", None)  # no journal is opened
    monkeypatch.setattr("tachograph.sinks.folder.FolderSink.resume", None)  # and nothing asked
    found = run_json("sync", "--to", far.as_uri())
    assert [part["there"] for part in found["sinks"][0]["runs"]] == [True] * 5


def test_what_changed_since_is_sent(store, run_json, far):
    made = write_runs(store, 3)
    run_json("sync", "--to", far.as_uri(), "--root", str(store))
    path = store / "runs" / made[1] / "0-elsewhere-1-aaaaaa" / "1.jsonl"
    with open(path, "ab") as file:
        file.write(b'{"kind":"note","v":1,"seq":9,"at":1.7e9,"text":"late"}\n')
    other = store / "runs" / made[2] / "1-elsewhere-2-bbbbbb"
    other.mkdir()
    (other / "1.jsonl").write_bytes(path.read_bytes())
    found = run_json("sync", "--to", far.as_uri(), "--root", str(store))
    assert [part["lines"] for part in found["sinks"][0]["runs"]] == [0, 1, 6]
    assert contents(far) == contents(store)


def test_what_the_sink_lost_is_asked_for_where_that_is_wanted(store, run_json, run_cli, far):
    made = write_runs(store, 3)
    run_json("sync", "--to", far.as_uri())
    lost = far / "runs" / made[0] / "0-elsewhere-1-aaaaaa" / "1.jsonl"
    lost.unlink()
    run_json("sync", "--to", far.as_uri())
    assert not lost.exists()
    assert run_json("sync", made[0], "--to", far.as_uri())["sinks"][0]["runs"][0]["lines"] == 5
    lost.unlink()
    run_json("sync", "--again", "--to", far.as_uri())
    assert contents(far) == contents(store)


def test_a_url_of_which_a_part_is_not_on_record(store, run_cli, far, monkeypatch):
    recorded = f"{far.as_uri()}?token=[redacted]"
    write_runs(store, 1, sink=recorded)
    status, output, errors = run_cli("sync")
    assert status == 1
    assert "set TACHOGRAPH_SINKS, or --to, to all of it" in errors
    assert not far.exists()
    monkeypatch.setenv("TACHOGRAPH_SINKS", f"{far.as_uri()}?token=hunter2")
    status, output, errors = run_cli("sync")
    assert (status, errors) == (0, "")
    assert "hunter2" not in output
    assert contents(far) == contents(store)


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(3))
def test_interrupted_at_any_moment_and_run_again(store, far, seed):
    write_runs(store, 60, points=300)
    moments = random.Random(seed)
    for _ in range(6):
        sync = subprocess.Popen([*SYNC, "--to", far.as_uri()], stdout=-1, stderr=-1, text=True)
        time.sleep(moments.uniform(0.1, 0.9))
        sync.send_signal(signal.SIGINT)
        _, errors = sync.communicate(timeout=180)
        assert sync.returncode in (0, 130, -signal.SIGINT, 1), errors
        if sync.returncode == 130:
            assert "Traceback" not in errors
    done = subprocess.run([*SYNC, "--to", far.as_uri()], capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")
    assert contents(far) == contents(store)


@pytest.mark.slow
def test_a_bar_on_a_terminal(store, far):
    write_runs(store, 300, points=100)
    mine, its = pty.openpty()
    process = subprocess.Popen([*SYNC, "--to", far.as_uri()], stdout=subprocess.PIPE, stderr=its, text=True)
    os.close(its)
    shown = b""
    while select.select([mine], [], [], 30)[0]:
        try:
            shown += os.read(mine, 1 << 16)
        except OSError:  # its end
            break
    os.close(mine)
    output, _ = process.communicate(timeout=180)
    assert process.returncode == 0
    bars = re.findall(r"\r\[(#*)\.*\] +(\d+)%  (\d+) of 300 runs, ", shown.decode())
    shares = [int(share) for _, share, _ in bars]
    assert len(bars) > 1
    assert shares == sorted(shares)
    assert shown.endswith(b"\r\x1b[K")  # the line is left clear
    assert max(map(len, shown.decode().split("\r"))) < 80 + len("\x1b[K")
    assert "300 of 300 runs all there" in output
    assert "\x1b" not in output


def test_what_the_bar_shows():
    progress = Progress("file:///far", [100, 300])
    shown = []
    for step in (10, 90, 500):
        progress.sent(Amount(1, step))
        shown.append(progress.share)
    progress.next_run()
    shown.append(progress.share)
    progress.sent(Amount(1, 150))
    shown.append(progress.share)
    progress.next_run()
    assert [*shown, progress.share] == [0.025, 0.25, 0.25, 0.25, 0.625, 1.0]
    assert Progress("x", []).share == 1.0
    empty = Progress("x", [0, 0])
    empty.next_run()
    assert empty.share == 0.5


def test_the_bar_moves_within_a_file():
    progress = Progress("file:///far", [100])
    progress.expecting(900)
    shown = []
    for size in (300, 300, 600):  # a part of it went twice
        progress.moved(size)
        shown.append(progress.share)
    assert "900 B to file:///far" in progress._line()
    progress.sent(Amount(1, 50, 1, 900))
    assert [*shown, progress.share] == [0.3, 0.6, 0.9, 0.95]
    progress.sent(Amount(1, 50))
    assert progress.share == 1.0


@pytest.mark.parametrize("again", [False, True])
def test_files_that_took_long_are_asked_for_again(store, tmp_path, monkeypatch, again):
    """The first ones may have been cleared away, since no event that the sink has refers to them."""

    class Slow(FolderSink):
        def put(self, digest, path):
            puts.append(digest)
            super().put(digest, path)
            if len(puts) == 2 and again:
                self._blobs.path(puts[0]).unlink()

    monkeypatch.setattr(delivery, "FRESH_SECONDS", 0.0 if again else 900.0)
    for name in ("a", "b"):
        (tmp_path / name).write_text(name)
    with tachograph.start_run("one") as run:
        run.log_artifact(tmp_path / "a")
        run.log_artifact(tmp_path / "b")
    puts: list[str] = []
    sink = Slow((tmp_path / "far").as_uri())
    calls = iter(range(50))
    clock = type("Clock", (), {"monotonic": staticmethod(lambda: float(next(calls) < 3)), "time": time.time})
    monkeypatch.setattr(delivery, "time", clock)
    list(delivery.Delivery(Positions(store, sink.name), run.id).send(sink))
    assert len(puts) == 2 + again
    assert len(list((tmp_path / "far").glob("blobs/*/*"))) == 2


@pytest.mark.benchmark
def test_ten_thousand_runs(store, far):
    write_runs(store, 10_000, sink=far.as_uri())
    for what in ("all of them", "nothing new"):
        began = time.monotonic()
        done = subprocess.run(SYNC, capture_output=True, text=True)
        print(f"\n10,000 runs, {what}: {time.monotonic() - began:.1f} s; {done.stdout.strip()}")
        assert done.returncode == 0, done.stderr
    one = write_runs(store / "other", 1)[0]
    (store / "other" / "runs" / one).rename(store / "runs" / "20270101-000000-aaaaaa")
    began = time.monotonic()
    subprocess.run([*SYNC, "--to", far.as_uri()], check=True, capture_output=True)
    seconds = time.monotonic() - began
    print(f"one more: {seconds:.1f} s")
    assert seconds < 10
    assert len(Positions(store, far.as_uri()).sent()) == 10_001
