"""Upkeep of what a server keeps: the server does it."""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from urllib.parse import quote

import msgspec

from tachograph.client.connection import Server
from tachograph.errors import NotFound
from tachograph.upkeep import Collected

COLLECTION_SECONDS = 6 * 3600.0  # that a collection may take


class ServerUpkeep:
    """The :class:`tachograph.upkeep.Upkeep` of the store of a server."""

    def __init__(self, url: str) -> None:
        self._server = Server(url)
        self.name = self._server.name

    def remove(self, runs: Sequence[tuple[str, str]], force: bool = False) -> None:
        for id, _ in runs:
            with contextlib.suppress(NotFound):  # it is gone: the answer to an earlier request was lost
                self._server.delete(f"/runs/{quote(id, safe='')}{'?force=true' if force else ''}")

    def sweep(self) -> None:
        """The server does so when it is started, and with each collection."""

    def collect(self, dry: bool, days: int) -> Collected:
        query = f"dry_run={'true' if dry else 'false'}&compress_after={days}"
        answer = self._server.ask(f"/collect?{query}", b"", "application/json", whole=COLLECTION_SECONDS)
        return msgspec.json.decode(answer, type=Collected)
