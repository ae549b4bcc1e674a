"""The files of a server, fetched when they are asked for.

    <cache>/blobs/<aa>/<digest>        a file that was fetched
    <cache>/blobs/<aa>/<digest>.part   one of which a part has come: the rest is fetched next time, by any process
    <cache>/cache/                     copies under their own names

The cache is a folder of the user's own for each server, which can be deleted at any time.
"""

from __future__ import annotations

import contextlib
import os
import re
import time
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path

import msgspec

from tachograph.client.connection import ATTEMPTS, LONGEST_WAIT, Server, Unanswered
from tachograph.errors import Damaged, NotFound
from tachograph.journal.blobs import CHUNK, Blobs, digest_of
from tachograph.runtime.cache_folder import cache_folder
from tachograph.runtime.locks import locked

JSON = "application/json"
DIGESTS = 1000  # in one request

_is_digest = re.compile("sha256:[0-9a-f]{64}").fullmatch


class _Missing(msgspec.Struct):
    missing: list[str]


class Downloads:
    """Implements :class:`tachograph.store.questions.Files`."""

    def __init__(self, server: Server) -> None:
        self._server = server

    @cached_property
    def _cache(self) -> Path:
        folder = cache_folder(self._server.name)
        with contextlib.suppress(OSError):  # not there yet
            os.utime(folder)  # caches that nobody uses are deleted
        return folder

    @property
    def copies(self) -> Path:
        return self._cache / "cache"

    def blob(self, digest: str) -> Path:
        """Raises ``Damaged`` where what the server has is not what the digest says."""
        path = Blobs(self._cache).path(digest)
        if not _is_digest(digest) or (path.is_file() and digest_of(path) == digest):
            return path
        path.parent.mkdir(parents=True, exist_ok=True)
        with locked(path.with_name(".lock")):
            if not path.is_file() or digest_of(path) != digest:  # else somebody fetched it meanwhile
                self._fetch(digest, path)
        return path

    def _fetch(self, digest: str, path: Path) -> None:
        part = path.with_name(f"{path.name}.part")
        path.unlink(missing_ok=True)
        try:
            self._fetch_all(digest, part)
        except NotFound:
            part.unlink(missing_ok=True)
            return
        if (actual := digest_of(part)) != digest:
            part.unlink()
            raise Damaged(
                f"{self._server.name} gave something else for {digest}, which is {actual}: let it be verified"
            )
        os.replace(part, path)

    def _fetch_all(self, digest: str, part: Path) -> None:
        """Fetch what is not there yet, in as many attempts as it takes, as long as each of them brings something."""
        attempts = 0
        while True:
            before = _size(part)
            try:
                return self._fetch_rest(digest, part)
            except Unanswered as error:
                attempts = 1 if _size(part) > before else attempts + 1
                if error.after is None or attempts == ATTEMPTS:
                    raise
                time.sleep(min(error.after, LONGEST_WAIT))

    def _fetch_rest(self, digest: str, part: Path) -> None:
        start = max(0, _size(part) - 1)  # with the last byte that is there, since a range can't be empty
        headers = {"Range": f"bytes={start}-", "Accept-Encoding": "identity"}
        with self._server.request("GET", f"/blobs/{digest}", headers) as response, open(part, "ab") as file:
            file.truncate(start if response.status_code == 206 else 0)
            while piece := response.raw.read1(CHUNK, decode_content=True):  # what has come stays, if no more does
                file.write(piece)

    def lacking(self, digests: Sequence[str]) -> list[str]:
        lacking: list[str] = []
        for start in range(0, len(digests), DIGESTS):
            body = msgspec.json.encode(list(digests[start : start + DIGESTS]))
            answer = self._server.ask("/missing", body, JSON)
            lacking += msgspec.json.decode(answer, type=_Missing).missing
        return lacking


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except FileNotFoundError:
        return 0
