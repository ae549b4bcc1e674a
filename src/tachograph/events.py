"""The closed set of records, and how they become lines and come back.

An event is one JSON object on one line. Its identity is (run, writer, ``seq``): ``seq`` counts 1, 2, 3 ... within
a writer. ``at`` is the wall clock in seconds since 1970 (UTC). A kind that this version does not know is kept as
:class:`Unknown`, never dropped.

JSON has no NaN and no infinities. A metric that is not finite is written as the string ``"NaN"``, ``"Infinity"`` or
``"-Infinity"``; a parameter, which may also be an honest string, as ``{"$float": "NaN"}``.
"""

from __future__ import annotations

from math import inf, isfinite, nan
from typing import Any, Literal, TypeAlias

import msgspec
from msgspec import Struct

VERSION = 1

MAX_INT = 2**63 - 1  # what every reader can hold, databases too
WITNESS = "witness"  # the role of a writer that tells of another one's death

Param: TypeAlias = bool | int | float | str | list[Any] | None
NonFinite: TypeAlias = Literal["NaN", "Infinity", "-Infinity"]
Number: TypeAlias = float | bool | NonFinite

_NON_FINITE = {"NaN": nan, "Infinity": inf, "-Infinity": -inf}


class Event(Struct, tag_field="kind", omit_defaults=True, gc=False):
    """What all records share. The journal sets ``seq`` and ``at`` when it appends."""

    v: int = 0
    seq: int = 0
    at: float = 0.0


class Fault(Struct, omit_defaults=True):
    """An exception, as text."""

    type: str
    message: str = ""
    traceback: str = ""


class RunStart(Event, tag="run.start", kw_only=True):
    """The first event of each writer: which run, and who writes.

    ``role`` is "owner" for the process that opened the run, "worker" for further writers (other ranks, child
    processes), "witness" for what tells of another writer's death: all else in it is that writer's (see
    :mod:`tachograph.witness`). ``host``, ``boot``, ``pid``, ``born``, ``namespace`` and ``machine`` identify the
    process (see :class:`tachograph.process.Process`), so that a reader can tell whether it still lives. ``opener`` is
    "user" or the name of the plug-in whose call opened the run. ``sinks`` are the URLs that the run is sent to, without
    anything secret.
    """

    run: str
    writer: str
    role: str
    host: str
    boot: str
    pid: int
    born: int
    rank: int = 0
    attempt: int = 0
    name: str | None = None
    experiment: str | None = None
    parent: str | None = None
    opener: str = "user"
    version: str = ""
    sinks: list[str] = []
    namespace: int = 0
    machine: str | None = None


class RunEnd(Event, tag="run.end", kw_only=True):
    """The writer is done. ``seconds`` is measured on the monotonic clock; ``overhead`` is recording's share of it.

    That of a witness is the end of another writer, ``of``, whose last event has the number ``last``: its status is
    "crashed" and its time that of this event.
    """

    status: str
    error: Fault | None = None
    seconds: float = 0.0
    overhead: float = 0.0
    of: str = ""
    last: int = 0


class Params(Event, tag="params", kw_only=True):
    """Hyperparameters; names with dots where they were nested."""

    values: dict[str, Any]


class Metrics(Event, tag="metrics", omit_defaults=False):
    """Points that share one step. Positional and first in line for speed: see ``Journal.metrics``."""

    step: int = 0
    values: dict[str, Number] = {}


class Tags(Event, tag="tags", kw_only=True):
    """Labels; the last value of a name counts."""

    values: dict[str, str]


class Environment(Event, tag="environment", kw_only=True):
    """Facts on where the run ran. Several events add up, key by key."""

    values: dict[str, Any]


class Dataset(Event, tag="dataset", kw_only=True):
    """What was trained or evaluated on. ``profile`` is a ``capture.data.Fingerprint`` as plain values."""

    name: str
    role: str
    digest: str = ""
    rows: int | None = None
    columns: int | None = None
    source: str | None = None
    version: str | None = None
    profile: dict[str, Any] = {}


class Member(Struct):
    """One file of a folder artifact. ``path`` is relative, with forward slashes."""

    path: str
    digest: str
    size: int


class Artifact(Event, tag="artifact", kw_only=True):
    """A file or folder, kept in the blob store under its digest. ``type`` is what the API calls ``kind``."""

    name: str
    type: str
    digest: str
    size: int
    filename: str
    step: int | None = None
    members: list[Member] | None = None
    meta: dict[str, Any] = {}


class Release(Event, tag="release", kw_only=True):
    """The writer has let go of blobs that it had kept for artifacts: from here on it doesn't need their bytes."""

    digests: list[str]
    reason: str = ""


class Link(Event, tag="link", kw_only=True):
    """A relation of this run to something else, for example ``used`` a model version."""

    relation: str
    target: str
    meta: dict[str, Any] = {}


class Note(Event, tag="note", kw_only=True):
    """A remark: by the user, or (``source`` "tachograph") on something that could not be recorded as asked."""

    text: str
    source: str = "user"


class Console(Event, tag="console", kw_only=True):
    """Lines that the program printed."""

    stream: str
    text: str


class Unknown(Event, tag="unknown", kw_only=True):
    """A kind from a newer version: all its fields are in ``fields``."""

    name: str
    fields: dict[str, Any]


Known: TypeAlias = (
    RunStart
    | RunEnd
    | Params
    | Metrics
    | Tags
    | Environment
    | Dataset
    | Artifact
    | Release
    | Link
    | Note
    | Console
)  # fmt: skip
KINDS = tuple(str(kind.__struct_config__.tag) for kind in Known.__args__)

encode = msgspec.json.Encoder().encode


class _Envelope(Struct):
    """What can be read of every event."""

    kind: str
    seq: int
    v: int = 0
    at: float = 0.0


_decode_known = msgspec.json.Decoder(Known).decode
_decode_envelope = msgspec.json.Decoder(_Envelope).decode
_decode_plain = msgspec.json.Decoder(dict[str, Any]).decode


def decode(line: bytes) -> Event:
    """One line (without its line end) as an event.

    Raises ValueError (``msgspec.DecodeError`` is one) where the line is no JSON object with ``seq`` and ``kind``, or a
    known kind lacks a field.
    """
    try:
        event = _decode(line)
    except RecursionError:
        raise ValueError("not an event: it is nested too deep") from None
    if not 0 < event.seq <= MAX_INT:
        raise ValueError("the event has no sequence number")
    return event


def _decode(line: bytes) -> Event:
    try:
        event: Event = _decode_known(line)
    except msgspec.ValidationError:
        return _decode_unknown(line)
    return event


def _decode_unknown(line: bytes) -> Unknown:
    event = _decode_envelope(line)
    if event.kind in KINDS and event.v == VERSION:
        raise ValueError(f"a {event.kind} event with missing or mistyped fields")
    return Unknown(v=event.v, seq=event.seq, at=event.at, name=event.kind, fields=_decode_plain(line))


def number(value: float | str | bool) -> float:
    """A metric's value as it was logged, from the form in which it is written."""
    return _NON_FINITE[value] if isinstance(value, str) else float(value)


def written_number(value: float) -> Number:
    """The reverse of :func:`number`."""
    return value if isfinite(value) else _written(value)


def _written(value: float) -> NonFinite:
    return "NaN" if value != value else "Infinity" if value > 0 else "-Infinity"


def written_param(value: Any) -> Any:
    """A parameter with every float that JSON can't hold replaced by its written form."""
    if isinstance(value, float) and not isfinite(value):
        return {"$float": _written(value)}
    if isinstance(value, list):
        return [written_param(item) for item in value]
    return value


def param(value: Any) -> Any:
    """The reverse of :func:`written_param`."""
    if isinstance(value, dict) and value.get("$float") in _NON_FINITE:
        return _NON_FINITE[value["$float"]]
    if isinstance(value, list):
        return [param(item) for item in value]
    return value
