"""Runs and their points as files that other tools read: csv, jsonl or parquet."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from datetime import UTC, datetime
from importlib import import_module
from pathlib import Path
from typing import Any, NamedTuple

from tachograph.errors import Error
from tachograph.runtime import whole_files
from tachograph.store import document
from tachograph.store.history import History
from tachograph.store.run_record import RunRecord

FORMULA = tuple("=+-@'\t\r\n＝＋－＠")  # what spreadsheets take for the beginning of one, and what stands before it
POINT = ("run", "name", "step", "time", "value")


class Exported(NamedTuple):
    """The files that were written, and how many points are in them."""

    files: list[Path]
    points: int


def export(runs: Sequence[RunRecord], folder: Path, format: str, system: bool = False) -> Exported:
    """Write runs, and with ``system`` the samples of the hardware, too, into a folder, which is made where it isn't
    there. ``format`` is one of ``FORMATS``. Raises ``Error`` where what it needs is not installed."""
    write_runs, write_points = FORMATS[format]
    folder.mkdir(parents=True, exist_ok=True)
    files = [folder / f"{name}.{format}" for name in ("runs", "metrics")]
    with whole_files.draft(files[0]) as draft:
        write_runs(draft, runs)
    with whole_files.draft(files[1]) as draft:
        points = write_points(draft, _series(runs, system))
    return Exported(files, points)


class MetricPoints(NamedTuple):
    """The points of a metric of a run."""

    run: str
    name: str
    history: History


def _series(runs: Iterable[RunRecord], system: bool) -> Iterator[MetricPoints]:
    """The points of each metric of each run, one after the other."""
    for run in runs:
        for name in [*run.metrics, *(run.system if system else ())]:
            yield MetricPoints(run.id, name, run.history(name))


# -- csv --


def _write_csv_runs(path: Path, runs: Sequence[RunRecord]) -> None:
    columns = _columns(runs)
    with open(path, "w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(map(_csv_cell, columns))
        writer.writerows(zip(*([_csv_cell(cell) for cell in cells] for cells in columns.values()), strict=True))


def _write_csv_points(path: Path, series: Iterable[MetricPoints]) -> int:
    count = 0
    with open(path, "w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(POINT)
        for run, name, history in series:
            count += len(history)
            writer.writerows(
                (*map(_csv_cell, (run, name)), step, _time(at), document.plain(value))
                for step, at, value in _points(history)
            )
    return count


def _csv_cell(value: Any) -> Any:
    """A value as it stands in a cell: a text that a spreadsheet would take for a formula stands behind a '."""
    if isinstance(value, str):
        return f"'{value}" if value.startswith(FORMULA) else value
    return document.line(value) if isinstance(value, list | Mapping) else document.plain(value)


# -- jsonl --


def _write_jsonl_runs(path: Path, runs: Sequence[RunRecord]) -> None:
    with open(path, "w", encoding="utf-8") as file:
        for run in runs:
            file.write(_json_line({**document.of_run(run), "parent": run.parent_id}))


def _write_jsonl_points(path: Path, series: Iterable[MetricPoints]) -> int:
    count = 0
    with open(path, "w", encoding="utf-8") as file:
        for run, name, history in series:
            count += len(history)
            for step, at, value in _points(history):
                file.write(_json_line(dict(zip(POINT, (run, name, step, _time(at), value), strict=True))))
    return count


def _json_line(value: Any) -> str:
    return json.dumps(document.plain(value), ensure_ascii=False, allow_nan=False) + "\n"


def _points(history: History) -> Iterator[tuple[int, float, float]]:
    return zip(history.steps.tolist(), history.times.tolist(), history.values.tolist(), strict=True)


def _time(at: float) -> str:
    return datetime.fromtimestamp(at, UTC).isoformat()


# -- parquet --


def _write_parquet_runs(path: Path, runs: Sequence[RunRecord]) -> None:
    _write_parquet(path, {name: _of_one_type(cells) for name, cells in _columns(runs).items()})


def _write_parquet_points(path: Path, series: Iterable[MetricPoints]) -> int:
    import numpy as np

    metrics = list(series)
    lengths = [len(metric.history) for metric in metrics]
    times = [metric.history.times for metric in metrics] or [np.zeros(0)]
    columns = {
        "run": np.repeat(np.array([metric.run for metric in metrics], object), lengths).tolist(),
        "name": np.repeat(np.array([metric.name for metric in metrics], object), lengths).tolist(),
        "step": np.concatenate([metric.history.steps for metric in metrics] or [np.zeros(0, np.int64)]),
        "time": (np.concatenate(times) * 1e6).astype("datetime64[us]"),
        "value": np.concatenate([metric.history.values for metric in metrics] or [np.zeros(0)]),
    }
    _write_parquet(path, columns)
    return sum(lengths)


def _write_parquet(path: Path, columns: Mapping[str, Any]) -> None:
    """Write a table, by polars or else pyarrow. Raises Error where neither is installed."""
    for write in (_by_polars, _by_pyarrow):
        with suppress(ImportError):
            write(path, columns)
            return
    raise Error("parquet needs polars or pyarrow: pip install polars, or choose --format csv")


def _by_polars(path: Path, columns: Mapping[str, Any]) -> None:
    import polars

    frame = polars.DataFrame(columns)
    naive = [name for name, kind in frame.schema.items() if kind == polars.Datetime and kind.time_zone is None]
    frame.with_columns(polars.col(naive).dt.replace_time_zone("UTC")).write_parquet(path)


def _by_pyarrow(path: Path, columns: Mapping[str, Any]) -> None:
    pyarrow, parquet = map(import_module, ("pyarrow", "pyarrow.parquet"))  # it comes without types
    utc = pyarrow.timestamp("us", "UTC")
    table = {name: pyarrow.array(cells, utc if name == "time" else None) for name, cells in columns.items()}
    parquet.write_table(pyarrow.table(table), path)


# -- a run as a row --


def _columns(runs: Sequence[RunRecord]) -> dict[str, list[Any]]:
    """The columns of a table of runs: their own fields, then each parameter, metric and tag that any of them has."""
    fields = ("id", "name", "experiment", "status", "started", "ended", "parent_id")
    columns = {name.removesuffix("_id"): [getattr(run, name) for run in runs] for name in fields}
    for kind in ("params", "metrics", "tags"):
        values: list[dict[str, Any]] = [getattr(run, kind) for run in runs]
        for name in sorted({name for of_run in values for name in of_run}):
            columns[f"{kind}.{name}"] = [of_run.get(name) for of_run in values]
    return columns


def _of_one_type(cells: list[Any]) -> list[Any]:
    """The cells of a column as values of one type: as they are, or else as text."""
    kinds = {type(cell) for cell in cells if cell is not None}
    if (len(kinds) <= 1 and not kinds & {list, dict}) or kinds == {int, float}:
        return cells
    return [cell if cell is None or isinstance(cell, str) else json.dumps(document.plain(cell)) for cell in cells]


FORMATS: dict[
    str, tuple[Callable[[Path, Sequence[RunRecord]], None], Callable[[Path, Iterable[MetricPoints]], int]]
] = {
    "csv": (_write_csv_runs, _write_csv_points),
    "jsonl": (_write_jsonl_runs, _write_jsonl_points),
    "parquet": (_write_parquet_runs, _write_parquet_points),
}
