"""Who may do what, and how often."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from anyio.to_thread import run_sync
from starlette.requests import Request
from starlette.responses import Response

from tachograph.runtime.loopback import is_loopback
from tachograph.server.api.limits import Limits, RequestRates
from tachograph.server.api.responses import Refused
from tachograph.server.tokens import Token, Tokens, matching

_FORWARDED = {"forwarded", "x-forwarded-for", "x-forwarded-host", "x-real-ip", "via"}

Endpoint = Callable[[Request], Awaitable[Response]]


class Access:
    """Lets requests in. Without any token, and only if ``local`` (bound to loopback), everybody is let in."""

    def __init__(self, tokens: Tokens, limits: Limits, local: bool) -> None:
        self._tokens, self._local = tokens, local
        self._rates = RequestRates(limits.rate, limits.burst)
        self._wrong = RequestRates(limits.wrong_rate, limits.wrong_burst)

    def guarded(self, role: str, endpoint: Endpoint) -> Endpoint:
        """``endpoint``, but only for requests with a token of that role."""

        async def inner(request: Request) -> Response:
            await self.check(request, role)
            return await endpoint(request)

        return inner

    async def check(self, request: Request, role: str) -> None:
        """Raise :class:`Refused` (401, 403 or 429) unless the request may do what ``role`` may."""
        address = request.client.host if request.client else ""
        tokens = await self._all_tokens()
        if self._local and not tokens:
            _check_is_local(request)
            _let_pass(self._rates.take(address))
            return
        token = _token_of(request, tokens)
        if token is None:  # counted apart: who guesses tokens keeps out nobody with a good one behind the same proxy
            _let_pass(self._wrong.take(address))
            raise Refused(401, "a valid token is needed: set TACHOGRAPH_TOKEN (tachograph token create makes one)")
        _let_pass(self._rates.take(token.hash))
        if not token.may(role):
            raise Refused(403, f"this needs a token with the role {role}, and yours has {token.role}")

    async def is_good(self, request: Request, role: str) -> bool:
        """Whether a request that was let in would be let in again: a token may be revoked while a stream goes on."""
        tokens = await self._all_tokens()
        if self._local and not tokens:
            return True
        token = _token_of(request, tokens)
        return token is not None and token.may(role)

    async def owner(self, request: Request) -> str:
        """What the uploads of a request belong to: its token, as 16 hexadecimal digits."""
        token = _token_of(request, await self._all_tokens())
        return "0" * 16 if token is None else token.hash[:16]

    async def name(self, request: Request) -> str:
        """The name of the token that a request shows; "" where it needs none."""
        token = _token_of(request, await self._all_tokens())
        return "" if token is None else token.name

    async def _all_tokens(self) -> list[Token]:
        return self._tokens.all() if self._tokens.is_near else await run_sync(self._tokens.all)


def _token_of(request: Request, tokens: list[Token]) -> Token | None:
    """The good token that a request shows, if any."""
    scheme, _, secret = request.headers.get("authorization", "").partition(" ")
    return matching(tokens, secret.strip()) if scheme.lower() == "bearer" else None


def _let_pass(wait: float) -> None:
    if wait:
        raise Refused(429, "too many requests", after=wait)


def _check_is_local(request: Request) -> None:
    """Raise :class:`Refused` unless a request comes from this machine. A host name that only points here is not enough:
    a web page under such a name could ask us. And what a proxy passes on may come from anywhere."""
    host = request.headers.get("host", "")
    name = host.rpartition(":")[0] if not host.endswith("]") and ":" in host else host
    if not is_loopback(name):
        raise Refused(403, "this server knows no tokens, so it answers to names of this machine alone, as localhost")
    if not _FORWARDED.isdisjoint(request.headers.keys()):
        raise Refused(403, "this server knows no tokens, so it answers nothing that a proxy passes on")
