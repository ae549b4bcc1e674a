"""Listening: what ``tachograph serve`` does."""

from __future__ import annotations

import contextlib
import socket
import sys
from pathlib import Path
from typing import NamedTuple

import uvicorn

from tachograph.errors import Error
from tachograph.printable import printable
from tachograph.runtime.loopback import is_loopback
from tachograph.server.api.app import build
from tachograph.server.folder.storage import FolderStorage
from tachograph.server.storage import Storage
from tachograph.server.tokens import FolderTokens, Tokens

GRACE = 10  # seconds that requests have to end in, when the server is told to
HEADERS = [("X-Content-Type-Options", "nosniff"), ("Content-Security-Policy", "default-src 'none'; sandbox")]


class StorageAddress(NamedTuple):
    """Where runs are kept: in the folder ``root``, or in a database. Then ``blobs`` says where files go."""

    root: Path
    database: str | None = None
    blobs: str | None = None

    def opened(self) -> tuple[str, Storage, Tokens]:
        """What to call it, and what the server needs of it. Raises ``Error`` where it can't be used."""
        if self.database is None:
            return str(self.root), FolderStorage(self.root), FolderTokens(self.root)
        from tachograph.server.postgres import opening

        return opening.opened(self.database, self.blobs, self.root)


def serve(
    place: StorageAddress, host: str, port: int, certfile: Path | None = None, keyfile: Path | None = None
) -> None:
    """Serve the runs of a place until the process is told to end.

    Raises ``Error`` where nobody else should be let in but nothing would keep them out.
    """
    name, storage, tokens = place.opened()
    local = is_loopback(host)
    if not local and not tokens.all():
        where = "--database URL" if place.database else f"--root {place.root}"
        raise Error(
            f"{host} can be reached from other machines, and there is no token yet: make one first, with "
            f"`tachograph token create NAME --role write {where}`"
        )
    place.root.mkdir(parents=True, exist_ok=True)
    storage.begin()
    config = uvicorn.Config(
        build(storage, tokens, local), host, port, log_level="warning", access_log=False, server_header=False,
        headers=HEADERS, ssl_certfile=certfile, ssl_keyfile=keyfile, timeout_graceful_shutdown=GRACE, ws="none",
        lifespan="off",
    )  # fmt: skip
    _allow_connections()
    with _listening(host, port) as listener:
        scheme = "https" if certfile else "http"
        shown = f"[{host}]" if ":" in host else host
        print(printable(f"serving {name} on {scheme}://{shown}:{listener.getsockname()[1]}"), flush=True)
        uvicorn.Server(config).run([listener])


def _allow_connections() -> None:
    """As many as this process may have: the usual 1,024 are few, with one for each training and each live stream."""
    if sys.platform != "win32":
        import resource

        _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
        with contextlib.suppress(OSError, ValueError):  # "as many as there are" is not taken everywhere
            resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))


def _listening(host: str, port: int) -> socket.socket:
    """A socket that connections wait on from now, so that who reads where it is can connect at once."""
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        listener = socket.socket(family, kind, protocol)
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(address)
        listener.listen(2048)
    except OSError as error:
        raise Error(f"can't listen on {host}, port {port}: {error.strerror}") from None
    return listener
