"""Model versions as tables in memory, so that they are asked in the same language as runs."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Iterator
from typing import Any

from tachograph import events, wording
from tachograph.index import labels
from tachograph.registry import Model, Version
from tachograph.store import query
from tachograph.store.query import VERSION_FIELDS
from tachograph.store.questions import ALL

_TABLES = """
CREATE TABLE record (no INTEGER PRIMARY KEY, name TEXT, version TEXT, stage TEXT, approval TEXT, run TEXT, by TEXT,
    registered REAL);
CREATE TABLE label (no INTEGER PRIMARY KEY, digest BLOB UNIQUE);
CREATE TABLE metric (run INTEGER, label INTEGER, number REAL, PRIMARY KEY (run, label)) WITHOUT ROWID;
CREATE TABLE param (run INTEGER, label INTEGER, number NUMERIC, text TEXT, nan BOOLEAN, PRIMARY KEY (run, label))
    WITHOUT ROWID;
CREATE TABLE tag (run INTEGER, label INTEGER, text TEXT, PRIMARY KEY (run, label)) WITHOUT ROWID;
"""
_INSERTS = {
    "metric": "INSERT INTO metric VALUES (?, ?, ?)",
    "param": "INSERT INTO param VALUES (?, ?, ?, ?, ?)",
    "tag": "INSERT INTO tag VALUES (?, ?, ?)",
}


class VersionTables:
    """The versions of some models, those that were deleted left out."""

    def __init__(self, models: Iterable[Model]) -> None:
        self._db = sqlite3.connect(":memory:", check_same_thread=False)
        self._db.executescript(_TABLES)
        self._labels: dict[str, int] = {}
        self.versions: list[tuple[Model, Version]] = []
        rows: dict[str, list[Any]] = {table: [] for table in _INSERTS}
        for model in models:
            for number in model.numbers:
                self._add(model, model.versions[number], rows)
        for table, values in rows.items():
            self._db.executemany(_INSERTS[table], values)

    def _add(self, model: Model, version: Version, rows: dict[str, list[Any]]) -> None:
        no, made = len(self.versions), version.registered
        self.versions.append((model, version))
        own = (no, model.name, version.number, version.stage, version.approval, made.run, made.by, made.at)
        self._db.execute("INSERT INTO record VALUES (?, ?, ?, ?, ?, ?, ?, ?)", own)
        for name, value in made.metrics.items():
            number = events.number(value)
            rows["metric"].append((no, self._label(name), None if number != number else number))
        rows["param"] += [(no, self._label(name), *_columns(value)) for name, value in made.params.items()]
        rows["tag"] += [(no, self._label(name), text) for name, text in version.tags.items()]

    def _label(self, name: str) -> int:
        if name not in self._labels:
            self._labels[name] = len(self._labels)
            self._db.execute("INSERT INTO label VALUES (?, ?)", (self._labels[name], labels.digest(name)))
        return self._labels[name]

    def find(
        self, where: str | None, order_by: str | None, limit: int | None, model: str | None = None
    ) -> Iterator[tuple[Model, Version]]:
        """The versions of a model, or of all, for which ``where`` holds; the newest registration first, unless
        ``order_by`` says otherwise. Raises ``QueryError``."""
        condition, values = query.where(where, VERSION_FIELDS)
        terms = [*query.order_by(order_by, VERSION_FIELDS)]
        order = [f"{term.text} {'DESC' if term.descending else 'ASC'} NULLS LAST" for term in terms]
        if model is not None:
            condition, values = f"name = ? AND {condition}", [model, *values]
        values = [*values, *(value for term in terms for value in term.values)]
        sql = f"SELECT no FROM record WHERE {condition} ORDER BY {', '.join([*order, 'registered DESC', 'no DESC'])}"
        rows = self._db.execute(sql if limit is None else f"{sql} LIMIT {min(limit, ALL)}", values)
        return (self.versions[no] for (no,) in rows.fetchall())


def why_not(condition: str, model: Model, version: Version) -> str | None:
    """Why a condition does not hold for a version, from the values of its fields; None where it holds. Raises
    ``QueryError``."""
    alone = Model(model.name, versions={version.number: version})
    if next(VersionTables([alone]).find(condition, None, None), None) is not None:
        return None
    return ", ".join(_shown(field, version, model) for field in query.fields(condition, VERSION_FIELDS))


def _shown(field: Any, version: Version, model: Model) -> str:
    made = version.registered
    own = {
        "name": model.name, "version": version.number, "stage": version.stage, "approval": version.approval,
        "run": made.run, "by": made.by, "registered": wording.clock(made.at),
    }  # fmt: skip
    held: dict[str, Any] = {"metric": made.metrics, "param": made.params, "tag": version.tags}.get(field.table, own)
    name = f"{field.table}s.{field.name}" if field.table else field.name
    value = held.get(field.name)
    return f"{name} is missing" if value is None else f"{name} is {value!r}"


def _columns(value: Any) -> tuple[Any, str | None, bool]:
    """A param as number and text, and whether it is NaN."""
    if isinstance(value, bool | int | float):
        is_nan = value != value
        is_small = not isinstance(value, int) or -(2**63) <= value < 2**63
        return (None if is_nan else value if is_small else float(value)), None, is_nan
    return None, value if isinstance(value, str) else None, False
