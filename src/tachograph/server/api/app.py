"""The application: its routes, and how exceptions become answers."""

from __future__ import annotations

from http import HTTPStatus

from anyio.to_thread import run_sync
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.routing import Route

from tachograph.server.api import openapi
from tachograph.server.api.access import Access, Endpoint
from tachograph.server.api.asking import Asking
from tachograph.server.api.limits import Limits
from tachograph.server.api.live import Live
from tachograph.server.api.receiving import Receiving
from tachograph.server.api.responses import LATER, Refused, document, refused
from tachograph.server.api.upkeep import Upkeep
from tachograph.server.api.uploads import Uploads
from tachograph.server.storage import StillReading, Storage, Unavailable
from tachograph.server.tokens import Tokens
from tachograph.store import wire_format

API = "/api/v1"
SOON = 1.0  # seconds after which a client asks again, while the server reads what is new


def build(storage: Storage, tokens: Tokens, local: bool, limits: Limits | None = None) -> Starlette:
    """The application. ``local``: it listens on this machine alone."""
    limits = limits or Limits()
    access = Access(tokens, limits, local)
    receiving, asking, live = Receiving(storage, limits, access), Asking(storage, limits), Live(storage, limits, access)
    guarded = access.guarded
    run = f"{API}/runs/{{run}}"
    get_blob, put_blob = guarded("read", asking.blob), guarded("write", receiving.blob)
    uploads, upkeep = Uploads(storage, limits, access), Upkeep(storage, access)
    get_run, remove_run = guarded("read", asking.run), guarded("admin", upkeep.remove)

    async def one_run(request: Request) -> Response:
        return await (remove_run if request.method == "DELETE" else get_run)(request)

    async def blob(request: Request) -> Response:
        return await (put_blob if request.method == "PUT" else get_blob)(request)

    routes = [
        Route(f"{API}/openapi.json", _describe),
        Route(f"{API}/health", _health(storage)),
        Route(f"{API}/runs", guarded("read", asking.runs)),
        Route(run, one_run, methods=["GET", "DELETE"]),
        Route(f"{API}/collect", guarded("admin", upkeep.collect), methods=["POST"]),
        Route(f"{run}/history", guarded("read", asking.history)),
        Route(f"{run}/stream", guarded("read", live.stream)),
        Route(f"{run}/positions", guarded("read", receiving.positions)),
        Route(f"{run}/writers/{{writer}}/events", guarded("write", receiving.events), methods=["POST"]),
        *(
            Route(f"{API}/questions/{name}", guarded("read", asking.question(name)), methods=["POST"])
            for name in wire_format.MOST
        ),
        Route(f"{API}/missing", guarded("read", receiving.missing), methods=["POST"]),
        Route(f"{API}/blobs/{{digest}}", blob, methods=["GET", "HEAD", "PUT"]),
        Route(
            f"{API}/blobs/{{digest}}/uploads/{{upload}}",
            guarded("write", uploads.answer),
            methods=["GET", "HEAD", "PATCH", "DELETE"],
        ),
    ]
    handlers = {
        Refused: refused, HTTPException: _no_such_address, ClientDisconnect: _body_cut_off, Unavailable: _unavailable,
        OSError: _store_failed, Exception: _fault,
    }  # fmt: skip
    return Starlette(routes=routes, exception_handlers=handlers)


async def _describe(request: Request) -> Response:
    return document(openapi.document())


def _health(storage: Storage) -> Endpoint:
    async def health(request: Request) -> Response:
        share = await run_sync(storage.readiness)
        return document({"status": "ready" if share == 1.0 else "reading", "done": share})

    return health


async def _no_such_address(request: Request, error: Exception) -> Response:
    """There is no such address, or not with that method."""
    assert isinstance(error, HTTPException)
    answer = document({"reason": HTTPStatus(error.status_code).phrase.lower()}, error.status_code)
    answer.headers.update(error.headers or {})
    return answer


async def _body_cut_off(request: Request, error: Exception) -> Response:
    return document({"reason": "the body was cut off"}, 400)


async def _unavailable(request: Request, error: Exception) -> Response:
    if isinstance(error, StillReading):
        return Refused(503, str(error), after=SOON, reading=error.share).answer()
    return Refused(503, str(error), after=LATER).answer()


async def _store_failed(request: Request, error: Exception) -> Response:
    """The disk is full, or gone: later it may work."""
    assert isinstance(error, OSError)
    reason = f"the server can't write or read its store now ({error.strerror or 'no reason given'})"
    return Refused(507, reason, after=LATER).answer()


async def _fault(request: Request, error: Exception) -> Response:
    return document({"reason": "a fault of the server's; its log says more"}, 500)
