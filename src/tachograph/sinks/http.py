"""The sink for a tachograph server: ``http://host:8321`` or ``https://host``.

``TACHOGRAPH_TOKEN`` has the token to show. What an answer means for what was sent:

    200, 201             it is stored
    429, 503             later, when the answer says
    409                  the server holds less (of a file: other) than it told us before; ask it anew how far it has
                         come, and go on there; a file of which that leads nowhere is sent in one request
    401, 403             later, in some minutes: tokens are replaced, and no event is wrong because of one
    400, 410, 413, 422   never: it is set aside with the server's reason; where that is about some lines, those alone
    anything else        later; no connection, a time-out or a broken answer, too
"""

from __future__ import annotations

import email.utils
import gzip
import os
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, BinaryIO, TypeVar
from urllib.parse import quote

import msgspec
import requests
from msgspec import Struct
from urllib3.exceptions import HTTPError

from tachograph import addresses
from tachograph.client.auth import Connections, configured_token, innermost, proxied
from tachograph.runtime import plain_files
from tachograph.sinks import Reject, Retry
from tachograph.sinks.http_uploads import Elsewhere, Kept, TooLarge, Upload, name_of

CONNECT = 5.0  # seconds
ANSWER_SECONDS = 30.0  # for each piece of an answer
FILE_PATIENCE = 10.0  # times that, for a file: it is on disk when it is answered
WHOLE_ANSWER = 120.0
ANSWER_BYTES = 16 << 20
BATCH_BYTES = 8 << 20  # of lines in one request
DIGESTS = 1000  # in one request
WHOLE_BYTES = 1 << 20  # up to which a file is sent in one request
PART_BYTES = 8 << 20  # of a file in one request: proxies limit it, and some hand on only what they have all of
TOKEN_SECONDS = 300.0  # after which to try again with a token that was refused
LONGEST_WAIT = 3600.0  # that a server can ask for
NEVER = (400, 410, 413, 422)

T = TypeVar("T")


class _Positions(Struct):
    positions: dict[str, int]


class _Stored(Struct):
    position: int


class _Missing(Struct):
    missing: list[str]


class _RejectedLine(Struct):
    line: int


class _Refusal(Struct):
    reason: str
    rejected: list[_RejectedLine] = []


class HttpSink:
    """Implements :class:`tachograph.sinks.Sink` and :class:`tachograph.sinks.BlobSink`."""

    def __init__(self, url: str) -> None:
        self.name = addresses.server(url)
        self._api = f"{self.name}/api/v1"
        self._session = Connections(configured_token())
        self._held: dict[tuple[str, str], int] = {}
        self.on_progress: Callable[[int], None] = lambda size: None
        self._part_bytes = PART_BYTES
        self._uploads: dict[str, int] = {}  # how much of those that were cut off was there

    def resume(self, run: str) -> Mapping[str, int]:
        """How far each writer's events are held."""
        positions = self._ask("GET", f"/runs/{quote(run, safe='')}/positions", _Positions).positions
        self._held = {key: seq for key, seq in self._held.items() if key[0] != run}
        self._held |= {(run, writer): seq for writer, seq in positions.items()}
        return positions

    def write(self, run: str, writer: str, lines: Sequence[bytes]) -> None:
        """Store lines of a writer, in as many requests as they need."""
        if (run, writer) not in self._held:
            held = self.resume(run).get(writer, 0)
            self._held[run, writer] = held
        path = f"/runs/{quote(run, safe='')}/writers/{quote(writer, safe='')}/events"
        for batch in _batches(lines):
            body = gzip.compress(b"\n".join(batch) + b"\n", compresslevel=1, mtime=0)
            headers = {"Content-Type": "application/x-ndjson", "Content-Encoding": "gzip"}
            after = {"after": str(self._held[run, writer])}
            answer = self._ask("POST", path, _Stored, batch, data=body, headers=headers, params=after)
            self._held[run, writer] = answer.position

    def missing(self, digests: Sequence[str]) -> Sequence[str]:
        """Those of ``digests`` that the server lacks."""
        missing: list[str] = []
        for start in range(0, len(digests), DIGESTS):
            body = msgspec.json.encode(list(digests[start : start + DIGESTS]))
            headers = {"Content-Type": "application/json"}
            missing += self._ask("POST", "/missing", _Missing, data=body, headers=headers).missing
        return missing

    def put(self, digest: str, path: Path) -> None:
        """Store a file. A larger one goes in parts; an upload that was cut off, for whatever reason, is continued."""
        address = f"/blobs/{quote(digest, safe=':')}"
        with plain_files.opened(path) as file:
            size = os.fstat(file.fileno()).st_size
            try:
                if size > WHOLE_BYTES:
                    self._upload(f"{address}/uploads/{name_of(path)}", file, size)
                    return
            except Elsewhere:
                file.seek(0)
            headers = {"Content-Type": "application/octet-stream"}
            self._ask("PUT", address, Kept, data=file, headers=headers, patience=FILE_PATIENCE)

    def _upload(self, address: str, file: BinaryIO, size: int) -> None:
        upload = Upload(self._ask, address, file, size, self._uploads.pop(address, 0), self._part_bytes)
        upload.on_progress = self.on_progress
        try:
            upload.send()
        except Retry:
            self._uploads[address] = upload.at
            raise
        finally:
            self._part_bytes = upload.part_bytes

    def close(self) -> None:
        """Close the connections."""
        self._session.close()

    def _ask(
        self, method: str, path: str, expected: type[T], lines: Sequence[bytes] = (), patience: float = 1.0, **more: Any
    ) -> T:
        """The server's answer to a request about ``lines``."""
        request = {**more, "timeout": (CONNECT, patience * ANSWER_SECONDS), "allow_redirects": False, "stream": True}
        try:
            with self._session.request(method, self._api + path, **request) as response:
                content = _content(response)
        except (requests.RequestException, HTTPError) as error:
            raise Retry(why=f"{self.name} does not answer{proxied(error)}: {innermost(error)}") from error
        if response.status_code in (200, 201):
            try:
                return msgspec.json.decode(content, type=expected)
            except ValueError:
                raise Retry(why=f"what answers at {self.name} is no tachograph server") from None
        raise self._refused(response, content, lines)

    def _refused(self, response: requests.Response, content: bytes, lines: Sequence[bytes]) -> Retry | Reject:
        status = response.status_code
        try:
            refusal = msgspec.json.decode(content, type=_Refusal)
        except ValueError:  # of a proxy, whose word is no verdict on events
            kind = TooLarge if status == 413 else Retry
            return kind(_retry_after(response), f"{self.name} answers {status}: {response.reason}")
        why = f"{self.name} answers {status}: {refusal.reason}"
        if status in (401, 403):
            return Retry(TOKEN_SECONDS, why)
        if status not in NEVER:
            kind = Elsewhere if status == 409 else Retry
            return kind(_retry_after(response), why)
        if status == 413 and len(lines) > 1:  # fewer at once may do
            return Reject((), why)
        rejected = [lines[each.line - 1] for each in refusal.rejected if 0 < each.line <= len(lines)]
        return Reject(rejected or lines, why)


def _batches(lines: Sequence[bytes]) -> Iterator[list[bytes]]:
    batch: list[bytes] = []
    size = 0
    for line in lines:
        if batch and size + len(line) > BATCH_BYTES:
            yield batch
            batch, size = [], 0
        batch.append(line)
        size += len(line) + 1
    if batch:
        yield batch


def _content(response: requests.Response) -> bytes:
    """An answer's content, of bounded size and within a bounded time."""
    content, end = b"", time.monotonic() + WHOLE_ANSWER
    while piece := response.raw.read1(1 << 16, decode_content=True):  # whatever has come
        content += piece
        if len(content) > ANSWER_BYTES or time.monotonic() > end:
            raise requests.ReadTimeout("its answer does not come to an end")
    return content


def _retry_after(response: requests.Response) -> float | None:
    """How many seconds to wait, by the answer's header, which gives a number or a date; None where it says nothing."""
    header = response.headers.get("Retry-After", "").strip()
    if header.isdecimal():
        return min(float(header), LONGEST_WAIT)
    at = _time(header)
    if at is None:
        return None
    now = _time(response.headers.get("Date", "")) or time.time()  # by the clock of who says so: ours may be wrong
    return min(max(0.0, at - now), LONGEST_WAIT)


def _time(header: str) -> float | None:
    try:
        return email.utils.parsedate_to_datetime(header).timestamp()
    except ValueError:
        return None
