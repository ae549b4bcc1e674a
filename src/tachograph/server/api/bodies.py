"""Reading the bodies of requests, within limits of size and time."""

from __future__ import annotations

import asyncio
import zlib
from collections.abc import AsyncIterator

from starlette.requests import Request

from tachograph.server.api.responses import Refused

LINES = "application/x-ndjson"
JSON = "application/json"
BYTES = "application/octet-stream"
PART = "application/partial-upload"


async def plain(request: Request, media_type: str, packed_limit: int, limit: int, patience: float) -> bytes:
    """A whole body, unpacked where it is compressed with gzip. It has to come within ``patience`` seconds. Raises
    :class:`Refused`."""
    check_media_type(request, media_type)
    unpack = _unpacker(request.headers.get("content-encoding", "identity"), limit)
    check_length(request, packed_limit)
    try:
        async with asyncio.timeout(patience):
            async for chunk in limited(request, packed_limit):
                unpack.feed(chunk)
    except TimeoutError:
        raise Refused(408, f"the body did not come within {patience:.0f} s") from None
    return unpack.end()


async def pieces(request: Request, media_type: str, limit: int, patience: float) -> AsyncIterator[bytes]:
    """A body piece by piece. Each has to come within ``patience`` seconds. Raises :class:`Refused`."""
    check_media_type(request, media_type)
    if request.headers.get("content-encoding", "identity") != "identity":
        raise Refused(415, "files are sent as they are, without a content encoding")
    check_length(request, limit)
    chunks = limited(request, limit)
    while True:
        try:
            async with asyncio.timeout(patience):
                chunk = await anext(chunks, None)
        except TimeoutError:
            raise Refused(408, f"nothing came for {patience:.0f} s") from None
        if chunk is None:
            return
        yield chunk


async def limited(request: Request, limit: int) -> AsyncIterator[bytes]:
    """The pieces of a body as they come. Raises :class:`Refused` where they are too large together."""
    size = 0
    async for chunk in request.stream():
        size += len(chunk)
        if size > limit:
            raise Refused(413, f"the body is larger than {limit} bytes")
        if chunk:
            yield chunk


def check_media_type(request: Request, wanted: str) -> None:
    """Refuse another media type. Browsers don't send these for pages of other sites, unless the server allows it."""
    if request.headers.get("content-type", "").partition(";")[0].strip().lower() != wanted:
        raise Refused(415, f"the content type has to be {wanted}")


def check_length(request: Request, limit: int) -> None:
    """Refuse a body whose header says that it is too large, before it is sent."""
    length = request.headers.get("content-length", "0")
    if length.isdecimal() and int(length) > limit:
        raise Refused(413, f"the body is larger than {limit} bytes")


def _unpacker(encoding: str, limit: int) -> _Plain:
    encoding = encoding.strip().lower()
    if encoding not in ("identity", "gzip"):
        raise Refused(415, "the content encoding has to be gzip, or none")
    return _Gzip(limit) if encoding == "gzip" else _Plain(limit)


class _Plain:
    def __init__(self, limit: int) -> None:
        self._limit, self._content = limit, bytearray()

    def feed(self, chunk: bytes) -> None:
        if len(self._content) + len(chunk) > self._limit:
            raise Refused(413, f"the body is larger than {self._limit} bytes when it is unpacked")
        self._content += chunk

    def end(self) -> bytes:
        return bytes(self._content)


class _Gzip(_Plain):
    """Unpacks no more than the limit, however much there would be."""

    def __init__(self, limit: int) -> None:
        super().__init__(limit)
        self._inflate = zlib.decompressobj(wbits=31)

    def feed(self, chunk: bytes) -> None:
        if self._inflate.eof:
            raise Refused(400, "there is more behind the end of the gzip content")
        try:
            super().feed(self._inflate.decompress(chunk, self._limit - len(self._content) + 1))
        except zlib.error:
            raise Refused(400, "the body is no gzip content, though it says so") from None

    def end(self) -> bytes:
        if not self._inflate.eof or self._inflate.unused_data:
            raise Refused(400, "the gzip content is cut off, or something is behind its end")
        return super().end()
