"""The live stream of a run on a server, followed until the run is over.

Its events come as they were recorded, at once, and each of them once. A stream that was cut off is resumed where it
was.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from typing import Any
from urllib.parse import quote

import msgspec

from tachograph import events
from tachograph.client.connection import LONGEST_WAIT, Server, Unanswered
from tachograph.events import Event

OUTAGE = 60.0  # seconds without an answer, after which a server is given up
PAUSE = 1.0

Batch = list[tuple[str, Event]]  # of each event its writer


class _Data(msgspec.Struct):
    writer: str
    event: msgspec.Raw


class _Positions(msgspec.Struct):
    positions: dict[str, int]


_decode = msgspec.json.Decoder(_Data).decode
_decode_positions = msgspec.json.Decoder(_Positions).decode


def positions(server: Server, run: str) -> dict[str, int]:
    """The number of the last event of each writer of a run, by the writer's id."""
    return _decode_positions(server.get(f"/runs/{quote(run)}/positions")).positions


def follow(server: Server, run: str, after: Mapping[str, int]) -> Iterator[Batch]:
    """The events of a run as they come, from each writer those behind the number in ``after``.

    Raises ``Error`` where the server could not be reached for a minute.
    """
    last, since = dict(after), 0.0  # by writer the number of the last event; since when nobody answers
    while True:
        try:
            for batch in _batches(server, run, last):
                last |= {writer: event.seq for writer, event in batch}
                since = 0.0
                yield batch
            return
        except Unanswered as error:
            since = since or time.monotonic()
            if time.monotonic() - since > OUTAGE:
                raise
            time.sleep(min(error.after or PAUSE, LONGEST_WAIT))


def _batches(server: Server, run: str, after: Mapping[str, int]) -> Iterator[Batch]:
    """An empty batch when the stream has begun, then those events together that came together, until the run is over.

    Raises ``Unanswered`` where the stream ends before the run does.
    """
    batch: Batch = []
    position = msgspec.json.encode(after).decode()
    with server.request("GET", f"/runs/{quote(run)}/stream", {"Last-Event-ID": position}) as response:
        yield batch
        for fields in _messages(response.raw):
            if fields.get("event") == "run.over":
                return
            if "data" in fields:
                data = _decode(fields["data"])
                batch.append((data.writer, events.decode(bytes(data.event))))
            if "id" in fields:  # the last one of a batch has it
                yield batch
                batch = []
    raise Unanswered(f"{server.name} has ended the stream of run {run}", after=0.2)


def _messages(raw: Any) -> Iterator[dict[str, str]]:
    """The fields of each message of a stream of server-sent events."""
    rest = b""
    while piece := raw.read1(1 << 16, decode_content=True):  # whatever has come
        *messages, rest = (rest + piece).split(b"\n\n")
        for message in messages:
            fields = (line.partition(b": ") for line in message.split(b"\n"))
            yield {name.decode(): text.decode() for name, _, text in fields}
