"""The endpoints that receive events and files."""

from __future__ import annotations

import msgspec
from anyio.to_thread import run_sync
from starlette.requests import Request
from starlette.responses import Response

from tachograph.server.api import batch, bodies, path_names, uploads
from tachograph.server.api.access import Access
from tachograph.server.api.limits import Limits
from tachograph.server.api.responses import Refused, document
from tachograph.server.storage import Gap, Gone, Storage

_decode_digests = msgspec.json.Decoder(list[str]).decode


class Receiving:
    """The endpoints for senders."""

    def __init__(self, storage: Storage, limits: Limits, access: Access) -> None:
        self._storage, self._limits, self._access = storage, limits, access

    async def positions(self, request: Request) -> Response:
        run = path_names.name(request.path_params["run"], "run")
        return document({"run": run, "positions": await run_sync(self._storage.positions, run)})

    async def events(self, request: Request) -> Response:
        """Keep a batch of events; those that are kept already are left as they are."""
        run = path_names.name(request.path_params["run"], "run")
        writer = path_names.name(request.path_params["writer"], "writer")
        after = _after(request)
        limits = self._limits
        body = await bodies.plain(request, bodies.LINES, limits.body, limits.plain, limits.patience)
        try:
            position, stored = await run_sync(self._append, run, writer, after, body)
        except Gap as gap:
            raise Refused(409, str(gap), position=gap.position) from None
        except Gone as gone:
            raise Refused(410, str(gone)) from None
        return document({"position": position, "stored": stored})

    def _append(self, run: str, writer: str, after: int | None, body: bytes) -> tuple[int, int]:
        events = batch.read(run, writer, body, self._limits.line)
        return self._storage.append(run, writer, events.seqs[0] - 1 if after is None else after, events)

    async def missing(self, request: Request) -> Response:
        """Which of the digests in the body are not kept."""
        limits = self._limits
        body = await bodies.plain(request, bodies.JSON, limits.body, limits.body, limits.patience)
        try:
            texts = _decode_digests(body)
        except ValueError as error:
            raise Refused(422, f"that is no list of digests: {error}") from None
        if len(texts) > limits.digests:
            raise Refused(413, f"ask for {limits.digests} digests at most")
        digests = list(dict.fromkeys(map(path_names.digest, texts)))
        ask = self._storage.missing if await self._access.is_good(request, "write") else self._storage.lacking
        return document({"missing": list(await run_sync(ask, digests))})

    async def blob(self, request: Request) -> Response:
        """Keep a file, if it has the digest of its address."""
        digest = path_names.digest(request.path_params["digest"])
        draft = await run_sync(self._storage.drafts.new)
        try:
            await uploads.receive(request, bodies.BYTES, self._limits, draft)
            return await uploads.keep(request, self._access, draft, digest)
        finally:
            await run_sync(draft.close)


def _after(request: Request) -> int | None:
    text = request.query_params.get("after")
    if text is None:
        return None
    if not (text.isascii() and text.isdecimal()) or len(text) > 18:
        raise Refused(400, "after is the number of an event, or 0")
    return int(text)
