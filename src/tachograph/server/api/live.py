"""The live stream of a run: server-sent events.

Each has the kind of the run's event as its type, and ``{"writer": ..., "event": ...}`` as its data. The last one of a
chunk has an id: the positions of all writers. A client that shows it (``Last-Event-ID``) continues from there. The last
of all is ``run.over``, with the run's status. A chunk is read when the one before has been sent, so that a slow reader
costs one buffer and nothing else.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from functools import cached_property

import msgspec
from anyio import CapacityLimiter
from anyio.to_thread import run_sync
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse

from tachograph.errors import NotFound
from tachograph.events import KINDS
from tachograph.server.api import path_names
from tachograph.server.api.access import Access
from tachograph.server.api.limits import Limits
from tachograph.server.api.responses import LATER, Refused
from tachograph.server.storage import Storage, Tail, Unavailable

PERIOD = 0.25  # seconds between two looks where nothing is new
LOOKS = 2  # at the same time
RECHECK = 1.0  # seconds between two looks at the token, and at whether the run is over
QUIET = 15.0  # seconds after which an empty line shows that the connection lives

_decode_positions = msgspec.json.Decoder(dict[str, int]).decode


class Live:
    """The endpoint that streams."""

    def __init__(self, storage: Storage, limits: Limits, access: Access) -> None:
        self._storage, self._limits, self._access = storage, limits, access
        self._open = 0

    async def stream(self, request: Request) -> Response:
        run = path_names.name(request.path_params["run"], "run")
        positions = _positions(request)
        try:
            run, _ = await run_sync(self._status, run)
        except NotFound as error:
            raise Refused(404, str(error)) from None
        if self._open >= self._limits.streams:
            raise Refused(503, "too many live streams are open", after=LATER)
        tail = self._storage.tail(run, positions)
        return StreamingResponse(
            self._counted(request, run, tail, positions),
            headers={"Cache-Control": "no-store", "X-Accel-Buffering": "no"},
            media_type="text/event-stream",
        )

    def _status(self, key: str) -> tuple[str, str]:
        """The run's id and status."""
        run = self._storage.ask(lambda store: store.run(key))
        return run.id, run.status

    @cached_property
    def _looks(self) -> CapacityLimiter:
        """Lets few threads look for new events, however many streams there are: the others are for all else."""
        return CapacityLimiter(LOOKS)

    async def _counted(self, request: Request, run: str, tail: Tail, positions: dict[str, int]) -> AsyncIterator[bytes]:
        self._open += 1
        try:
            async for chunk in self._chunks(request, run, tail, positions):
                yield chunk
        finally:
            self._open -= 1

    async def _chunks(self, request: Request, run: str, tail: Tail, positions: dict[str, int]) -> AsyncIterator[bytes]:
        yield b": this is the live stream\n\n"
        status, checked, sent = "running", 0.0, time.monotonic()
        while True:
            if time.monotonic() - checked > RECHECK:
                if not await self._access.is_good(request, "read"):
                    return
                # The status is read before what is new, so that what came just before the end is not missed.
                try:
                    (_, status), checked = await run_sync(self._status, run, limiter=self._looks), time.monotonic()
                except (NotFound, Unavailable):  # a client that comes again learns why
                    return
            chunk = await run_sync(_next_chunk, tail, positions, limiter=self._looks)
            if chunk:
                yield chunk
                sent = time.monotonic()
                continue
            if status != "running":
                yield b'event: run.over\ndata: {"status":"%s"}\n\n' % status.encode()
                return
            if time.monotonic() - sent > QUIET:
                yield b":\n\n"
                sent = time.monotonic()
            await asyncio.sleep(PERIOD)


def _next_chunk(tail: Tail, positions: dict[str, int]) -> bytes:
    """The new events as they are sent; ``positions`` is brought up to date."""
    parts = []
    for event in tail.new():
        positions[event.writer] = event.seq
        kind = event.kind if event.kind in KINDS else "unknown"
        data = b'{"writer":%s,"event":%s}' % (msgspec.json.encode(event.writer), event.line.replace(b"\r", b" "))
        parts.append(b"event: %s\ndata: %s\n\n" % (kind.encode(), data))
    if not parts:
        return b""
    parts[-1] = b"id: %s\n%s" % (msgspec.json.encode(positions), parts[-1])
    return b"".join(parts)


def _positions(request: Request) -> dict[str, int]:
    try:
        return _decode_positions(request.headers.get("last-event-id", "{}"))
    except ValueError:
        raise Refused(400, "Last-Event-ID is no id of an event of this stream") from None
