"""The addresses of stores and sinks, taken apart."""

from __future__ import annotations

import re
from urllib.parse import SplitResult, urlsplit

from tachograph.errors import Error

STORE = "a store is a folder, or behind file://, https:// or s3://, gs://, az://"
SERVER = "a server's URL is like https://host:8321, without more"
_CONTROL = re.compile(r"[\0-\x1f\x7f]")
_HOST = re.compile(r"(\[[^\[\]]+\]|[^\[\]\s]*?)(:\d*)?")


class NoAddress(Error, ValueError):
    """A URL that leads nowhere, as it is written."""


def split(url: str, like: str) -> SplitResult:
    """The parts of a URL. Raises ``NoAddress`` for one that can't be taken apart; its line begins with ``like``, which
    says what a good one looks like, and doesn't repeat it: there may be a password in it."""
    if _CONTROL.search(url):
        raise NoAddress(f"{like}: this one has a character in it that can't be shown")
    try:
        parts = urlsplit(url)
        is_good = parts.port != 0 and _HOST.fullmatch(parts.netloc.rpartition("@")[2])  # a port that is none raises
    except ValueError:
        is_good = None
    if not is_good:
        raise NoAddress(f"{like}: the host or the port of this one can't be read")
    return parts


def server(url: str) -> str:
    """The URL of a server, without a slash at its end. Raises ``NoAddress``."""
    parts = split(url, SERVER)
    if parts.username or parts.password or parts.query or parts.fragment or not parts.hostname:
        raise NoAddress(f"{SERVER}: not one for {parts.hostname or 'no host'}")
    return url.rstrip("/")
