"""Uploads: files that are received in parts. One that was cut off continues where it ended.

This has the shape of the IETF's *Resumable Uploads for HTTP* (draft-ietf-httpbis-resumable-upload), which clients and
proxies may come to support by themselves: ``HEAD`` says in ``Upload-Offset`` how much was received, ``PATCH`` adds a
part from there on, with ``Upload-Complete: ?1`` for the last one, ``DELETE`` deletes the upload. In two things it is
simpler. An upload isn't created first: its address follows from the file's digest and a name that the sender chooses,
so a sender that was killed, or never heard an answer, finds it again without having noted anything. And there are no
interim responses (104), since no client library passes them on.

Parts may be as small as a proxy likes; one that hands requests on only when it has all of them then loses one part.
"""

from __future__ import annotations

import asyncio
import re
import time
from collections.abc import Callable
from typing import Any, TypeVar

from anyio.to_thread import run_sync
from starlette.requests import Request
from starlette.responses import Response

from tachograph.server.api import bodies, path_names
from tachograph.server.api.access import Access
from tachograph.server.api.limits import Limits
from tachograph.server.api.responses import LATER, Refused, document
from tachograph.server.drafts import Busy, Draft, TooMany
from tachograph.server.storage import Storage

PIECE = 1 << 20  # of a file, that is written at a time
MINUTE = 60.0
PATIENCE = 2.0  # seconds to wait for another request to the same upload

T = TypeVar("T")

_is_name = re.compile(path_names.UPLOAD).fullmatch


class Uploads:
    """The endpoint of uploads."""

    def __init__(self, storage: Storage, limits: Limits, access: Access) -> None:
        self._storage, self._limits, self._access = storage, limits, access

    async def answer(self, request: Request) -> Response:
        """Say how much of an upload was received, add to it, or delete it."""
        upload = await self._access.owner(request), _name(request), path_names.digest(request.path_params["digest"])
        if request.method == "PATCH":
            return await self._go_on(request, upload)
        if request.method == "DELETE":
            await self._when_free(self._storage.drafts.forget, *upload)
        return _progress(await self._when_free(self._storage.drafts.size, *upload), is_complete=False)

    async def _go_on(self, request: Request, upload: tuple[str, str, str]) -> Response:
        offset, is_last = _offset(request), _is_last(request)
        limits, drafts = self._limits, self._storage.drafts
        draft = await self._when_free(drafts.upload, *upload, limits.uploads, limits.rest)
        try:
            if offset != draft.size:
                raise Refused(409, "that is not where the upload goes on", offset=draft.size)
            await receive(request, bodies.PART, self._limits, draft)
            if not is_last:
                return _progress(draft.size, is_complete=False)
            return await keep(request, self._access, draft, upload[2])
        finally:
            await run_sync(draft.close)

    async def _when_free(self, act: Callable[..., T], *arguments: Any) -> T:
        """Call ``act`` on an upload when no other request uses it. A sender that was cut off and comes again at once
        may find its own request before that one still at work."""
        until = time.monotonic() + PATIENCE
        while True:
            try:
                return await run_sync(act, *arguments)
            except TooMany as many:
                raise Refused(429, str(many), after=MINUTE) from None
            except Busy as busy:
                if time.monotonic() > until:
                    raise Refused(503, str(busy), after=LATER) from None
            await asyncio.sleep(0.05)


async def receive(request: Request, media_type: str, limits: Limits, draft: Draft) -> None:
    """Write a body to a draft; also what was received of one that is cut off."""
    buffer = bytearray()
    try:
        async for chunk in bodies.pieces(request, media_type, limits.blob - draft.size, limits.patience):
            buffer += chunk
            if len(buffer) >= PIECE:
                piece, buffer = buffer, bytearray()
                await run_sync(draft.write, piece)
    finally:
        if buffer:
            await run_sync(draft.write, buffer)


async def keep(request: Request, access: Access, draft: Draft, digest: str) -> Response:
    """Make a blob of a draft that is whole, if it has that digest; else delete it."""
    if not await access.is_good(request, "write"):
        raise Refused(401, "the token was revoked")
    size, actual = draft.size, await run_sync(draft.digest)
    if actual != digest:
        await run_sync(draft.discard)
        raise Refused(422, f"the content does not have that digest, but {actual}")
    is_new = await run_sync(draft.keep, digest)
    answer = document({"digest": digest, "size": size}, 201 if is_new else 200)
    answer.headers.update(_headers(size, is_complete=True))
    return answer


def _progress(size: int, is_complete: bool) -> Response:
    answer = document({"offset": size})
    answer.headers.update({**_headers(size, is_complete), "Cache-Control": "no-store"})
    return answer


def _headers(size: int, is_complete: bool) -> dict[str, str]:
    return {"Upload-Offset": str(size), "Upload-Complete": "?1" if is_complete else "?0"}


def _name(request: Request) -> str:
    name: str = request.path_params["upload"]
    if not _is_name(name) or name.endswith("\n"):
        raise Refused(400, "that is no name of an upload: it has 1 to 32 small letters and digits")
    return name


def _offset(request: Request) -> int:
    text = request.headers.get("upload-offset", "")
    if not (text.isascii() and text.isdecimal()) or len(text) > 15:
        raise Refused(400, "Upload-Offset is the number of bytes that came before")
    return int(text)


def _is_last(request: Request) -> bool:
    text = request.headers.get("upload-complete", "")
    if text not in ("?0", "?1"):
        raise Refused(400, "Upload-Complete is ?1 for the last part, and ?0 for each before it")
    return text == "?1"
