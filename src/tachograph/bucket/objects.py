"""Objects in a bucket: ``s3://bucket/prefix``, ``gs://bucket/prefix``, ``az://container/prefix``.

The only module that speaks to object storage. Paths are relative to the URL. A request that fails is tried again some
times within seconds. Then :class:`tachograph.errors.Retry` is raised, whose one line says why and holds nothing secret;
FileNotFoundError where an object isn't there.

The client (obstore) runs threads of its own, which a fork doesn't take along.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar
from urllib.parse import unquote, urlsplit

from tachograph import addresses
from tachograph.bucket.credentials import Unusable, options
from tachograph.errors import Retry
from tachograph.redaction import redact_url
from tachograph.runtime.loopback import is_loopback

if TYPE_CHECKING:
    from obstore.store import ObjectStore

SCHEMES = ("s3", "gs", "az")
CONNECT, SILENCE, WHOLE = timedelta(seconds=5), timedelta(seconds=120), timedelta(seconds=300)  # of a request
RETRY = {"max_retries": 2, "retry_timeout": timedelta(seconds=20), "backoff": {"max_backoff": timedelta(seconds=1)}}
REFUSED_SECONDS = 300.0  # after which to try again with credentials that were refused
PAGE = 1000  # objects that one request lists
PIECE = 8 << 20  # bytes of one request
PIECES_AT_ONCE = 3  # a line of 2 Mbit/s sends them within the time that a request has
MOST_PIECES = 9000  # of one object: 10,000 are allowed

T = TypeVar("T")
_used_in = 0  # the process in which the client's threads are


class Object(NamedTuple):
    """An object as it is listed: its ``size`` in bytes, when it was ``changed`` in seconds since 1970, and a ``tag``
    which changes with its content."""

    path: str
    size: int
    changed: float
    tag: str


class Objects:
    """The objects below ``url``. Connects to nothing yet. Safe to use from several threads.

    Raises :class:`tachograph.bucket.credentials.Unusable` (a ValueError).
    """

    def __init__(self, url: str) -> None:
        self.name = redact_url(url).rstrip("/")
        self._store = _opened(url)

    @property
    def endpoint(self) -> str:
        """The address that serves the bucket, where it is not the cloud's own."""
        config: dict[str, Any] = dict(self._store.config or {})  # type: ignore[union-attr]
        return str(config.get("endpoint") or config.get("base_url") or "")

    # -- writing --

    def create(self, path: str, content: bytes) -> bool:
        """Store an object, unless there is one. Returns whether it was stored; where an answer was lost, False may be
        wrong."""
        import obstore

        try:
            self._ask(lambda: obstore.put(self._store, path, content, mode="create", use_multipart=False), writes=True)
        except FileExistsError:
            return False
        return True

    def put(self, path: str, content: bytes) -> None:
        """Store an object, in place of the one that there is."""
        import obstore

        self._ask(lambda: obstore.put(self._store, path, content, use_multipart=False), writes=True)

    def create_file(self, path: str, file: Path) -> bool:
        """Store a file as an object, unless there is one. A file that takes several requests replaces the one there."""
        size = file.stat().st_size
        if size <= PIECE:
            return self.create(path, file.read_bytes())
        with open(file, "rb") as source:
            length = piece_length(size)
            self.put_pieces(path, iter(lambda: source.read(length), b""), length)
        return True

    def put_pieces(self, path: str, pieces: Iterable[bytes], length: int = PIECE) -> None:
        """Store an object from its pieces, which all but the last have ``length`` bytes.

        An exception that ``pieces`` raises is raised here; then nothing is stored.
        """
        import obstore

        parts = {"use_multipart": True, "chunk_size": length, "max_concurrency": PIECES_AT_ONCE}
        self._ask(lambda: obstore.put(self._store, path, pieces, **parts), writes=True)  # type: ignore[arg-type]

    def delete(self, paths: Sequence[str]) -> None:
        """Delete objects, as far as they are there."""
        import obstore

        try:
            self._ask(lambda: obstore.delete(self._store, paths))
        except FileNotFoundError:
            for path in paths if len(paths) > 1 else ():
                self.delete([path])

    # -- reading --

    def read(self, path: str) -> bytes:
        """An object's content. Raises FileNotFoundError."""
        import obstore

        return self._ask(lambda: bytes(obstore.get(self._store, path).bytes()))

    def read_range(self, path: str, start: int, length: int) -> bytes:
        """Read ``length`` bytes of an object from ``start`` on, or as many as it has: one at least. Raises
        FileNotFoundError."""
        import obstore

        return self._ask(lambda: bytes(obstore.get_range(self._store, path, start=start, length=length)))

    def pieces(self, path: str, start: int = 0, length: int | None = None) -> Iterator[bytes]:
        """Read an object from ``start`` on, piece by piece: ``length`` bytes, or all. Raises FileNotFoundError."""
        if length is None:
            size = self.size(path)
            if size is None:
                raise FileNotFoundError(f"{self.name}/{path} is not there")
            length = size - start
        for at in range(start, start + length, PIECE):
            yield self.read_range(path, at, min(PIECE, start + length - at))

    def size(self, path: str) -> int | None:
        """An object's size in bytes, or None."""
        import obstore

        try:
            return int(self._ask(lambda: obstore.head(self._store, path))["size"])
        except FileNotFoundError:
            return None

    def listed(self, folder: str = "", after: str = "") -> Iterator[Object]:
        """The objects in ``folder`` and below, in the order of their paths; with ``after`` those behind that path.

        They come a thousand at a time, by a request for each when it is needed.
        """
        import obstore

        stream = obstore.list(self._store, folder or None, offset=after or None, chunk_size=PAGE)
        while (page := self._ask(lambda: next(stream, None))) is not None:
            for meta in page:
                yield Object(meta["path"], meta["size"], meta["last_modified"].timestamp(), meta["e_tag"] or "")

    def folders(self, folder: str = "") -> list[str]:
        """The paths of the folders right in ``folder``."""
        import obstore

        return list(self._ask(lambda: obstore.list_with_delimiter(self._store, folder or None))["common_prefixes"])

    # -- requests --

    def _ask(self, request: Callable[[], T], writes: bool = False) -> T:
        """The result of a request. Raises one of our errors where it fails."""
        global _used_in
        from obstore import exceptions

        if _used_in not in (0, os.getpid()):
            raise Retry(REFUSED_SECONDS, f"{self.name} can't be reached from a forked process: another one will send")
        _used_in = os.getpid()
        try:
            return request()
        except exceptions.AlreadyExistsError:
            raise FileExistsError(f"{self.name} has that object already") from None
        except FileNotFoundError as error:
            if error.errno is not None:  # of a file that is to be stored
                raise
            if writes or _no_bucket(error):
                raise self._failed(error) from None
            raise FileNotFoundError(f"{self.name} does not have that object") from None
        except exceptions.BaseError as error:
            raise self._failed(error) from None

    def _failed(self, error: Exception) -> Retry:
        text = str(error)
        status, code = _group(r"status code: (\d{3})", text), _group(r"<Code>(\w+)</Code>", text)
        if _no_bucket(error):
            return Retry(why=f"{self.name}: there is no such bucket; create it, or mend the URL")
        if re.search(r"169\.254\.|metadata\.google\.internal|InstanceCredentials|TokenRequest", text):
            return Retry(REFUSED_SECONDS, f"{self.name}: no credentials for it are known here")
        if status in ("401", "403"):
            why = f"{self.name} refuses what these credentials ask for ({' '.join(filter(None, (status, code)))})"
            return Retry(REFUSED_SECONDS, why)
        if status in ("301", "307"):
            return Retry(REFUSED_SECONDS, f"{self.name} lies in another region: set AWS_REGION")
        if status:
            return Retry(why=f"{self.name} answers {' '.join(filter(None, (status, code)))}")
        where = f" at {self.endpoint}" if self.endpoint else ""
        return Retry(why=f"{self.name} does not answer{where}: {_reason(text)}")


def piece_length(size: int) -> int:
    """How long the pieces of an object of ``size`` bytes are to be."""
    return max(PIECE, -(-size // MOST_PIECES))


def _group(pattern: str, text: str) -> str:
    match = re.search(pattern, text)
    return match[1] if match else ""


def _no_bucket(error: Exception) -> bool:
    return bool(re.search(r"<Code>(NoSuchBucket|ContainerNotFound)<|specified bucket does not exist", str(error)))


_REASONS = {
    "ConnectionRefused": "connection refused",
    "dns error": "its host is not known",
    "Timeout|TimedOut": "it took too long",
    "[Cc]ertificate": "its certificate is not trusted",
    "InvalidContentType|InvalidMessage": "it does not speak TLS",
    "ConnectionReset|IncompleteMessage|BrokenPipe|UnexpectedEof": "the connection broke off",
}


def _reason(text: str) -> str:
    return next((reason for pattern, reason in _REASONS.items() if re.search(pattern, text)), "the request failed")


def _opened(url: str) -> ObjectStore:
    scheme, bucket, prefix = _parts(url)
    try:
        from obstore import store
        from obstore.exceptions import BaseError
    except ImportError:
        raise Unusable(f"{scheme}:// URLs need a part that is missing: pip install 'tachograph[cloud]'") from None
    credentials = options(scheme)
    address = credentials["config"].get("endpoint") or credentials["config"].get("base_url") or ""
    client = {
        "connect_timeout": CONNECT, "read_timeout": SILENCE, "timeout": WHOLE, "user_agent": "tachograph",
        "allow_http": address.startswith("http://"),
    }  # fmt: skip
    host = urlsplit(address).hostname or ""
    if is_loopback(host):  # no proxy, not that of the environment either: one is named, and excluded for this host
        client |= {"proxy_url": address, "proxy_excludes": host}
    make: Any = {"s3": store.S3Store, "gs": store.GCSStore, "az": store.AzureStore}[scheme]
    try:
        opened: ObjectStore = make(
            bucket, prefix=prefix or None, client_options=client, retry_config=RETRY, **credentials
        )
    except (BaseError, ValueError) as error:
        raise Unusable(f"{redact_url(url)} can't be opened: {_first_line(error)}") from None
    return opened


def _first_line(error: Exception) -> str:
    return str(error).partition("\n")[0].rpartition(" error: ")[2] or type(error).__name__


def _parts(url: str) -> tuple[str, str, str]:
    like = "a bucket's URL is like s3://bucket/prefix, gs://bucket/prefix or az://container/prefix, without more"
    parts = addresses.split(url, like)
    scheme = parts.scheme.lower()
    if scheme not in SCHEMES or not parts.netloc or parts.username or parts.password or parts.query or parts.fragment:
        raise Unusable(f"{like}: not one for {parts.hostname or 'no bucket'}")
    return scheme, parts.netloc, unquote(parts.path).strip("/")
