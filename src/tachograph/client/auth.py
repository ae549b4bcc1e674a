"""HTTP connections to a tachograph server that show the token, and short reasons why one failed."""

from __future__ import annotations

from typing import Any
from urllib.parse import urlsplit

import requests

from tachograph import settings
from tachograph.redaction import redact_url
from tachograph.runtime.loopback import is_loopback


class Connections(requests.Session):
    """Connections to a server. One on this machine is asked without a proxy, which would look for it on the machine of
    its own, and would see the token."""

    def __init__(self, token: str) -> None:
        super().__init__()
        self.headers["User-Agent"] = "tachograph"
        self.auth = Bearer(token)

    def merge_environment_settings(self, url: Any, proxies: Any, stream: Any, verify: Any, cert: Any) -> Any:
        """The settings of a request to ``url``, with what the environment says, for example of proxies."""
        host = urlsplit(url).hostname or ""
        exception = {"no_proxy": host} if is_loopback(host) else {}
        return super().merge_environment_settings(url, {**(proxies or {}), **exception}, stream, verify, cert)


def proxied(error: Exception) -> str:
    """`` through the proxy http://...``, without its password, where the request that failed went to one; else ""."""
    request = getattr(error, "request", None)
    if not isinstance(error, requests.exceptions.ProxyError) or request is None:
        return ""
    proxy = requests.utils.select_proxy(request.url, requests.utils.get_environ_proxies(request.url))
    return f" through the proxy {redact_url(proxy)}" if proxy else ""


class Bearer(requests.auth.AuthBase):
    """Shows the token; without one, too, this keeps ``requests`` from sending what a ``.netrc`` has for the host."""

    def __init__(self, token: str) -> None:
        self._token = token

    def __call__(self, request: requests.PreparedRequest) -> requests.PreparedRequest:
        if self._token:
            request.headers["Authorization"] = f"Bearer {self._token}"
        return request


def configured_token() -> str:
    """The token that is set, "" where there is none. Raises ValueError for a text that can't be one."""
    token = str(settings.get("token") or "").strip()
    if not (token.isascii() and token.isprintable()) or " " in token:
        raise ValueError("TACHOGRAPH_TOKEN is no token: it has characters that tokens don't have")
    return token


def innermost(error: Exception) -> str:
    """The innermost reason of an error: those around it repeat the address."""
    while error.args and isinstance(error.args[-1], Exception):
        error = error.args[-1]
    reason = getattr(error, "reason", None)
    return innermost(reason) if isinstance(reason, Exception) else str(error).rpartition(": ")[2]
