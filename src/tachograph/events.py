"""The closed set of records, and how they become lines and come back.

An event is one JSON object on one line. Its identity is (run, writer, ``seq``): ``seq`` counts 1, 2, 3 ... within
a writer. ``at`` is the wall clock in seconds since 1970 (UTC). A kind that this version does not know is kept as
:class:`Unknown`, never dropped.

What an event may hold is defined here alone, by the types of its fields and :func:`_check`. Within these bounds every
reader of events (tables, datetimes, processes, Parquet) can handle them. A line outside of them is damaged: that line
is lost, and no other.

JSON has no NaN and no infinities. A metric that is not finite is written as the string ``"NaN"``, ``"Infinity"`` or
``"-Infinity"``; a parameter, which may also be an honest string, as ``{"$float": "NaN"}``.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable
from math import inf, isfinite, nan
from typing import Annotated, Any, Literal, TypeAlias

import msgspec
from msgspec import Meta, Struct

VERSION = 1

MAX_INT = 2**63 - 1  # what every reader can hold, databases too
DEEPEST = 100  # levels of lists and objects in an event: reading needs some of Python's stack for each
WITNESS = "witness"  # the role of a writer that records the death of another one

Param: TypeAlias = bool | int | float | str | list[Any] | None
Seq = Annotated[int, Meta(ge=1, le=MAX_INT)]
Step = Annotated[int, Meta(ge=-MAX_INT - 1, le=MAX_INT)]
Size = Annotated[int, Meta(ge=0, le=MAX_INT)]
Small = Annotated[int, Meta(ge=0, le=2**31 - 1)]  # what processes and ranks are counted with
Seconds = Annotated[float, Meta(ge=0, lt=9_223_372_036)]  # in nanoseconds it has to fit 64 bits: since 1970 up to 2262
Status = Annotated[str, Meta(pattern=r"^(running|finished|failed|interrupted|crashed)\Z")]
NonFinite: TypeAlias = Literal["NaN", "Infinity", "-Infinity"]
Number: TypeAlias = float | bool | NonFinite

_NON_FINITE = {"NaN": nan, "Infinity": inf, "-Infinity": -inf}


class Event(Struct, tag_field="kind", omit_defaults=True, gc=False):
    """What all records share. The journal sets ``seq`` and ``at`` when it appends."""

    v: Size = 0
    seq: Seq = 0
    at: Seconds = 0.0


class Fault(Struct, omit_defaults=True):
    """An exception, as text."""

    type: str
    message: str = ""
    traceback: str = ""


class RunStart(Event, tag="run.start", kw_only=True):
    """The first event of each writer: which run, and who writes.

    ``role`` is "owner" for the process that opened the run, "worker" for further writers (other ranks, child
    processes), "witness" for the record of another writer's death, with that writer's other fields (see
    :mod:`tachograph.journal.witnesses`). ``host``, ``boot``, ``pid``, ``born``, ``namespace`` and ``machine`` identify
    the process (see :class:`tachograph.runtime.process.Process`), so that a reader can tell whether it still lives.
    ``opener`` is "user" or the name of the plug-in whose call opened the run. ``sinks`` are the URLs that the run is
    sent to, without anything secret.
    """

    run: str
    writer: str
    role: str
    host: str
    boot: str
    pid: Small
    born: Size
    rank: Small = 0
    attempt: Small = 0
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

    A witness records the end of another writer, ``of``, whose last event has the number ``last``: the status is
    "crashed", the time that of this last event.
    """

    status: Status
    error: Fault | None = None
    seconds: Seconds = 0.0
    overhead: Seconds = 0.0
    of: str = ""
    last: Size = 0


class Params(Event, tag="params", kw_only=True):
    """Hyperparameters; names with dots where they were nested."""

    values: dict[str, Any]


class Metrics(Event, tag="metrics", omit_defaults=False):
    """Points that share one step. Positional and first in line for speed: see ``Journal.log``."""

    step: Step = 0
    values: dict[str, Number] = {}


class Tags(Event, tag="tags", kw_only=True):
    """Labels; the last value of a name counts."""

    values: dict[str, str]


class Environment(Event, tag="environment", kw_only=True):
    """Facts on where the run ran. Several events add up, key by key."""

    values: dict[str, Any]


class Dataset(Event, tag="dataset", kw_only=True):
    """What was trained or evaluated on. ``profile`` is a ``data.fingerprint.Fingerprint`` as plain values."""

    name: str
    role: str
    digest: str = ""
    rows: Size | None = None
    columns: Size | None = None
    source: str | None = None
    version: str | None = None
    profile: dict[str, Any] = {}


class Member(Struct):
    """One file of a folder artifact. ``path`` is relative, with forward slashes."""

    path: str
    digest: str
    size: Size


class Artifact(Event, tag="artifact", kw_only=True):
    """A file or folder, kept in the blob store under its digest. ``type`` is what the API calls ``kind``."""

    name: str
    type: str
    digest: str
    size: Size
    filename: str
    step: Step | None = None
    members: list[Member] | None = None
    meta: dict[str, Any] = {}


class Release(Event, tag="release", kw_only=True):
    """The writer no longer needs the bytes of blobs that it had kept for artifacts: they may be deleted."""

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


class _Numbered(Struct):
    seq: Seq


class _Envelope(Struct):
    """What can be read of every event."""

    kind: str
    seq: Seq
    v: Size = 0
    at: Seconds = 0.0


_decode_known = msgspec.json.Decoder(Known).decode
_decode_known_lines = msgspec.json.Decoder(Known).decode_lines
_decode_numbered = msgspec.json.Decoder(_Numbered).decode
_decode_envelope = msgspec.json.Decoder(_Envelope).decode
_decode_plain = msgspec.json.Decoder(dict[str, Any]).decode
_decode_any = msgspec.json.Decoder().decode


def decode(line: bytes | str) -> Event:
    """One line (without its line end) as an event.

    Raises ValueError (``msgspec.DecodeError`` is one) where the line is no JSON object with ``seq`` and ``kind``, or a
    known kind lacks a field or holds what no reader could take.
    """
    try:
        event = _decode(line)
    except RecursionError:
        raise ValueError("not an event: it is nested too deep") from None
    _check_seq(event)
    if _is_too_deep(line.encode() if isinstance(line, str) else line):
        raise ValueError(f"it is nested deeper than {DEEPEST} levels")
    return event


def sequence_number(line: bytes) -> int:
    """The number of a line, whatever else is in it. Raises ValueError where it has none."""
    try:
        return _decode_numbered(line).seq
    except RecursionError:
        raise ValueError("not an event: it is nested too deep") from None


def kind(line: bytes) -> str:
    """The kind of a line, whatever else is in it. Raises ValueError where it has none."""
    try:
        return _decode_envelope(line).kind
    except RecursionError:
        raise ValueError("not an event: it is nested too deep") from None


def beginning(event: type[Event]) -> bytes:
    """How a line begins that we wrote of such an event: to look for it in bytes that need not be decoded."""
    return b'{"kind":"%s"' % str(event.__struct_config__.tag).encode()


def decode_lines(lines: bytes) -> list[Event]:
    """Whole lines at once, each as :func:`decode` gives it. Raises ValueError where one of them is damaged, blank, or
    of an unknown kind."""
    try:
        events: list[Any] = _decode_known_lines(lines)
    except RecursionError:
        raise ValueError("not events: one is nested too deep") from None
    if not _are_lines(lines, len(events)):
        raise ValueError("not events, each on a line of its own")
    least = len(events)  # brackets that there are, however flat the events
    for event in events:
        if type(event) is Metrics:
            least += bool(event.values)
        else:
            _check(event)
        _check_seq(event)
    if _brackets(lines) - least >= DEEPEST and any(map(_is_too_deep, lines.split(b"\n"))):
        raise ValueError(f"one is nested deeper than {DEEPEST} levels")
    return events


def _are_lines(text: bytes, count: int) -> bool:
    """Whether the ``count`` objects that make up a text have a line each, which JSON does not ask for."""
    return (
        text.startswith(b"{") and text.endswith(b"}\n")
        and text.count(b"}\n{") + 1 == text.count(b"\n") == count
    )  # fmt: skip


def _decode(line: bytes | str) -> Event:
    try:
        event: Event = _decode_known(line)
    except msgspec.ValidationError as error:
        return _decode_unknown(line, error)
    _check(event)
    return event


def _decode_unknown(line: bytes | str, error: msgspec.ValidationError) -> Unknown:
    event = _decode_envelope(line)
    if event.kind in KINDS and event.v <= VERSION:
        raise ValueError(f"a {event.kind} event with missing or mistyped fields: {error}")
    return Unknown(v=event.v, seq=event.seq, at=event.at, name=event.kind, fields=_decode_plain(line))


def _check_seq(event: Event) -> None:
    if event.seq == 0:  # which it has where none was written
        raise ValueError("the event has no sequence number")


def _check(event: Event) -> None:
    """Raises ValueError for plain values that no reader could take."""
    if isinstance(event, Params | Environment):
        _check_numbers(event.values.values())
    elif isinstance(event, Dataset):
        _check_numbers(event.profile.values())
    elif isinstance(event, Artifact | Link):
        _check_numbers(event.meta.values())
    if isinstance(event, Params):
        for value in event.values.values():
            param(value)


def _check_numbers(values: Iterable[Any]) -> None:
    for value in values:
        if isinstance(value, int) and abs(value) > sys.float_info.max:
            raise ValueError("a number that is too large")
        if isinstance(value, list | dict):
            _check_numbers(value.values() if isinstance(value, dict) else value)


def _is_too_deep(line: bytes) -> bool:
    if _brackets(line) <= DEEPEST:
        return False
    try:
        level: list[Any] = [_decode_any(line)]
    except RecursionError:
        return True
    for _ in range(DEEPEST + 1):
        contents = [value.values() if isinstance(value, dict) else value for value in level]
        level = [child for content in contents for child in content if isinstance(child, dict | list)]
    return bool(level)


def _brackets(text: bytes) -> int:
    return text.count(b"[") + text.count(b"{")


def number(value: float | str | bool) -> float:
    """A metric's value as a float, from the form in which it is written."""
    return _NON_FINITE[value] if isinstance(value, str) else float(value)


def written_number(value: float) -> Number:
    """The form in which a metric's value is written: the reverse of :func:`number`."""
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
    """A parameter's value, from the form in which it is written. Raises ValueError for what is no such form."""
    if isinstance(value, dict) and "$float" in value:
        return _non_finite(value["$float"])
    if isinstance(value, list):
        return [param(item) for item in value]
    return value


def _non_finite(name: Any) -> float:
    if not isinstance(name, str) or name not in _NON_FINITE:
        raise ValueError("a parameter's $float that is no number")
    return _NON_FINITE[name]
