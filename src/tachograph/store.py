"""The store: what people ask for runs."""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote, urlsplit

from tachograph import query, removal, settings
from tachograph.errors import NotFound
from tachograph.index import Index
from tachograph.journal import Damage
from tachograph.records import FIELDS, Batch, RunRecord, escaped

if TYPE_CHECKING:
    import pandas
    import polars

__all__ = ["Runs", "Store", "open_store"]

SHOWN_CANDIDATES = 5
NEWEST_FIRST = "started DESC, id DESC"
# A child whose parent was deleted would otherwise never be seen.
TOP_LEVEL = "(parent IS NULL OR parent NOT IN (SELECT id FROM run WHERE leader IS NOT NULL))"


def open_store(url: str | os.PathLike[str] | None = None) -> Store:
    """The store in a folder; without ``url`` the local one (see ``TACHOGRAPH_DIR``).

    A folder that isn't there is an empty store, and is not created. Raises ``NotFound`` for an address that this
    version can't open.
    """
    return Store(settings.root() if url is None else _folder(url))


def _folder(url: str | os.PathLike[str]) -> Path:
    if isinstance(url, str) and "://" in url:
        parts = urlsplit(url)
        if parts.scheme != "file" or parts.netloc not in ("", "localhost"):
            raise NotFound(f"can't open {url}: this version reads stores in folders only; copy it to one, or mount it")
        return Path(unquote(parts.path).lstrip("/" if os.name == "nt" else ""))
    return Path(os.path.abspath(os.path.expanduser(url)))


class Store:
    """The runs below one root folder. Asking brings the index up to date first; that never disturbs who records."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.index = Index(root)

    def __repr__(self) -> str:
        return f"<tachograph store {self.root}>"

    def runs(
        self,
        experiment: str | None = None,
        where: str | None = None,
        order_by: str | None = None,
        limit: int | None = None,
        children: bool = False,
    ) -> Runs:
        """Top-level runs, or with ``children`` all of them; the newest first, unless ``order_by`` says otherwise.

        ``where`` and ``order_by`` are in the language that :mod:`tachograph.query` describes. Raises ``QueryError``
        (a ValueError that points at the spot) for one that can't be read.
        """
        condition, values = query.where(where)
        order, order_values = query.order_by(order_by)
        if not children:
            condition = f"{TOP_LEVEL} AND {condition}"
        if experiment is not None:
            condition, values = f"{condition} AND experiment = ?", [*values, experiment]
        if limit is not None and (isinstance(limit, bool) or not isinstance(limit, int) or limit < 0):
            raise ValueError(f"limit is a number of runs, 0 or more, not {limit!r}")
        self.refresh()
        ordered = f"{order}{NEWEST_FIRST} LIMIT ?"
        return self.select(condition, [*values, *order_values, -1 if limit is None else limit], ordered)

    def run(self, key: str | RunRecord) -> RunRecord:
        """A run by its id, a unique beginning of it, its name, or "latest", the top-level run that started last.

        A run that was read before is read anew. Raises ``NotFound`` where there is none, or several.
        """
        if isinstance(key, RunRecord):
            key = key.id
        if not isinstance(key, str):
            raise NotFound(f"a run is found by its id, its name or 'latest', not by a {type(key).__name__}")
        self.refresh()
        if key == "latest":
            found = self.select(TOP_LEVEL, [], f"{NEWEST_FIRST} LIMIT 1")
            if not found:
                raise NotFound(f"no run was recorded in {self.root} yet; TACHOGRAPH_DIR names another store")
            return found[0]
        return self.get(key) or self._matching(key)

    def get(self, id: str) -> RunRecord | None:
        """The run with exactly this id, as far as it is indexed, or None."""
        found = self.select("id = ?", [id], "id")
        return found[0] if found else None

    def _matching(self, key: str) -> RunRecord:
        begun = self.select("substr(id, 1, ?) = ?", [len(key), key], NEWEST_FIRST) if key else Runs()
        named = self.select("name = ?", [key], NEWEST_FIRST)
        for found in (begun, named):
            if len(found) == 1:
                return found[0]
        if not begun and not named:
            for stone in reversed(removal.removed(self.root).values()):
                if key in (stone.id, stone.name) or (key and stone.id.startswith(key)):
                    raise NotFound(f"{stone}: `tachograph runs` or store.runs(children=True) lists what there is")
            raise NotFound(f"no run {key!r} in {self.root}: `tachograph runs` or store.runs(children=True) lists them")
        found = begun or named
        shown = ", ".join([run.id for run in found[:SHOWN_CANDIDATES]] + ["..."] * (len(found) > SHOWN_CANDIDATES))
        what = "is the beginning of" if begun else "is the name of"
        raise NotFound(f"{key!r} {what} {len(found)} runs ({shown}): use more of the id")

    def select(self, condition: str, values: list[Any], order: str) -> Runs:
        """The runs for which an SQL condition on the columns of ``record`` holds, without a refresh."""
        rows = self.index.rows(f"SELECT {', '.join(FIELDS)} FROM record WHERE {condition} ORDER BY {order}", *values)
        batch = Batch(self, [row[0] for row in rows])
        return Runs(RunRecord(self, row, batch) for row in rows)

    def keepers(self, digest: str) -> Runs:
        """The runs that have recorded an artifact with this digest, the newest first. Looks at every artifact."""
        self.refresh()
        return self.select(
            """id IN (SELECT run.id FROM event JOIN run ON run.no = event.run
                      WHERE event.kind = 'artifact' AND instr(event.line, CAST(? AS BLOB)) > 0)""",
            [digest],
            NEWEST_FIRST,
        )

    def experiments(self) -> list[str]:
        """The names of the experiments, in order."""
        self.refresh()
        return [
            name for (name,) in self.index.rows(
                "SELECT DISTINCT experiment FROM record WHERE experiment IS NOT NULL ORDER BY experiment"
            )
        ]  # fmt: skip

    @property
    def damage(self) -> list[Damage]:
        """The lines in the journals that can't be read: each costs itself alone. Files that we may not read, too."""
        return self._damage(torn=False) + self.index.unreadable

    @property
    def torn(self) -> list[Damage]:
        """Last lines that were cut off when their writers died."""
        return self._damage(torn=True)

    def _damage(self, torn: bool) -> list[Damage]:
        self.refresh()
        rows = self.index.rows(
            """SELECT run.id, writer.id, segment, line, offset, reason, torn
               FROM damage JOIN writer ON writer.no = damage.writer JOIN run ON run.no = writer.run
               WHERE torn = ? ORDER BY run.id, writer.id, segment, line""",
            torn,
        )
        return [
            Damage(self.root / "runs" / run / writer / f"{segment}.jsonl", line, offset, reason, bool(torn))
            for run, writer, segment, line, offset, reason, torn in rows
        ]

    def refresh(self) -> None:
        """Take in what was recorded since. Every question does so first."""
        self.index.refresh()

    def close(self) -> None:
        """Give the index's file back; the next question opens it again."""
        self.index.close()


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
        return polars.DataFrame([polars.Series(name, _alike(columns[name]), strict=False) for name in columns])

    def _columns(self) -> dict[str, list[Any]]:
        columns: dict[str, list[Any]] = {
            name: [getattr(run, name) for run in self]
            for name in ("id", "name", "experiment", "status", "started", "ended")
        }
        for kind in ("params", "metrics", "tags"):
            values = [getattr(run, kind) for run in self]
            for name in sorted({name for own in values for name in own}):
                columns[f"{kind}.{name}"] = [own.get(name) for own in values]
        return columns

    def _repr_html_(self) -> str:
        columns = self._columns()
        head = "".join(f"<th>{escaped(name)}</th>" for name in columns)
        rows = zip(*columns.values(), strict=True)
        body = "".join(f"<tr>{''.join(f'<td>{escaped(value)}</td>' for value in row)}</tr>" for row in rows)
        return f"<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>"


def _alike(values: Iterable[Any]) -> list[Any]:
    """Values that fit one column of a typed frame: as they are where their types agree, else as text."""
    known = list(values)
    kinds = {type(value) for value in known if value is not None}
    if (len(kinds) <= 1 and list not in kinds) or kinds == {int, float}:
        return known
    return [None if value is None else str(value) for value in known]
