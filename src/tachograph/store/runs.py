"""Several runs: a list, which is a table for whoever wants one, and a run with all below it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Any

from tachograph.store import notebook
from tachograph.store.run_record import RunRecord

if TYPE_CHECKING:
    import pandas
    import polars


class Runs(list[RunRecord]):
    """Runs, as a list that shows itself as a table."""

    def to_pandas(self) -> pandas.DataFrame:
        """One row for each run: id, name, experiment, status, started, ended, params.*, metrics.*, tags.*"""
        import pandas

        return pandas.DataFrame(self._columns())

    def to_polars(self) -> polars.DataFrame:
        """The same columns as :meth:`to_pandas`. A parameter whose type differs from run to run becomes text."""
        import polars

        columns = self._columns()
        return polars.DataFrame([polars.Series(name, _of_one_type(columns[name]), strict=False) for name in columns])

    def _columns(self) -> dict[str, list[Any]]:
        columns: dict[str, list[Any]] = {
            name: [getattr(run, name) for run in self]
            for name in ("id", "name", "experiment", "status", "started", "ended")
        }
        for kind in ("params", "metrics", "tags"):
            values = [getattr(run, kind) for run in self]
            for name in sorted({name for of_run in values for name in of_run}):
                columns[f"{kind}.{name}"] = [of_run.get(name) for of_run in values]
        return columns

    def _repr_html_(self) -> str:
        return notebook.table(self._columns())


def with_children(run: RunRecord) -> Iterator[RunRecord]:
    """A run and all below it, each once: parents may form a cycle."""
    seen, pending = {run.id}, [run]
    while pending:
        parent = pending.pop()
        yield parent
        children = [child for child in parent.children if child.id not in seen]
        seen.update(child.id for child in children)
        pending += reversed(children)


def _of_one_type(values: Iterable[Any]) -> list[Any]:
    """Values that fit one column of a typed frame: as they are where their types agree, else as text."""
    column = list(values)
    types = {type(value) for value in column if value is not None}
    if (len(types) <= 1 and not types & {list, dict}) or types == {int, float}:
        return column
    return [None if value is None else str(value) for value in column]
