"""One sha256 over the content of tables, the same for the same values however they lie in memory."""

from __future__ import annotations

import hashlib
import itertools
import math
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import msgspec
import numpy as np
from numpy.typing import NDArray

from tachograph.data.table import LIMIT, CellValues, ColumnGroup, Table

BLOCK = 2**18  # bytes read at once: small enough for the cache, large enough to hash at full speed


class Digested(NamedTuple):
    text: str  # "sha256:..." or "" where something was not readable
    seen: int  # bytes hashed
    total: int | None  # bytes there are; None: unknown


def of(tables: Sequence[Table]) -> Digested:
    """The digest of tables in their order; values above `LIMIT` bytes a table are sampled."""
    parts = [part for table in tables for part in table.parts or ()]
    if any(table.parts is None for table in tables):
        return Digested("", 0, None)
    sha = hashlib.sha256()
    try:
        seen = sum(_add_table(sha, table) for table in tables)
    except _UnreadableError:
        return Digested("", 0, sum(part.size for part in parts))
    return Digested(f"sha256:{sha.hexdigest()}", seen, sum(part.size for part in parts))


class _UnreadableError(Exception):
    """A value can't be hashed: it has no bytes that mean the same in another process."""


def _add_table(sha: hashlib._Hash, table: Table) -> int:
    sha.update(_encoded([list(table.shape), table.layout]))
    total = sum(part.size for part in table.parts or ())
    share = min(1.0, LIMIT / total) if total else 1.0
    return sum(_add_part(sha, part, share) for part in table.parts or ())


def _add_part(sha: hashlib._Hash, part: ColumnGroup, share: float) -> int:
    sha.update(_encoded([part.dtype, list(part.columns.items())]))
    if part.size > LIMIT * part.length:
        raise _UnreadableError(f"one value of {part.dtype} is larger than all that may be read")
    units = 0
    for start, stop in spans(part, share):
        _add_cells(sha, part.read(start, stop))
        units += stop - start
    return part.size * units // part.length if part.length else 0


def spans(part: ColumnGroup, share: float) -> Iterator[tuple[int, int]]:
    """Where to read: all of the part, block after block, or that share of it in blocks at even distances."""
    if not part.length or not part.cuts:
        return
    wanted = max(1, int(part.length * share))
    blocks = max(1, min(math.ceil(part.size * share / BLOCK), part.cuts, part.length))
    if share == 1.0:
        bounds = [part.length * i // blocks for i in range(blocks + 1)]
        yield from itertools.pairwise(bounds)
        return
    size = max(1, wanted // blocks)
    for i in range(min(blocks, wanted)):  # the first block and the last one are the two ends
        start = (part.length - size) * i // max(1, blocks - 1)
        yield start, start + size


def _add_cells(sha: hashlib._Hash, cells: CellValues) -> None:
    values, missing = cells
    if missing is not None:  # what lies under a mask is no content
        sha.update(np.packbits(missing).tobytes())
        values = values.copy()
        values[missing] = np.zeros((), values.dtype)
    if values.dtype.kind in "OT":
        sha.update(_encoded(values.reshape(-1).tolist()))
    else:
        for plain in _without_padding(values):
            sha.update(_bytes(plain))


def _without_padding(values: NDArray[Any]) -> tuple[NDArray[Any], ...]:
    """Extended precision has unused bytes with arbitrary content: two doubles hold the same number."""
    if values.dtype.char not in "gG":
        return (values,)
    double = np.float64 if values.dtype.char == "g" else np.complex128
    with np.errstate(all="ignore"):
        high = values.astype(double)
        return high, (values - high).astype(double)


def _bytes(values: NDArray[Any]) -> memoryview | bytes:
    little = np.ascontiguousarray(values).astype(values.dtype.newbyteorder("<"), copy=False)
    if not little.size or not little.itemsize:
        return b""
    return little.reshape(-1).view(np.uint8).data


def _plain(value: object) -> object:
    """What msgspec does not know, in values that it does."""
    if isinstance(value, np.ndarray):
        if value.nbytes > LIMIT:
            return _refuse(value)
        content = value.tolist() if value.dtype.kind in "OTV" else bytes(_bytes(value))
        return [str(value.dtype), list(value.shape), content]
    if isinstance(value, np.generic):
        return [str(value.dtype), value.tobytes()]
    if isinstance(value, complex):
        return [value.real, value.imag]
    if type(value).__module__.partition(".")[0] == "pandas":  # Timestamp, NaT, NA, Interval, ...: not a frame
        return str(value) if getattr(value, "ndim", 0) == 0 else _refuse(value)
    return _refuse(value)


def _refuse(value: object) -> object:
    raise _UnreadableError(type(value).__name__)


_ENCODER = msgspec.msgpack.Encoder(enc_hook=_plain, order="deterministic")


def _encoded(values: list[Any]) -> bytes:
    try:
        return _ENCODER.encode(values)
    except (TypeError, ValueError, OverflowError, RecursionError) as error:  # keys, surrogates, 65 bits, endless depth
        raise _UnreadableError(str(error)) from error
