"""Tables of closed runs: they say what the store says, whatever happens to a compaction."""

from __future__ import annotations

import math
import random
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from tachograph import events
from tachograph.cli import main
from tachograph.compact import FolderDestination, Report, compact, compaction, parts
from tachograph.errors import Error, NotFound
from tachograph.events import Event, Metrics, Note, RunEnd, RunStart, Tags
from tachograph.store.store import open_store

duckdb = pytest.importorskip("duckdb")
pq = pytest.importorskip("pyarrow.parquet")

EPOCH, MICROSECOND = datetime.fromtimestamp(0, UTC), timedelta(microseconds=1)
DAY = 86_400.0
MONDAY = 1_794_787_200.0  # 2026-11-16, the first second


def write(root: Path, run: str, happened: Iterable[Event], at: float = MONDAY, rank: int = 0, attempt: int = 0) -> Path:
    """Record a run, as a process elsewhere would have."""
    folder = root / "runs" / run / f"{rank}-elsewhere-{attempt}"
    folder.mkdir(parents=True)
    role = "worker" if rank else "owner"
    start = RunStart(
        run=run, writer=folder.name, role=role, host="elsewhere", boot="b", pid=1, born=1, rank=rank, attempt=attempt
    )
    append(folder / "1.jsonl", [start, *happened], 1, at)
    return folder / "1.jsonl"


def append(path: Path, happened: Iterable[Event], first: int, at: float) -> None:
    with open(path, "ab") as file:
        for seq, event in enumerate(happened, start=first):
            event.v, event.seq, event.at = 1, seq, at + seq * 0.001
            file.write(events.encode(event) + b"\n")


def losses(count: int, end: bool = True, first: int = 0) -> list[Event]:
    points: list[Event] = [Metrics(step=step, values={"loss": 1 / (step + 1)}) for step in range(first, first + count)]
    return [*points, RunEnd(status="finished", seconds=1.5)] if end else points


def tables(root: Path) -> Report:
    """Compact the store in ``root``."""
    store = open_store(root)
    try:
        return compact(store, FolderDestination(root / "tables"))
    finally:
        store.close()


def rows(root: Path, table: str) -> list[dict[str, Any]]:
    """All rows of a table, read as anybody would: by a pattern."""
    found = sorted((root / "tables" / table).glob("date=*/*.parquet"))
    return [row | {"date": path.parent.name} for path in found for row in pq.ParquetFile(path).read().to_pylist()]


def same(one: float, other: float) -> bool:
    return one == other or (math.isnan(one) and math.isnan(other))


def check(root: Path) -> None:
    """Whether the tables say of each closed run what the store says, and nothing else."""
    store = open_store(root)
    closed = {run.id: run for run in store.runs(children=True) if run.status != "running"}
    told, points = rows(root, "runs"), rows(root, "metrics")
    assert sorted(row["id"] for row in told) == sorted(closed)
    for row in told:
        run = closed[row["id"]]
        for field in ("name", "experiment", "status", "started", "ended", "seconds", "opener"):
            assert row[field] == getattr(run, field)
        assert row["parent"] == run.parent_id
        assert row["date"] == f"date={run.started:%Y-%m-%d}"
        assert dict(row["tags"]) == run.tags
        assert dict(row["params"]).keys() == run.params.keys()
        for kind in ("metrics", "system"):
            last = dict(row[kind])
            assert last.keys() == getattr(run, kind).keys()
            assert all(same(last[name], value) for name, value in getattr(run, kind).items())
        assert row["points"] == sum(point["run"] == run.id for point in points)
    curves: dict[tuple[str, str], list[tuple[int, str, int]]] = {}
    for point in points:
        curve = curves.setdefault((point["run"], point["name"]), [])
        curve.append((point["step"], repr(point["value"]), (point["time"] - EPOCH) // MICROSECOND))
    expected = {}
    for run in closed.values():
        for name in (*run.metrics, *run.system):
            found = run.history(name)
            expected[run.id, name] = [
                (step, repr(value), round(at * 1e6))
                for step, at, value in zip(
                    found.steps.tolist(), found.times.tolist(), found.values.tolist(), strict=True
                )
            ]
    assert {key: Counter(curve) for key, curve in curves.items()} == {
        key: Counter(curve) for key, curve in expected.items()
    }
    store.close()


def twice(root: Path) -> list[Any]:
    """What a reader would see more than once."""
    found = []
    for table, key in (("runs", "id"), ("metrics", "run, name, step, time, writer")):
        if any((root / "tables" / table).rglob("*.parquet")):
            files = f"'{root}/tables/{table}/*/*.parquet'"
            found += duckdb.sql(f"SELECT count(*) FROM {files} GROUP BY {key} HAVING count(*) > 1").fetchall()
    return found


# -- what the tables say --


RECORDED = """
import math, tachograph
params = {"lr": 0.1, "net": {"width": 8}, "opt": "adam", "best": math.inf, "shape": [1, math.nan], "none": None}
with tachograph.start_run("full", experiment="e", params=params, tags={"k": "ü"}) as run:
    for step, value in enumerate([0.5, math.nan, -math.inf, math.inf, 1e-300]):
        run.log({"loss": value, "Genauigkeit/größe 🦊 '": step}, step=step * 10)
    with run.child("inner") as child:
        child.log({"z": 1})
"""


def test_the_tables_say_what_the_store_says(root: Path, script: Callable[..., Any]) -> None:
    assert script(RECORDED).returncode == 0  # with the samples of the hardware, which may come after the end
    write(root, "of yesterday", losses(3), MONDAY - DAY)
    write(root, "crashed", [Note(text="no point"), Tags(values={}), RunEnd(status="crashed")])
    write(root, "ranks", [Metrics(step=1, values={"loss": 1.0, "system/cpu": 2.0}), RunEnd(status="finished")])
    write(root, "ranks", [Metrics(step=1, values={"loss": 3.0, "system/cpu": 4.0})], rank=3)
    report = tables(root)
    assert (report.added, report.open) == (5, 0)
    check(root)
    (full,) = [row for row in rows(root, "runs") if row["name"] == "full"]
    assert dict(full["params"]) == {
        "lr": "0.1", "net.width": "8", "opt": "adam", "best": "Infinity", "shape": '[1,{"$float":"NaN"}]',
        "none": "null",
    }  # fmt: skip
    assert "system/memory.percent" in dict(full["system"])
    other = [(row["name"], row["rank"], row["writer"]) for row in rows(root, "metrics") if row["rank"]]
    assert other == [("rank3/loss", 3, "3-elsewhere-0"), ("system/rank3/cpu", 3, "3-elsewhere-0")]


def test_duckdb_reads_them_by_a_pattern(root: Path) -> None:
    for number in range(4):
        write(root, f"r{number}", losses(10 + number), MONDAY + number * DAY / 2)
    tables(root)
    found = duckdb.sql(
        f"""SELECT runs.date, count(*), sum(value) FROM '{root}/tables/metrics/*/*.parquet' AS metrics
            JOIN '{root}/tables/runs/*/*.parquet' AS runs ON runs.id = metrics.run
            WHERE metrics.date = runs.date AND runs.metrics['loss'] < 1 GROUP BY 1 ORDER BY 1"""
    ).fetchall()
    store = open_store(root)
    sums = [float(store.run(f"r{number}").history("loss").values.sum()) for number in range(4)]
    assert [(str(date), count) for date, count, _ in found] == [("2026-11-16", 21), ("2026-11-17", 25)]
    assert [total for _, _, total in found] == pytest.approx([sums[0] + sums[1], sums[2] + sums[3]])


def test_files_of_other_days_are_left_out(root: Path) -> None:
    for number in range(3):
        write(root, f"r{number}", losses(10), MONDAY + number * DAY)
    tables(root)
    asked = f"FROM '{root}/tables/metrics/*/*.parquet' WHERE date = DATE '2026-11-17' AND name = 'loss'"
    assert "Scanning Files: 1/3" in str(duckdb.sql(f"EXPLAIN {asked}").fetchall())
    assert duckdb.sql(f"SELECT count(*) {asked}").fetchall() == [(10,)]


def test_their_types_are_those_that_all_readers_know(root: Path) -> None:
    write(root, "r", losses(3))
    tables(root)
    text, time, number = "string", "timestamp[us, tz=UTC]", "double"
    assert types(root, "metrics") == {
        "run": text, "name": text, "step": "int64", "time": time, "value": number, "rank": "int32", "writer": text,
    }  # fmt: skip
    assert types(root, "runs") == {
        "id": text, "name": text, "experiment": text, "status": text, "started": time, "ended": time,
        "seconds": number, "parent": text, "opener": text, "params": "map<string, string>",
        "tags": "map<string, string>", "metrics": "map<string, double>", "system": "map<string, double>",
        "points": "int64", "version": text,
    }  # fmt: skip


def types(root: Path, table: str) -> dict[str, str]:
    """Of each column, as a reader finds it that doesn't know who wrote the file."""
    (path,) = (root / "tables" / table).rglob("*.parquet")
    schema = duckdb.sql(f"SELECT * FROM read_parquet('{path}', hive_partitioning = false)").arrow().schema
    return {field.name: str(field.type).replace("Etc/", "") for field in schema}


# -- how they are laid out --


def test_row_groups_are_sorted_and_say_so(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(parts, "ROWS", 50)
    for number in (3, 1, 2):
        steps = [*range(100, 0, -1)] if number == 1 else [5, 3, 3, 9]
        happened: list[Event] = [Metrics(step=step, values={"b": step, "a": -step}) for step in steps]
        write(root, f"r{number}", [*happened, RunEnd(status="finished")], MONDAY + number)
    tables(root)
    check(root)
    (path,) = (root / "tables/metrics").rglob("*.parquet")
    file = pq.ParquetFile(path)
    assert file.num_row_groups >= 2
    for number in range(file.num_row_groups):
        found = [(row["run"], row["name"], row["step"]) for row in file.read_row_group(number).to_pylist()]
        assert found == sorted(found)
        group = file.metadata.row_group(number)
        assert [column.column_index for column in group.sorting_columns] == [0, 1, 2]
        assert (group.column(0).statistics.min, group.column(0).statistics.max) == (found[0][0], found[-1][0])
        assert group.column(0).compression == "ZSTD"


def test_a_day_of_small_runs_is_one_part(root: Path) -> None:
    for number in range(60):
        write(root, f"r{number:02}", losses(3), MONDAY + number)
        if number % 20 == 19:
            tables(root)
    assert sorted(path.name for path in (root / "tables").rglob("*.parquet")) == ["part-00001.parquet"] * 2
    check(root)


def test_a_part_that_is_large_enough_takes_no_more(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(compaction, "PART_RUNS", 4)
    for number in range(10):
        write(root, f"r{number}", losses(3), MONDAY + number)
    tables(root)
    write(root, "late", losses(3), MONDAY + 99)
    assert tables(root).files == [f"{table}/date=2026-11-16/part-00003.parquet" for table in ("metrics", "runs")]
    counts = [len(pq.read_table(path, columns=["id"])) for path in sorted((root / "tables/runs").rglob("*.parquet"))]
    assert counts == [4, 4, 3]
    check(root)
    monkeypatch.setattr(compaction, "PART_BYTES", 1)
    write(root, "later", losses(3), MONDAY + 100)
    assert tables(root).files[0].endswith("part-00004.parquet")
    check(root)


@pytest.mark.slow
def test_memory_stays_flat(root: Path) -> None:
    write(root, "small", losses(100_000))
    write(root, "large", losses(1_500_000), MONDAY + DAY)
    open_store(root).refresh()
    used = {}
    for run in ("small", "large"):
        code = f"""if 1:
            from pathlib import Path
            from tachograph import open_store
            from tachograph.compact import points as series; from tachograph.compact import parts
            store, arrow = open_store({str(root)!r}), parts.Arrow()
            path = Path({str(root)!r}, "draft")
            with parts.PointFileWriter(arrow, path, "token") as points:
                for table in series.tables(arrow, store.questions, store.run({run!r})):
                    points.add({run!r}, table)
            print(next(line.split()[1] for line in open("/proc/self/status") if line.startswith("VmHWM")))
        """
        used[run] = int(subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout) / 1024
    assert used["large"] < used["small"] + 60
    tables(root)
    assert duckdb.sql(f"SELECT count(*) FROM '{root}/tables/metrics/*/*.parquet'").fetchall() == [(1_600_000,)]


# -- again and again --


def test_twice_adds_nothing(root: Path) -> None:
    write(root, "r", losses(3))
    assert tables(root).added == 1
    before = written(root)
    report = tables(root)
    assert (report.added, report.renewed, report.dropped, report.files) == (0, 0, 0, [])
    assert written(root) == before


def written(root: Path) -> dict[Path, tuple[int, int, int]]:
    """Which files there are, and when each was written; not when it was read."""
    files = {path: path.stat() for path in (root / "tables").rglob("*.parquet")}
    return {path: (file.st_ino, file.st_size, file.st_mtime_ns) for path, file in files.items()}


def test_open_runs_are_left_for_later(root: Path) -> None:
    write(root, "closed", losses(3))
    path = write(root, "open", losses(3, end=False))
    report = tables(root)
    assert (report.added, report.open) == (1, 1)
    check(root)
    append(path, [RunEnd(status="failed")], 9, MONDAY)
    assert tables(root).added == 1
    check(root)


def test_a_resumed_run_is_renewed_once_it_is_closed_again(root: Path) -> None:
    write(root, "other", losses(3))
    write(root, "r", losses(10), MONDAY)
    tables(root)
    again = write(root, "r", losses(4, end=False, first=8), MONDAY + DAY, attempt=1)
    report = tables(root)
    assert (report.open, report.files) == (1, [])
    assert [row["status"] for row in rows(root, "runs")] == ["finished", "finished"]  # as it was
    append(again, [RunEnd(status="failed")], 9, MONDAY + DAY)
    report = tables(root)
    assert (report.added, report.renewed, report.dropped) == (0, 1, 0)
    assert sum(row["run"] == "r" for row in rows(root, "metrics")) == 14
    check(root)


def test_removed_runs_vanish(root: Path) -> None:
    for number in range(3):
        write(root, f"r{number}", losses(3), MONDAY + number * DAY / 2)
    tables(root)
    assert main(["rm", "--yes", "r0", "r2"]) == 0
    report = tables(root)
    assert (report.dropped, report.added) == (2, 0)
    check(root)
    assert not (root / "tables/runs/date=2026-11-17").exists()


def test_a_run_that_turns_out_to_have_begun_earlier_moves(root: Path) -> None:
    write(root, "r", losses(3), MONDAY + DAY)
    write(root, "other", losses(3), MONDAY)
    tables(root)
    write(root, "r", losses(2, end=False), MONDAY, rank=1)
    tables(root)
    check(root)


def test_a_store_without_runs(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (root / "runs").mkdir(parents=True)
    assert tables(root).files == []
    write(root, "r", losses(3))
    tables(root)
    assert main(["rm", "--yes", "r"]) == 0
    with pytest.raises(NotFound, match="has tables of some"):
        tables(root)


# -- what goes wrong --


def test_damaged_lines_cost_themselves_alone(root: Path) -> None:
    path = write(root, "r", losses(5))
    lines = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(b"".join([*lines[:3], b'{"kind":"metrics","seq":\xff\n', b"\x00\n", *lines[4:]]))
    tables(root)
    assert len(rows(root, "metrics")) == 4
    check(root)


@pytest.mark.parametrize("table", ["metrics", "runs"])
@pytest.mark.parametrize("harm", ["cut", "gone", "flipped"])
def test_a_damaged_part_is_made_anew(root: Path, table: str, harm: str) -> None:
    for number in range(5):
        write(root, f"r{number}", losses(1000), MONDAY + number)
    tables(root)
    (path,) = (root / "tables" / table).rglob("*.parquet")
    content = path.read_bytes()
    if harm == "cut":
        path.write_bytes(content[:-20])
    elif harm == "gone":
        path.unlink()
    else:  # seen when it is copied
        path.write_bytes(content[:200] + bytes([content[200] ^ 255]) + content[201:])
    write(root, "new", losses(3), MONDAY + 10)
    tables(root)
    check(root)


def test_one_at_a_time(root: Path) -> None:
    write(root, "r", losses(3))
    with FolderDestination(root / "tables").alone(), pytest.raises(Error, match="another compaction is at work"):
        tables(root)


KILLED = """
import os, signal, sys
from pathlib import Path
from tachograph import open_store
from tachograph.compact import compaction
from tachograph.compact import FolderDestination, compact
root, count = Path(sys.argv[1]), int(sys.argv[2])
compaction.PART_RUNS = 3
store = open_store(root)
store.refresh()

def count_down(event, arguments):
    global count
    if event in ("os.rename", "os.remove", "os.rmdir") and "tables" in str(arguments[0]):
        count -= 1
        if count == 0:
            os.kill(os.getpid(), signal.SIGKILL)

sys.addaudithook(count_down)
compact(store, FolderDestination(root / "tables"))
"""


def killed(root: Path, step: int) -> int:
    return subprocess.run([sys.executable, "-c", KILLED, str(root), str(step)], timeout=180).returncode


@pytest.mark.slow
def test_killed_before_any_step_it_shows_nothing_twice(root: Path) -> None:
    """Each compaction gets one step further than the one before: at first, and after all kinds of changes."""
    for number in range(8):
        write(root, f"r{number}", losses(20), MONDAY + number * DAY / 4)
    assert _killed_at_each_step(root) > 4
    assert main(["rm", "--yes", "r1"]) == 0
    write(root, "r2", losses(5, first=30), MONDAY + DAY, attempt=1)  # resumed
    write(root, "r6", losses(1, end=False), MONDAY, rank=1)  # so it began a day earlier
    write(root, "new", losses(1), MONDAY + DAY)
    assert _killed_at_each_step(root) > 4


def _killed_at_each_step(root: Path) -> int:
    open_store(root).refresh()
    for step in range(1, 40):
        status = killed(root, step)
        assert twice(root) == []
        if status == 0:
            break
        assert status == -signal.SIGKILL
    check(root)
    assert not list((root / "tables/.drafts").glob("*"))
    return step


class Killed(BaseException):
    """Nothing but what the system does comes after it."""


def test_points_of_which_no_row_came_to_tell_go_with_their_run(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write(root, "old", losses(3))
    tables(root)
    write(root, "new", losses(3), MONDAY + 1)
    publish = FolderDestination.publish

    def halfway(self: FolderDestination, draft: Path, name: str) -> None:
        if name.startswith("runs"):
            raise Killed
        publish(self, draft, name)

    with monkeypatch.context() as patched:
        patched.setattr(FolderDestination, "publish", halfway)
        with pytest.raises(Killed):
            tables(root)
    assert {row["run"] for row in rows(root, "metrics")} == {"old", "new"}
    assert main(["rm", "--yes", "new"]) == 0
    tables(root)
    check(root)


@pytest.mark.slow
def test_killed_at_any_moment_it_shows_nothing_twice(root: Path) -> None:
    chance = random.Random(5)
    for number in range(40):
        write(root, f"r{number:02}", losses(1000), MONDAY + number * DAY / 20)
    open_store(root).refresh()
    code = [sys.executable, "-c", KILLED, str(root), "0"]
    began = time.monotonic()
    for attempt in range(8):
        child = subprocess.Popen(code)
        time.sleep(chance.uniform(0.3, 1.2))
        child.kill()
        child.wait()
        assert twice(root) == []
        write(root, f"new{attempt}", losses(10), MONDAY + attempt * DAY / 8)
    assert time.monotonic() - began < 60
    tables(root)
    check(root)


@pytest.mark.slow
@pytest.mark.skipif(sys.platform == "win32", reason="has no such limits")
def test_a_disk_that_is_full_leaves_whole_tables(root: Path) -> None:
    write(root, "small", losses(10))
    tables(root)
    write(root, "large", [Metrics(step=step, values={"x": random.random()}) for step in range(20_000)] + losses(0))
    open_store(root).refresh()
    code = f"""if 1:
        import resource, signal, sys
        from tachograph.cli import main
        from tachograph import open_store
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (50_000, 50_000))
        sys.exit(main(["compact", "--root", {str(root)!r}]))
    """
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 1, done.stderr
    assert len(done.stderr.splitlines()) == 1
    assert "File too large" in done.stderr
    assert [row["id"] for row in rows(root, "runs")] == ["small"]
    assert not list((root / "tables/.drafts").glob("*"))
    assert tables(root).added == 1
    check(root)


def test_without_pyarrow_one_line_says_what_to_install(
    root: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    write(root, "r", losses(3))
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    assert main(["compact"]) == 1
    assert capsys.readouterr().err == "tachograph: tables are written with pyarrow: pip install 'tachograph[parquet]'\n"


# -- the command --


def test_the_command(root: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write(root, "r", losses(3))
    write(root, "open", losses(3, end=False))
    assert main(["compact", "--to", str(tmp_path / "elsewhere")]) == 0
    told = capsys.readouterr().out.splitlines()
    assert told[:2] == ["1 run added", "1 run still open, left for later"]
    assert told[2].startswith("2 files (")
    assert told[2].endswith(f"written in {tmp_path / 'elsewhere'}")
    assert main(["compact", "--to", "ftp://x/y"]) == 1
    assert "a bucket's URL is like s3://" in capsys.readouterr().err


def test_a_store_that_is_not_there_is_not_made(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["compact", "--root", str(tmp_path / "typo")]) == 1
    assert f"there is no store at {tmp_path / 'typo'}" in capsys.readouterr().err
    assert not (tmp_path / "typo").exists()
