"""The live stream of a run on a server, followed until the run is over.

A stream that was cut off is gone on with where it was. It is followed rather than asked for what is new again and
again: its points come as they were recorded, in the moment in which they did, and only once.
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

OUTAGE = 60.0  # seconds after which a server that was there is given up
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
    """By writer the number of the last event that there is."""
    return _decode_positions(server.get(f"/runs/{quote(run)}/positions")).positions


def follow(server: Server, run: str, after: Mapping[str, int]) -> Iterator[Batch]:
    """The events of a run, those of each writer from after a number on, as they come.

    Raises ``Error`` where the server can't be reached any more, for a minute.
    """
    held, since = dict(after), 0.0  # when it was that nobody answered for the first time
    while True:
        try:
            for batch in _batches(server, run, held):
                held |= {writer: event.seq for writer, event in batch}
                since = 0.0
                yield batch
            return
        except Unanswered as error:
            since = since or time.monotonic()
            if time.monotonic() - since > OUTAGE:
                raise
            time.sleep(min(error.after or PAUSE, LONGEST_WAIT))


def _batches(server: Server, run: str, after: Mapping[str, int]) -> Iterator[Batch]:
    """Nothing when the stream has begun, and then what came together, until the run is over.

    Raises ``Unanswered`` where that isn't over, but the stream is.
    """
    batch: Batch = []
    place = msgspec.json.encode(after).decode()
    with server.request("GET", f"/runs/{quote(run)}/stream", {"Last-Event-ID": place}) as response:
        yield batch
        for fields in _messages(response.raw):
            if fields.get("event") == "run.over":
                return
            if "data" in fields:
                data = _decode(fields["data"])
                batch.append((data.writer, events.decode(bytes(data.event))))
            if "id" in fields:  # the last one of those that came together has it
                yield batch
                batch = []
    raise Unanswered(f"{server.name} has ended the stream of run {run}", after=0.2)


def _messages(raw: Any) -> Iterator[dict[str, str]]:
    """The fields of each message of a stream of server-sent events."""
    held = b""
    while piece := raw.read1(1 << 16, decode_content=True):  # whatever has come
        *messages, held = (held + piece).split(b"\n\n")
        for message in messages:
            fields = (line.partition(b": ") for line in message.split(b"\n"))
            yield {name.decode(): text.decode() for name, _, text in fields}
