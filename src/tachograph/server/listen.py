"""The socket, and the process that serves: what ``tachograph serve`` does."""

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

GRACE = 10  # seconds for requests to end in, when the server is told to end
HEADERS = [("X-Content-Type-Options", "nosniff"), ("Content-Security-Policy", "default-src 'none'; sandbox")]


class StorageAddress(NamedTuple):
    """Where runs are kept: in the folder ``root``, or in a database; then ``blobs`` says where files are kept."""

    root: Path
    database: str | None = None
    blobs: str | None = None

    def open(self) -> tuple[str, Storage, Tokens]:
        """Its name for people, its storage and its tokens. Raises ``Error`` where it can't be used."""
        if self.database is None:
            return str(self.root), FolderStorage(self.root), FolderTokens(self.root)
        from tachograph.server.postgres import opening

        return opening.open_database(self.database, self.blobs, self.root)


def serve(
    address: StorageAddress, host: str, port: int, certfile: Path | None = None, keyfile: Path | None = None
) -> None:
    """Serve the runs at an address until the process is told to end.

    Raises ``Error`` where other machines can reach the server, but there is no token to keep them out.
    """
    name, storage, tokens = address.open()
    local = is_loopback(host)
    if not local and not tokens.all():
        where = "--database URL" if address.database else f"--root {address.root}"
        raise Error(
            f"{host} can be reached from other machines, and there is no token yet: make one first, with "
            f"`tachograph token create NAME --role write {where}`"
        )
    address.root.mkdir(parents=True, exist_ok=True)
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
    """Allow as many connections as the system lets this process have. The usual 1,024 are few, with one for each
    training and each live stream."""
    if sys.platform != "win32":
        import resource

        _, limit = resource.getrlimit(resource.RLIMIT_NOFILE)
        with contextlib.suppress(OSError, ValueError):  # not every system takes "unlimited"
            resource.setrlimit(resource.RLIMIT_NOFILE, (limit, limit))


def _listening(host: str, port: int) -> socket.socket:
    """A socket that listens already: whoever reads its address can connect at once."""
    try:
        family, kind, protocol, _, socket_address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        listener = socket.socket(family, kind, protocol)
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(socket_address)
        listener.listen(2048)
    except OSError as error:
        raise Error(f"can't listen on {host}, port {port}: {error.strerror}") from None
    return listener
