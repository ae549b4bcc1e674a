"""Listening: what ``tachograph serve`` does."""

from __future__ import annotations

import socket
from pathlib import Path

import uvicorn

from tachograph.errors import Error
from tachograph.server.access import is_loopback
from tachograph.server.app import build
from tachograph.server.folder import Folder
from tachograph.server.tokens import Tokens

GRACE = 10  # seconds that requests have to end in, when the server is told to
HEADERS = [("X-Content-Type-Options", "nosniff"), ("Content-Security-Policy", "default-src 'none'; sandbox")]


def serve(root: Path, host: str, port: int, certfile: Path | None = None, keyfile: Path | None = None) -> None:
    """Serve the store in ``root`` until the process is told to end.

    Raises ``Error`` where nobody else should be let in but nothing would keep them out.
    """
    tokens = Tokens(root)
    local = is_loopback(host)
    if not local and not tokens.all():
        raise Error(
            f"{host} can be reached from other machines, and there is no token yet: make one first, with "
            f"`tachograph token create NAME --role write --root {root}`"
        )
    root.mkdir(parents=True, exist_ok=True)
    config = uvicorn.Config(
        build(Folder(root), tokens, local), host, port, log_level="warning", access_log=False, server_header=False,
        headers=HEADERS, ssl_certfile=certfile, ssl_keyfile=keyfile, timeout_graceful_shutdown=GRACE, ws="none",
        lifespan="off",
    )  # fmt: skip
    with _listening(host, port) as listener:
        scheme = "https" if certfile else "http"
        place = f"[{host}]" if ":" in host else host
        print(f"serving {root} on {scheme}://{place}:{listener.getsockname()[1]}", flush=True)
        uvicorn.Server(config).run([listener])


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
