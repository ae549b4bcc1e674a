"""``tachograph export``: everything comes back from each format."""

from __future__ import annotations

import csv
import json
import math
import subprocess
import sys
from datetime import datetime, timedelta

import pytest

import tachograph


@pytest.fixture
def odd(store) -> str:
    """A run with values of every kind; its id."""
    with tachograph.start_run('odd, "name"', params={"lr": 0.1, "layers": [8, 4], "none": None, "mixed": 1}) as run:
        for step, value in ((3, 0.5), (1, math.nan), (2, math.inf), (2, -math.inf)):
            run.log({"loss": value}, step=step)
        run.log({"acc": 0.1 + 0.2}, step=7)
    with tachograph.start_run("other", params={"mixed": "text", "flag": True}) as other:
        other.log({"acc": 1.0})
        with other.child("inner"):
            pass
    return run.id


def test_csv(odd, run_json, tmp_path):
    said = run_json("export", "--format", "csv", "out")
    assert said == {"runs": 3, "points": 6, "files": ["out/runs.csv", "out/metrics.csv"]}
    with open("out/runs.csv", newline="") as file:
        runs = list(csv.DictReader(file))
    assert [run["name"] for run in runs] == ['odd, "name"', "other", "inner"]
    assert (runs[0]["id"], runs[0]["params.lr"], runs[0]["params.layers"], runs[0]["params.none"]) == (
        odd, "0.1", "[8, 4]", "",
    )  # fmt: skip
    assert runs[2]["parent"] == runs[1]["id"]
    assert runs[0]["metrics.acc"] == "0.30000000000000004"
    assert datetime.fromisoformat(runs[0]["started"]).utcoffset() == timedelta(0)
    with open("out/metrics.csv", newline="") as file:
        rows = list(csv.reader(file))
    assert rows[0] == ["run", "name", "step", "time", "value"]
    points = [(row[0], row[1], row[2], row[4]) for row in rows[1:]]
    assert [point[1:] for point in points if point[0] == odd] == [
        ("acc", "7", "0.30000000000000004"), ("loss", "3", "0.5"), ("loss", "1", "NaN"),
        ("loss", "2", "Infinity"), ("loss", "2", "-Infinity"),
    ]  # fmt: skip


def test_jsonl(odd, run_json):
    run_json("export", "--format", "jsonl", "out")
    with open("out/runs.jsonl") as file:
        runs = [json.loads(line) for line in file]
    (listed,) = [run for run in run_json("runs") if run["id"] == odd]
    assert runs[0] == {**listed, "parent": None}
    with open("out/metrics.jsonl") as file:
        points = [json.loads(line, parse_constant=pytest.fail) for line in file]
    assert len(points) == 6
    assert list(points[0]) == ["run", "name", "step", "time", "value"]
    assert [point["value"] for point in points if point["name"] == "loss"] == [0.5, "NaN", "Infinity", "-Infinity"]


@pytest.mark.parametrize("library", ["polars", "pyarrow"])
def test_parquet(odd, library, monkeypatch, run_json):
    pytest.importorskip(library)
    polars = pytest.importorskip("polars")
    if library == "pyarrow":
        monkeypatch.setitem(sys.modules, "polars", None)
    run_json("export", "--format", "parquet", "out")
    runs, points = (polars.read_parquet(f"out/{name}.parquet") for name in ("runs", "metrics"))
    assert runs["name"].to_list() == ['odd, "name"', "other", "inner"]
    assert runs["params.lr"].to_list() == [0.1, None, None]
    assert runs["params.layers"].to_list() == ["[8, 4]", None, None]
    assert runs["params.mixed"].to_list() == ["1", "text", None]
    assert runs["params.flag"].to_list() == [None, True, None]
    assert points.columns == ["run", "name", "step", "time", "value"]
    for times in (runs["started"], points["time"]):
        assert times.dtype == polars.Datetime("us", "UTC")
    loss = points.filter(points["name"] == "loss")
    assert loss["step"].to_list() == [3, 1, 2, 2]
    assert str(loss["value"].to_list()) == "[0.5, nan, inf, -inf]"


def test_parquet_without_a_library_says_so(odd, monkeypatch, wrong, tmp_path):
    monkeypatch.setitem(sys.modules, "polars", None)
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    assert "pip install polars" in wrong("export", "--format", "parquet", "out", status=1)
    assert list((tmp_path / "out").iterdir()) == []


@pytest.mark.parametrize("format", ["csv", "jsonl", "parquet"])
def test_an_empty_store(store, run_json, tmp_path, format):
    if format == "parquet":
        pytest.importorskip("polars")
    store.mkdir()
    assert run_json("export", "--format", format, "out")["runs"] == 0
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == [f"metrics.{format}", f"runs.{format}"]


@pytest.mark.parametrize("named", [[], ["--root", "typo"]])
def test_of_a_store_that_is_not_there_nothing_is_written(wrong, tmp_path, named):
    assert "there is no store at" in wrong("export", "--format", "csv", "out", *named, status=1)
    assert list(tmp_path.iterdir()) == []


def test_chosen_runs_in_any_order_of_arguments(record, run_json):
    first, second = record("first"), record("second")
    record("third")
    for arguments in (
        ("first", "second", "--format", "csv", "out"),
        ("--format", "csv", "first", "second", "out"),
        ("first", "second", "out", "--format", "csv"),
    ):
        assert run_json("export", *arguments)["runs"] == 2
        with open("out/runs.csv") as file:
            assert [run["id"] for run in csv.DictReader(file)] == [first, second]


def test_hardware_comes_when_asked_for(store, run_json):
    with tachograph.start_run("one") as run:
        run.log({"loss": 1.0})
    assert tachograph.flush()
    assert run_json("export", "--format", "csv", "out")["points"] == 1
    assert run_json("export", "--format", "csv", "--system", "out")["points"] > 1


def test_what_was_exported_before_is_replaced_as_a_whole(record, run_json, tmp_path):
    record("one")
    run_json("export", "--format", "csv", "out")
    record("two")
    run_json("export", "--format", "csv", "out")
    with open("out/runs.csv") as file:
        assert len(list(csv.DictReader(file))) == 2
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["metrics.csv", "runs.csv"]


def test_wrong_usage(record, wrong, tmp_path):
    record("one")
    assert "--format" in wrong("export", "out")
    assert "invalid choice" in wrong("export", "--format", "xls", "out")
    assert "required" in wrong("export", "--format", "csv")
    assert "nowhere" in wrong("export", "nowhere", "--format", "csv", "out", status=1)
    (tmp_path / "file").write_text("")
    assert "file" in wrong("export", "--format", "csv", "file", status=1)
    assert not (tmp_path / "out").exists()


def test_the_real_program(odd, program):
    result = program("export", "--format", "csv", "out")
    assert (result.returncode, result.stdout, result.stderr) == (0, "3 runs and 6 points in out\n", "")
    code = "import csv; print(sum(1 for _ in csv.reader(open('out/metrics.csv'))))"
    assert subprocess.check_output([sys.executable, "-c", code], text=True) == "7\n"


FORMULAS = ["=cmd|' /C calc'!A0", "+x", "-1", "@SUM(1)", "'quoted", "\t=1", "\r=1", "\n=1", "＝1"]


def test_no_spreadsheet_takes_a_text_for_a_formula(store, run_json):
    params = {f"of {number}": text for number, text in enumerate(FORMULAS)}
    for text in FORMULAS:
        with tachograph.start_run(text, experiment=text, params={**params, "rate": -1.5, "list": [-1]}) as run:
            run.set_tags({"tag": text})
            run.log({f"={text}": -math.inf})
            run.log({f"={text}": -2.0})
    run_json("export", "--format", "csv", "out")
    cells = [row for name in ("runs", "metrics") for row in rows_of(f"out/{name}.csv")]
    texts = [cell for row in cells for cell in row if cell.startswith(tuple("=+-@\t\r\n＝"))]
    assert set(texts) == {"-1.5", "-2.0", "-Infinity"}
    assert {cell for row in cells for cell in row} >= {f"'{text}" for text in FORMULAS}


def test_texts_come_back_from_csv_as_they_were(store, run_json):
    with tachograph.start_run("plain", params={f"p{number}": text for number, text in enumerate(FORMULAS)}):
        pass
    run_json("export", "--format", "csv", "out")
    header, row = rows_of("out/runs.csv")
    found = {name: cell.removeprefix("'") for name, cell in zip(header, row, strict=True)}
    assert [found[f"params.p{number}"] for number in range(len(FORMULAS))] == FORMULAS
    assert (found["name"], found["experiment"]) == ("plain", "default")


def rows_of(path: str) -> list[list[str]]:
    with open(path, newline="") as file:
        return list(csv.reader(file))


@pytest.mark.parametrize("named", ["latest", "one", "20"])
def test_a_folder_that_was_forgotten_is_asked_for(record, wrong, run_json, tmp_path, named):
    """Else all runs would be written, into a folder that is called as the one that was meant."""
    record("one")
    assert f"'{named}' is a run: name the folder" in wrong("export", named, "--format", "csv")
    assert not (tmp_path / named).exists()
    run_json("export", "one", "--format", "csv", f"./{named}/")
    assert run_json("export", "one", "--format", "csv", named)["runs"] == 1  # it is there now
