"""Write runs and their points as files that other tools read.

DEST is a folder. In it come runs.* with one row for each run, and metrics.* with one row for each point: run, name,
step, time, value. Without RUN all runs are written, nested ones too. Times are in UTC. In csv and jsonl a number that
is not finite is written NaN, Infinity or -Infinity.

In csv a text that begins with = + - @ ' or a tab or line end stands behind a ', so that no spreadsheet takes it for a
formula; without that one it is what was recorded. Numbers are written as they are.
"""

from __future__ import annotations

import csv
import json
from argparse import ArgumentParser, Namespace
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from datetime import UTC, datetime
from importlib import import_module
from pathlib import Path
from typing import Any, NamedTuple

from tachograph import wording
from tachograph.cli import with_store
from tachograph.cli.arguments import UsageError, add_json, add_root, place
from tachograph.cli.output import say
from tachograph.errors import Error
from tachograph.printable import decoded
from tachograph.runtime import whole_files
from tachograph.store import document
from tachograph.store.history import History
from tachograph.store.run_record import RunRecord
from tachograph.store.store import Store

EXAMPLES = """\
  tachograph export --format csv results
  tachograph export baseline deeper --format parquet results
  tachograph export latest --format jsonl --system results
"""
FORMULA = tuple("=+-@'\t\r\n＝＋－＠")  # what spreadsheets take for the beginning of one, and what stands before it
POINT = ("run", "name", "step", "time", "value")


def configure(parser: ArgumentParser) -> None:
    """Its options."""
    parser.usage = "tachograph export [options] [RUN ...] --format {csv,jsonl,parquet} DEST"
    parser.add_argument(
        "places", metavar="RUN ... DEST", nargs="+", type=place, help="ids or names of runs, and the folder"
    )
    parser.add_argument("--format", required=True, choices=FORMATS, help="parquet needs pyarrow or polars")
    parser.add_argument("--system", action="store_true", help="the samples of the hardware, too")
    add_root(parser)
    add_json(parser)


@with_store.with_store
def run(options: Namespace, store: Store) -> int:
    """0 when all is written."""
    *keys, folder = options.places
    with_store.check(store)
    _check_folder(store, folder)
    runs = [store.run(key) for key in keys] if keys else store.runs(order_by="started", children=True)
    with_store.name_unreadable(store)
    write_runs, write_points = FORMATS[options.format]
    target = Path(folder).expanduser()
    target.mkdir(parents=True, exist_ok=True)
    files = [target / f"{name}.{options.format}" for name in ("runs", "metrics")]
    with whole_files.draft(files[0]) as draft:
        write_runs(draft, runs)
    with whole_files.draft(files[1]) as draft:
        points = write_points(draft, _series(runs, options.system))
    if options.json:
        document.write({"runs": len(runs), "points": points, "files": [str(file) for file in files]})
    else:
        say(f"{wording.count(len(runs), 'run')} and {wording.count(points, 'point')} in {target}")
    return 0


def _check_folder(store: Store, folder: str) -> None:
    """Raise UsageError where a run is named last: the folder was forgotten."""
    if Path(folder).name == folder and not Path(folder).exists() and _is_run(store, folder):
        raise UsageError(f"{folder!r} is a run: name the folder, too (if it is to be called so: ./{folder})")


def _is_run(store: Store, name: str) -> bool:
    store.refresh()
    return name == "latest" or store.questions.find(decoded(name)).count > 0


class MetricPoints(NamedTuple):
    """The points of a metric of a run."""

    run: str
    name: str
    history: History


def _series(runs: Iterable[RunRecord], system: bool) -> Iterator[MetricPoints]:
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
    _write_parquet(path, {name: _alike(cells) for name, cells in _columns(runs).items()})


def _write_parquet_points(path: Path, series: Iterable[MetricPoints]) -> int:
    import numpy as np

    known = list(series)
    lengths = [len(one.history) for one in known]
    times = [one.history.times for one in known] or [np.zeros(0)]
    columns = {
        "run": np.repeat(np.array([one.run for one in known], object), lengths).tolist(),
        "name": np.repeat(np.array([one.name for one in known], object), lengths).tolist(),
        "step": np.concatenate([one.history.steps for one in known] or [np.zeros(0, np.int64)]),
        "time": (np.concatenate(times) * 1e6).astype("datetime64[us]"),
        "value": np.concatenate([one.history.values for one in known] or [np.zeros(0)]),
    }
    _write_parquet(path, columns)
    return sum(lengths)


def _write_parquet(path: Path, columns: Mapping[str, Any]) -> None:
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
    facts = ("id", "name", "experiment", "status", "started", "ended", "parent_id")
    columns = {name.removesuffix("_id"): [getattr(run, name) for run in runs] for name in facts}
    for kind in ("params", "metrics", "tags"):
        values: list[dict[str, Any]] = [getattr(run, kind) for run in runs]
        for name in sorted({name for own in values for name in own}):
            columns[f"{kind}.{name}"] = [own.get(name) for own in values]
    return columns


def _alike(cells: list[Any]) -> list[Any]:
    """Cells that fit a column of one type: as they are, or else as text."""
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
