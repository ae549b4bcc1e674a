"""Describing training data: its size, schema, statistics and a digest, never the data itself.

Single values are recorded only where they are categories, which repeat; none of columns with private names.

`begin` runs on the training thread just before a fit; the rest of the work is done beside it. Its cost is bounded
however large the data set is, it changes nothing in it and keeps no reference to it. The modules which do the work
(`readers` and `dataframes` read, `digest` hashes, `profile` counts) need numpy and are imported at the first call.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, NamedTuple, TypeAlias

from tachograph.data.fingerprint import Column, Fingerprint, Sampling

if TYPE_CHECKING:
    from tachograph.data.digest import Digested
    from tachograph.data.table import Table

_Statistics: TypeAlias = "tuple[list[Column], list[Column], dict[str, int] | None]"
_REMEMBERED = 8
# Of the data sets that were looked at last, by their digests: the same one is often fitted or evaluated on again.
_statistics: dict[str, _Statistics] = {}


def _remember(digest: str, statistics: _Statistics) -> None:
    if digest:
        _statistics[digest] = statistics
        for oldest in list(_statistics)[:-_REMEMBERED]:
            _statistics.pop(oldest, None)


def fingerprint(data: object, *, target: object | None = None) -> Fingerprint:
    """Describe a data set, and the target to be learned from it, in bounded time.

    Arrays (numpy, torch on the CPU, whatever has `__array__`), frames (pandas, polars), sparse matrices (scipy), lists
    and dicts of columns are read; lazy frames, arrow tables, tensors on a device and everything else is described by
    what it says of itself. The digest depends on values, dtype, shape, column names and target, not on memory layout,
    byte order or a frame's index. Up to 32 MiB it covers every byte; above that, blocks at even distances of about that
    size in all. Statistics are over at most 10,000 rows, spread evenly, and the first 1,000 columns; `sampled` says so.

    `target` gets its class balance where it is one column of at most 100 classes: whole numbers, texts or booleans.

    The columns that it gives are shared with later fingerprints of the same data, and not to be changed.

    Raises nothing of its own; what the data's own methods raise (a lazy frame over a lost file) goes to the caller.
    """
    tables, digested = _read(data, target)
    return _described(tables, digested)


class Begun(NamedTuple):
    """A fingerprint that is being made.

    ``known`` is what there is of it at once: all but the statistics, and that it is unfinished. ``complete()`` gives
    all of it, at any time and in any thread; it is None where ``known`` is all of it.
    """

    known: Fingerprint
    complete: Callable[[], Fingerprint] | None


def begin(data: object, *, target: object | None = None) -> Begun:
    """Begin a :func:`fingerprint`: the data is read now, and may be changed as soon as this returns."""
    tables, digested = _read(data, target)
    if digested.text in _statistics:
        return Begun(_described(tables, digested), None)
    detached = [table.detached() for table in tables]
    known = _without_statistics(tables, digested)
    known.unfinished = True
    return Begun(known, partial(_described, detached, digested))


def _read(data: object, target: object | None) -> tuple[list[Table], Digested]:
    from tachograph.data import digest, readers

    tables = [readers.read(data)]
    if target is not None:
        tables.append(readers.read(target, name="target"))
    return tables, digest.of(tables)


def _described(tables: list[Table], digested: Digested) -> Fingerprint:
    """The fingerprint of a data set, ``tables[0]``, and of its target, if that comes second."""
    from tachograph.data import profile

    table, target = tables[0], tables[1] if len(tables) > 1 else None
    statistics = _statistics.get(digested.text)
    if statistics is None:
        schema = profile.columns(table.sample)
        target_schema = profile.columns(target.sample) if target else []
        statistics = schema, target_schema, profile.classes(target.sample) if target else None
        if digested.seen == digested.total:  # else the same digest doesn't mean the same data
            _remember(digested.text, statistics)
    described = _without_statistics(tables, digested)
    described.schema, described.target, described.classes = statistics
    return described


def _without_statistics(tables: list[Table], digested: Digested) -> Fingerprint:
    table = tables[0]
    return Fingerprint(
        format=table.format,
        rows=table.rows,
        columns=table.width,
        shape=list(table.shape),
        bytes=digested.total,
        digest=digested.text,
        omitted=table.omitted,
        density=table.density,
        sampled=_sampling(tables, digested.seen, digested.total),
    )


def _sampling(tables: list[Table], seen: int, total: int | None) -> Sampling | None:
    largest = max(tables, key=lambda table: (table.rows or 0) - table.looked_at)
    rows = largest.rows or 0
    unread = total is None  # nothing was sampled: it was described, not read
    if unread or (largest.looked_at == rows and seen == total):
        return None
    return Sampling("evenly spaced rows and blocks", largest.looked_at, rows, seen, total or 0)
