"""What a run remembers of its training data: size, schema, statistics and a digest, never the data.

Single values stand in it only where they are categories, which repeat; nothing of columns with private names.

`begin` runs on the training thread just before a fit, and what is left is done beside it. Its cost is bounded however
large the data set is, it changes nothing in it and keeps no reference to it. This module holds the plain record; the
modules which do the work (`kinds` and `frames` read, `digest` hashes, `profile` counts) need numpy and are imported at
the first call.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, TypeAlias

import msgspec

if TYPE_CHECKING:
    from tachograph.data.digest import Digested
    from tachograph.data.table import Table

__all__ = ["Column", "Fingerprint", "Sampling", "begin", "fingerprint"]


class Column(msgspec.Struct, omit_defaults=True):
    """One column of a data set. Statistics are over the rows which were looked at; infinite values are left out.

    A column that is called ``password``, ``iban`` or ``email`` has name, dtype and `missing` only.

    A statistic which does not apply, or has no finite value, is None. `std` is that of the population (divided by n).
    Durations are in seconds, dates ISO 8601 texts, those with a time zone in UTC.
    """

    name: str
    dtype: str
    missing: int = 0  # NaN, None, NaT, null, masked
    infinite: int = 0
    min: float | str | None = None
    max: float | str | None = None
    mean: float | None = None
    std: float | None = None
    zeros: float | None = None  # share of the finite values
    quantiles: dict[str, float] = {}  # p5, p25, p50, p75, p95, by linear interpolation
    edges: list[float] = []  # the histogram's bins: counts[i] lies in [edges[i], edges[i + 1]), the last one closed
    counts: list[int] = []
    distinct: int | None = None
    top: dict[str, int] = {}  # most frequent values, cut to 64 characters, with their counts, if they are categories
    lengths: dict[str, float] = {}  # of texts that are none, in characters: min, p5, p25, p50, p75, p95, max
    forms: dict[str, int] = {}  # and what they are made of: "letters", "digits", "letters and digits", "other", "empty"


class Sampling(msgspec.Struct):
    """What was looked at when the data set was too large for all of it."""

    method: str
    rows: int  # for the statistics
    rows_total: int
    bytes: int  # for the digest, data and target together
    bytes_total: int


class Fingerprint(msgspec.Struct, omit_defaults=True):
    """A data set in plain values, encodable as JSON. None is what could not be known without reading or moving it."""

    format: str  # "numpy.ndarray", "pandas.DataFrame", "scipy.sparse.csr_matrix", "list", ...
    rows: int | None = None
    columns: int | None = None
    shape: list[int] = []
    bytes: int | None = None  # of values, data and target together; of texts and objects an estimate
    digest: str = ""  # "sha256:..."; empty where the content was not readable
    schema: list[Column] = []
    omitted: int = 0  # columns beyond the first 1,000: in the digest, but not in the schema
    density: float | None = None  # share of stored values in a sparse matrix
    target: list[Column] = []
    classes: dict[str, int] | None = None  # how often each class occurs in the target's rows which were looked at
    sampled: Sampling | None = None  # None: everything that was readable was looked at


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
    known, digested = _read(data, target)
    return _described(known, digested)


def begin(data: object, *, target: object | None = None) -> Callable[[], Fingerprint]:
    """Begin a :func:`fingerprint`: the data is read now, and may be changed as soon as this returns.

    Returns a function that makes the fingerprint, at any time and in any thread. Most of the work is left to it.
    """
    known, digested = _read(data, target)
    if digested.text in _statistics:
        found = _described(known, digested)
        return lambda: found
    return partial(_described, [table.detached() for table in known], digested)


def _read(data: object, target: object | None) -> tuple[list[Table], Digested]:
    from tachograph.data import digest, readers

    known = [readers.read(data)]
    if target is not None:
        known.append(readers.read(target, name="target"))
    return known, digest.of(known)


def _described(known: list[Table], digested: Digested) -> Fingerprint:
    from tachograph.data import profile

    table, answers = known[0], known[1] if len(known) > 1 else None
    statistics = _statistics.get(digested.text)
    if statistics is None:
        schema = profile.columns(table.sample)
        answer = profile.columns(answers.sample) if answers else []
        statistics = schema, answer, profile.classes(answers.sample) if answers else None
        if digested.seen == digested.total:  # else the same digest doesn't mean the same data
            _remember(digested.text, statistics)
    schema, answer, classes = statistics
    return Fingerprint(
        format=table.format,
        rows=table.rows,
        columns=table.width,
        shape=list(table.shape),
        bytes=digested.total,
        digest=digested.text,
        schema=schema,
        omitted=table.omitted,
        density=table.density,
        target=answer,
        classes=classes,
        sampled=_sampling(known, digested.seen, digested.total),
    )


def _sampling(known: list[Table], seen: int, total: int | None) -> Sampling | None:
    largest = max(known, key=lambda table: (table.rows or 0) - table.looked_at)
    rows = largest.rows or 0
    unread = total is None  # nothing was sampled: it was described, not read
    if unread or (largest.looked_at == rows and seen == total):
        return None
    return Sampling("evenly spaced rows and blocks", largest.looked_at, rows, seen, total or 0)
