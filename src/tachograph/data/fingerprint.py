"""What is recorded of a data set: size, schema, statistics and a digest, in plain values."""

from __future__ import annotations

import msgspec


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
    unfinished: bool = False  # statistics were to follow; read after the run: its process ended before that
