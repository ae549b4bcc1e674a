"""The endpoints for upkeep: removing runs, and deleting files that nothing refers to any more."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import msgspec
from anyio.to_thread import run_sync
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse

from tachograph.server.api import path_names
from tachograph.server.api.access import Access
from tachograph.server.api.responses import Refused, document
from tachograph.server.storage import Storage
from tachograph.store.run_record import RunRecord
from tachograph.store.runs import with_children
from tachograph.store.store import Store

QUIET = 10.0  # seconds after which an empty line shows that the connection lives
MOST_DAYS = 36_500


class Upkeep:
    """The endpoints that delete."""

    def __init__(self, storage: Storage, access: Access) -> None:
        self._storage, self._access = storage, access

    async def remove(self, request: Request) -> Response:
        """Remove a run with all below it, for good."""
        id = path_names.name(request.path_params["run"], "run")
        force, by = _is_true(request, "force"), await self._access.name(request)
        runs = await run_sync(self._remove, id, force, by)
        return document({"removed": [{"id": run.id, "name": run.name} for run in runs]})

    def _remove(self, id: str, force: bool, by: str) -> list[RunRecord]:
        runs = self._storage.ask(lambda store: _run_with_children(store, id))
        for run in runs:
            if run.status == "running" and not force:
                raise Refused(409, f"run {run.id} ({run.name}) is still running: nothing was removed")
        self._storage.remove([(run.id, run.name) for run in reversed(runs)], by)
        return runs

    async def collect(self, request: Request) -> Response:
        """Delete files that nothing refers to. While that takes long, empty lines are sent."""
        dry, days = _is_true(request, "dry_run"), _days(request)
        work = asyncio.ensure_future(run_sync(self._collect, dry, days))
        await asyncio.wait([work], timeout=QUIET)
        if work.done():
            return Response(work.result(), media_type="application/json")
        return StreamingResponse(_awaited(work), media_type="application/json")

    def _collect(self, dry: bool, days: int) -> bytes:
        return msgspec.json.encode(self._storage.collect(dry, days))


async def _awaited(work: asyncio.Future[bytes]) -> AsyncIterator[bytes]:
    while not work.done():
        yield b"\n"
        await asyncio.wait([work], timeout=QUIET)
    yield work.result()


def _run_with_children(store: Store, id: str) -> list[RunRecord]:
    """The run of that id and all below it. Raises :class:`Refused`."""
    store.refresh()
    if store.questions.find(id).how != "id":
        removal = store.questions.removed(id)
        raise Refused(410, removal) if removal else Refused(404, f"there is no run {id}")
    return list(with_children(store.run(id)))


def _is_true(request: Request, name: str) -> bool:
    text = request.query_params.get(name, "false")
    if text not in ("true", "false"):
        raise Refused(400, f"{name} is true or false")
    return text == "true"


def _days(request: Request) -> int:
    text = request.query_params.get("compress_after", "30")
    if not (text.isascii() and text.isdecimal()) or len(text) > 9 or int(text) > MOST_DAYS:
        raise Refused(400, f"compress_after is a number of days, {MOST_DAYS} at most")
    return int(text)
