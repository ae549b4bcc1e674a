"""A part of the tables: some runs of one date, as two files that say of each other that they belong together.

    metrics/date=2026-11-23/part-00001.parquet    their points
    runs/date=2026-11-23/part-00001.parquet       one row each

Types are those that DuckDB, Spark, Trino and pandas all read without an option: text, 64-bit integers and floats,
timestamps of microseconds in UTC (Spark reads no nanoseconds), maps. Row groups are sorted by run, name and step, so
that their statistics tell readers which of them to leave out. Both are compressed with zstd, steps and times as
differences, values as they are: the few per cent that an encoding of its own would spare there, not every reader can
read.
"""

from __future__ import annotations

import contextlib
import re
from collections.abc import Container, Iterator
from importlib import import_module
from itertools import pairwise
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, NamedTuple

import msgspec
import numpy as np

from tachograph import events
from tachograph.compact.destination import Destination
from tachograph.errors import Error

if TYPE_CHECKING:
    from tachograph.store.run_record import RunRecord

ROWS = 1 << 18  # points in a row group, at least
ENTRIES = 1 << 18  # params, tags and metrics in a row group of runs, about
POINT_BYTES = 5  # of what is not written yet, about

_NAME = re.compile(r"(metrics|runs)/date=(\d{4}-\d{2}-\d{2})/part-(\d{5,9})\.parquet")
_TOKEN = b"tachograph.part"


class UnreadablePart(Exception):
    """A file of a part is damaged, or not there."""


class PartAddress(NamedTuple):
    """Where a part is in the tables."""

    date: str
    number: int

    @property
    def metrics(self) -> str:
        return f"metrics/date={self.date}/part-{self.number:05}.parquet"

    @property
    def runs(self) -> str:
        return f"runs/date={self.date}/part-{self.number:05}.parquet"

    @classmethod
    def of(cls, name: str) -> PartAddress | None:
        """The address of the part to which a file belongs; None for a file that is not ours."""
        match = _NAME.fullmatch(name)
        return match and cls(match[2], int(match[3]))


class Arrow:
    """pyarrow, which takes its time to import, and what the two tables look like in it."""

    def __init__(self) -> None:
        try:
            self.pa, self.parquet = map(import_module, ("pyarrow", "pyarrow.parquet"))
        except ImportError:
            raise Error("tables are written with pyarrow: pip install 'tachograph[parquet]'") from None
        pa = self.pa
        text, time = pa.dictionary(pa.int32(), pa.string()), pa.timestamp("us", "UTC")
        self.points = pa.schema(
            {
                "run": text, "name": text, "step": pa.int64(), "time": time, "value": pa.float64(),
                "rank": pa.int32(), "writer": text,
            }
        )  # fmt: skip
        texts, numbers = pa.map_(pa.string(), pa.string()), pa.map_(pa.string(), pa.float64())
        self.runs = pa.schema(
            {
                "id": pa.string(), "name": pa.string(), "experiment": pa.string(), "status": pa.string(),
                "started": time, "ended": time, "seconds": pa.float64(), "parent": pa.string(), "opener": pa.string(),
                "params": texts, "tags": texts, "metrics": numbers, "system": numbers, "points": pa.int64(),
                "version": pa.string(),
            }
        )  # fmt: skip

    @contextlib.contextmanager
    def reading(self, destination: Destination, name: str, *texts: str) -> Iterator[Any]:
        """Open a file as a ``pyarrow.parquet.ParquetFile``; of the columns ``texts`` each text is read once.

        Raises :class:`UnreadablePart`, also for what is read from it.
        """
        try:
            with destination.reading(name) as file:
                yield self.parquet.ParquetFile(file, read_dictionary=texts, page_checksum_verification=True)
        except (self.pa.ArrowException, OSError) as error:
            raise UnreadablePart(f"{name}: {error}") from error

    def writer(self, path: Path, schema: Any, token: str, order: tuple[str, ...]) -> Any:
        """A ``pyarrow.parquet.ParquetWriter``."""
        return self.parquet.ParquetWriter(
            path,
            schema.with_metadata({_TOKEN: token}),
            compression="zstd",
            use_dictionary=["run", "name", "writer", "rank", "experiment", "status", "opener", "params.key_value.key",
                            "tags.key_value.key", "metrics.key_value.key", "system.key_value.key"],
            column_encoding={name: "DELTA_BINARY_PACKED" for name in ("step", "time") if name in schema.names} or None,
            sorting_columns=[self.parquet.SortingColumn(schema.get_field_index(name)) for name in order],
            write_page_checksum=True,
            write_page_index=True,
        )  # fmt: skip

    def members(self, destination: Destination, address: PartAddress) -> dict[str, str]:
        """The runs that a part holds, with the version of each, which is empty where its files don't belong together:
        a compaction was killed between the two."""
        try:
            with self.reading(destination, address.runs) as file:
                token, table = _token(file), file.read(columns=["id", "version"])
            with self.reading(destination, address.metrics) as file:
                whole = token == _token(file)
        except UnreadablePart:
            return {}
        versions = table["version"].to_pylist() if whole else [""] * table.num_rows
        return dict(zip(table["id"].to_pylist(), versions, strict=True))


def _token(file: Any) -> bytes:
    token: bytes = (file.schema_arrow.metadata or {}).get(_TOKEN, b"")
    return token


class PointFileWriter:
    """Writes points. Those of a run are added one after the other, ordered by name; so memory stays bounded."""

    def __init__(self, arrow: Arrow, path: Path, token: str) -> None:
        self._arrow, self._pa = arrow, arrow.pa
        self._file = arrow.pa.OSFile(str(path), "wb")
        self._writer = arrow.writer(self._file, arrow.points, token, ("run", "name", "step"))
        self._pending: list[tuple[str, Any]] = []
        self._rows = 0

    def __enter__(self) -> PointFileWriter:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        if kind is None:
            self._flush()
        _close(self._writer, self._file, failed=kind is not None)

    @property
    def size(self) -> int:
        """The size that the file is going to have, about, as far as it goes."""
        return int(self._file.tell()) + self._rows * POINT_BYTES

    def add(self, run: str, table: Any) -> None:
        """Add some of a run's points."""
        self._pending.append((run, table))
        self._rows += table.num_rows
        if self._rows >= ROWS:
            self._flush()

    def copy(self, destination: Destination, name: str, runs: Container[str]) -> None:
        """Add the points of some runs from a file. Raises :class:`UnreadablePart`."""
        with self._arrow.reading(destination, name, "run", "name", "writer") as file:
            for group in range(file.num_row_groups):
                for run, table in self._by_run(file.read_row_group(group)):
                    if run in runs:
                        self.add(run, table)

    def _by_run(self, table: Any) -> Iterator[tuple[str, Any]]:
        column = table["run"].combine_chunks()
        codes = np.asarray(column.indices)
        starts = [0, *(np.flatnonzero(np.diff(codes)) + 1).tolist(), len(codes)]
        for start, end in pairwise(starts):
            if start < end:
                yield column[start].as_py(), table.slice(start, end - start)

    def _flush(self) -> None:
        if self._rows:
            self._pending.sort(key=lambda added: added[0])  # stable: within a run they are in order
            table = self._pa.concat_tables([table for _, table in self._pending]).unify_dictionaries()
            self._pending, self._rows = [], 0
            table = _by_step(table.combine_chunks())
            self._writer.write_table(table.cast(self._arrow.points), row_group_size=table.num_rows)


def _by_step(table: Any) -> Any:
    """Points that come by run and name, ordered by step, too. Mostly they are."""
    runs, names = (np.asarray(table[name].combine_chunks().indices) for name in ("run", "name"))
    steps = np.asarray(table["step"])
    begins = (runs[1:] != runs[:-1]) | (names[1:] != names[:-1])
    if (begins | (steps[1:] >= steps[:-1])).all():
        return table
    series = np.concatenate([[0], np.cumsum(begins)])
    return table.take(np.lexsort((np.asarray(table["time"].cast("int64")), steps, series)))


class Rows:
    """Writes runs, a row each."""

    def __init__(self, arrow: Arrow, path: Path, token: str) -> None:
        self._arrow = arrow
        self._file = arrow.pa.OSFile(str(path), "wb")
        self._writer = arrow.writer(self._file, arrow.runs, token, ("id",))
        self._pending: list[dict[str, Any]] = []
        self._entries = 0

    def __enter__(self) -> Rows:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        if kind is None:
            self._flush()
        _close(self._writer, self._file, failed=kind is not None)

    @property
    def size(self) -> int:
        """The size that the file has by now."""
        return int(self._file.tell())

    def add(self, run: RunRecord, points: int, version: str) -> None:
        """Add a run that has so many points."""
        self._add(_row(run) | {"points": points, "version": version})

    def _add(self, row: dict[str, Any]) -> None:
        self._pending.append(row)
        self._entries += 10 + sum(len(row[kind]) for kind in ("params", "tags", "metrics", "system"))
        if self._entries >= ENTRIES:
            self._flush()

    def copy(self, destination: Destination, name: str, runs: Container[str]) -> None:
        """Add some runs from a file. Raises :class:`UnreadablePart`."""
        with self._arrow.reading(destination, name) as file:
            for batch in file.iter_batches(batch_size=100):
                for row in batch.to_pylist():
                    if row["id"] in runs:
                        self._add(row)

    def _flush(self) -> None:
        if self._pending:
            self._pending.sort(key=lambda row: str(row["id"]))
            table = self._arrow.pa.Table.from_pylist(self._pending, self._arrow.runs)
            self._pending, self._entries = [], 0
            self._writer.write_table(table, row_group_size=table.num_rows)


def _close(writer: Any, file: Any, failed: bool) -> None:
    """End a file; after a failure, such as a full disk, without another word on what can't be written."""
    with contextlib.suppress(OSError) if failed else contextlib.nullcontext():
        writer.close()
    with contextlib.suppress(OSError) if failed else contextlib.nullcontext():
        file.close()


def _row(run: RunRecord) -> dict[str, Any]:
    return {
        "id": run.id, "name": run.name, "experiment": run.experiment, "status": run.status,
        "started": run.started, "ended": run.ended, "seconds": run.seconds, "parent": run.parent_id,
        "opener": run.opener, "params": [(name, _text(value)) for name, value in run.params.items()],
        "tags": list(run.tags.items()), "metrics": list(run.metrics.items()), "system": list(run.system.items()),
    }  # fmt: skip


def _text(value: Any) -> str:
    """A parameter as text: what is text as it is, all else as JSON, a number that is not finite as ``NaN``."""
    if isinstance(value, str):
        return value
    if isinstance(value, float):
        return str(events.written_number(value))
    return msgspec.json.encode(events.written_param(value)).decode()
