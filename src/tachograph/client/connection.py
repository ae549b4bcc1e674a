"""Requests to a tachograph server: ``http://host:8321`` or ``https://host``.

``TACHOGRAPH_TOKEN`` has the token to show. Waiting is bounded; each fault is an error whose line says what to do.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager

import msgspec
import requests
from urllib3.exceptions import HTTPError

from tachograph import addresses
from tachograph.client.auth import Connections, configured_token, innermost, proxied
from tachograph.errors import Error, NotFound, QueryError

CONNECT = 5.0  # seconds
SILENCE = 30.0  # seconds without a byte of an answer
WHOLE = 300.0  # seconds for all of an answer
ANSWER_BYTES = 512 << 20
ATTEMPTS = 4
STUCK = 120.0  # seconds without progress, after which a server that reads what is new is waited for no longer
LONGEST_WAIT = 10.0  # seconds before an attempt
_LENGTHS = {"content-length", "transfer-encoding"}  # every answer has one of these headers, unless it was cut off


class Unanswered(Error):
    """There was no whole answer. ``after`` is in how many seconds to ask again; None where that would be of no use.
    Where the server reads what is new before it answers, ``reading`` is the share of it that is done."""

    def __init__(self, why: str, after: float | None, reading: float | None = None) -> None:
        super().__init__(why)
        self.after, self.reading = after, reading


class _Refusal(msgspec.Struct):
    """What a server answers to a request that it refuses. ``query``: the text of the query can't be read; ``reading``:
    it reads what is new before it answers questions, of which this share is done."""

    reason: str
    query: bool = False
    reading: float | None = None


class Server:
    """A server's API. Safe to use from several threads, and in a forked child. Connects to nothing yet.

    ``on_wait`` is called again and again while the server reads what is new before it answers, with a text for people
    that says so.
    """

    def __init__(self, url: str, on_wait: Callable[[str], None] | None = None) -> None:
        self.name = addresses.server(url)
        self._sessions: dict[int, requests.Session] = {}
        self._on_wait = on_wait

    def ask(self, path: str, content: bytes, media_type: str, whole: float = WHOLE) -> bytes:
        """The answer to a question; all of it has to come within ``whole`` seconds."""
        return self._answer("POST", path, {"Content-Type": media_type}, content, whole)

    def get(self, path: str) -> bytes:
        """What is at an address."""
        return self._answer("GET", path, {})

    def delete(self, path: str) -> bytes:
        """The answer when what is at an address was deleted."""
        return self._answer("DELETE", path, {})

    def _answer(
        self, method: str, path: str, headers: Mapping[str, str], content: bytes | None = None, whole: float = WHOLE
    ) -> bytes:
        """The answer to a request. Where it doesn't come whole, it is asked for again: some times, and as long as the
        server makes progress with reading what is new."""
        attempts, progress, progressed = 0, -1.0, time.monotonic()
        while True:
            try:
                with self.request(method, path, headers, content) as response:
                    return _content(response, whole)
            except Unanswered as error:
                if error.reading is not None and error.reading != progress:
                    progress, progressed = error.reading, time.monotonic()
                is_reading = error.reading is not None and time.monotonic() - progressed < STUCK
                attempts += not is_reading
                if error.after is None or attempts == ATTEMPTS:
                    raise
                if is_reading and self._on_wait:
                    self._on_wait(str(error))
                time.sleep(min(error.after, LONGEST_WAIT))

    @contextmanager
    def request(
        self, method: str, path: str, headers: Mapping[str, str], content: bytes | None = None
    ) -> Iterator[requests.Response]:
        """A response that is no refusal, whose content is still to be read. Raises ``Error``, also while it is read."""
        address = f"{self.name}/api/v1{path}"
        timeouts = (CONNECT, SILENCE)
        try:
            with self._session.request(
                method, address, headers=headers, data=content, timeout=timeouts, allow_redirects=False, stream=True
            ) as response:
                if not _LENGTHS.intersection(map(str.lower, response.headers)):  # requests takes what came for all
                    raise requests.ConnectionError("its answer was cut off")
                if response.status_code not in (200, 206):
                    raise self._refused(response, _content(response))
                yield response
        except (requests.RequestException, HTTPError) as error:
            is_lasting = isinstance(error, requests.exceptions.SSLError | requests.exceptions.InvalidURL)
            is_nobody_there = "NewConnectionError" in repr(error) or isinstance(error, requests.ConnectTimeout)
            why = (
                f"{self.name} does not answer{proxied(error)} ({innermost(error)}): "
                "is that the address of a server which runs?"
            )
            raise Unanswered(why, after=None if is_lasting or is_nobody_there else 0.2) from error

    def _refused(self, response: requests.Response, content: bytes) -> Error:
        status = response.status_code
        try:
            refusal = msgspec.json.decode(content, type=_Refusal)
        except ValueError:
            return self.foreign(f"it answers {status} {response.reason}")
        if status in (429, 503):
            after = response.headers.get("Retry-After", "")
            why = refusal.reason if refusal.reading is not None else f"{self.name} is too busy: {refusal.reason}"
            return Unanswered(why, float(after) if after.isdecimal() else 1.0, refusal.reading)
        if status == 401 and not configured_token():
            return Error(f"{self.name} wants a token: set TACHOGRAPH_TOKEN to one that its keeper made for you")
        if status in (401, 403):
            return Error(f"{self.name} does not take this token: {refusal.reason}")
        if refusal.query:
            return QueryError(refusal.reason)
        if status == 405 or (status == 404 and refusal.reason == "not found"):  # the address, not what was asked for
            return self._older()
        return (NotFound if status in (404, 410) else Error)(f"{self.name} answers {status}: {refusal.reason}")

    def _older(self) -> Error:
        with self.request("GET", "/openapi.json", {}) as response:
            if b'"title":"tachograph"' in _content(response):
                return Error(f"{self.name} is an older server, which can't do that: let it be upgraded")
        return self.foreign("it has no such addresses")

    def foreign(self, why: str) -> Error:
        """The error for an answer that no tachograph server gives."""
        return Error(f"what answers at {self.name} is no tachograph server ({why}): look at the address")

    @property
    def _session(self) -> requests.Session:
        """This process's connections."""
        session = self._sessions.get(os.getpid())
        if session is None:
            try:
                session = Connections(configured_token())
            except ValueError as error:
                raise Error(str(error)) from None
            self._sessions = {os.getpid(): session}
        return session

    def close(self) -> None:
        """Close the connections; the next request opens them again."""
        for session in self._sessions.values():
            session.close()
        self._sessions = {}


def _content(response: requests.Response, whole: float = WHOLE) -> bytes:
    """An answer's content, of bounded size and within a bounded time."""
    pieces, size, end = [], 0, time.monotonic() + whole
    while piece := response.raw.read(1 << 20, decode_content=True):
        pieces.append(piece)
        size += len(piece)
        if size > ANSWER_BYTES or time.monotonic() > end:
            raise requests.ReadTimeout("its answer does not come to an end")
    return b"".join(pieces)
