"""Tables in buckets on real servers."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

import tachograph
from tachograph.bucket.objects import Objects
from tachograph.cli import main
from tachograph.compact import Report, bucket_destination, compact, compaction, destination_at
from tachograph.errors import Error
from tachograph.store.store import open_store


def record(count: int, points: int = 100) -> None:
    for number in range(count):
        with tachograph.start_run(f"r{number}", params={"number": number}) as run:
            for step in range(points):
                run.log({"loss": 1 / (step + 1)})


def tables(url: str) -> Report:
    store = open_store()
    try:
        return compact(store, destination_at(url))
    finally:
        store.close()


def rows(url: str, table: str) -> list[dict[str, Any]]:
    destination, found = destination_at(url), list[Any]()
    for name in destination.files():
        if name.startswith(table):
            with destination.reading(name) as file:
                found += pq.ParquetFile(file).read().to_pylist()
    return found


def test_tables_in_a_bucket_say_what_the_store_says(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(compaction, "PART_RUNS", 3)
    record(4)
    assert tables(url).added == 4
    record(2)
    assert main(["rm", "--yes", open_store().runs(order_by="started")[0].id]) == 0
    report = tables(url)
    assert (report.added, report.dropped) == (2, 1)
    assert sorted(row["id"] for row in rows(url, "runs")) == sorted(run.id for run in open_store().runs())
    points = [row for row in rows(url, "metrics") if row["name"] == "loss"]
    assert len(points) == 500
    assert sum(row["value"] for row in points) == pytest.approx(5 * sum(1 / (step + 1) for step in range(100)))
    assert not list(Objects(url).listed(bucket_destination.LEASES))


def test_one_at_a_time(s3: str, monkeypatch: pytest.MonkeyPatch) -> None:
    record(1)
    with destination_at(s3).alone(), pytest.raises(Error, match="another compaction is at work"):
        tables(s3)
    assert tables(s3).added == 1


def test_what_a_killed_compaction_left_is_in_nobodys_way_for_long(s3: str, monkeypatch: pytest.MonkeyPatch) -> None:
    record(1)
    code = "import os, sys, tachograph.compact as c\nwith c.destination_at(sys.argv[1]).alone(): os._exit(9)"
    assert subprocess.run([sys.executable, "-c", code, s3]).returncode == 9
    with pytest.raises(Error, match="another compaction is at work"):
        tables(s3)
    monkeypatch.setattr(bucket_destination, "LEASE_SECONDS", -1.0)
    assert tables(s3).added == 1
    assert not list(Objects(s3).listed(bucket_destination.LEASES))


def test_who_was_held_up_for_too_long_changes_nothing(s3: str, tmp_path: Path) -> None:
    destination = destination_at(s3)
    (tmp_path / "draft").write_bytes(b"x")
    with destination.alone():
        Objects(s3).delete([one.path for one in Objects(s3).listed(bucket_destination.LEASES)])
        with pytest.raises(Error, match="since this one was held up"):
            destination.publish(tmp_path / "draft", "runs/date=2026-11-16/part-00001.parquet")
    assert destination.files() == {}


def test_a_buckets_own_runs(s3: str, capsys: pytest.CaptureFixture[str]) -> None:
    record(3)
    assert main(["sync", "--to", s3]) == 0
    capsys.readouterr()
    assert main(["compact", "--root", s3]) == 0
    assert capsys.readouterr().out.startswith("3 runs added\n2 files (")
    store = open_store(s3)
    expected = {run.id: run.history("loss").values.sum() for run in store.runs()}
    store.close()
    found = dict.fromkeys(expected, 0.0)
    for row in rows(f"{s3}/tables", "metrics"):
        found[row["run"]] += row["value"] * (row["name"] == "loss")
    assert found == pytest.approx(expected)
    assert main(["compact", "--root", s3]) == 0
    assert capsys.readouterr().out.splitlines()[-1] == f"nothing written in {s3}/tables"


def test_the_command(s3: str, capsys: pytest.CaptureFixture[str]) -> None:
    record(1)
    assert main(["compact", "--to", s3]) == 0
    assert capsys.readouterr().out.startswith("1 run added\n2 files (")
    assert main(["compact", "--to", "s3://no-such-bucket-here/x"]) == 1
    assert capsys.readouterr().err == (
        "tachograph: s3://no-such-bucket-here/x: there is no such bucket; create it, or mend the URL\n"
    )
