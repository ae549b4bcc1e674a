"""Sinks: where recordings are sent. One is chosen by the scheme of its URL.

A sink is a consumer of journals. It takes lines as they stand there (an event each, encoded, without the line end) and
says how far it has come; the shipper decides what is sent, when, and what is sent again. So a sink has no threads, no
retries, no batches and no clock of its own. It is used by one thread at a time.

An entry point of the group ``tachograph.sinks`` has the name of a scheme (``https``, ``s3``, ``mlflow+https``) and
names a callable that takes the URL and returns the sink. It shall be quick and connect to nothing: what can fail is
done by the other methods.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Protocol, runtime_checkable

from tachograph import addresses
from tachograph.errors import Reject as Reject
from tachograph.errors import Retry as Retry

GROUP = "tachograph.sinks"


class Sink(Protocol):
    """Where recordings are sent.

    ``name`` is what people see: the URL without anything secret. Each method but ``close`` may raise :class:`Retry` or
    ``OSError``.
    """

    name: str

    def resume(self, run: str) -> Mapping[str, int]:
        """The highest sequence number that the sink holds of each writer of ``run``, by the writer's id."""

    def write(self, run: str, writer: str, lines: Sequence[bytes]) -> None:
        """Store ``lines`` of that writer, in rising order of their sequence numbers. Returning means stored.

        An event that the sink holds already (the answer to an earlier call was lost, or two senders send the same run)
        is to be left as it is; the identity of an event is (run, writer, ``seq``). Numbers may be missing. Unknown
        kinds are to be kept. Raises :class:`Reject` for what the sink will never take.
        """

    def close(self) -> None:
        """Close what was opened."""


@runtime_checkable
class BlobSink(Protocol):
    """What a sink is, too, that takes files. A file comes before the event that names it."""

    def missing(self, digests: Sequence[str]) -> Sequence[str]:
        """Those of ``digests`` (``sha256:...``) that the sink does not hold."""

    def put(self, digest: str, path: Path) -> None:
        """Store the file at ``path``; returning means stored, and that its content has that digest.

        The next call may continue a transfer that was cut off. Raises :class:`Reject` (of no lines) for what the sink
        will never take.
        """


@runtime_checkable
class ReportsProgress(Protocol):
    """What a sink is, too, that reports how a file gets over: it calls ``on_progress``, which its user sets, with the
    number of bytes that went since the last call."""

    on_progress: Callable[[int], None]


@runtime_checkable
class Costly(Protocol):
    """What a sink is, too, for which each call costs money or much time: it is called seldom, with a lot at once.

    ``write`` is called with about ``portion`` bytes of lines, where there are so many. While a run goes on, what was
    recorded is handed over every ``pause`` seconds, more often in its first minutes; and at once when the run ends, or
    when somebody waits for it.
    """

    portion: int
    pause: float


Make = Callable[[str], Sink]


def schemes() -> dict[str, str]:
    """The schemes for which there is a sink, and ``module:callable`` of each."""
    from tachograph.runtime.entry_points import entry_points

    return dict(sorted(entry_points(GROUP)))


def scheme(url: str) -> str:
    """The scheme of a URL."""
    return url.partition("://")[0].lower()


def check(url: str) -> None:
    """Raise ValueError where there is no sink for ``url``."""
    available = schemes()
    if "%00" in url:
        raise ValueError("no URL has a zero byte in it")
    addresses.split(url, "a sink is written as a URL, like https://host or file:///absolute/path")
    if scheme(url) not in available:
        raise ValueError(f"there is no sink for {scheme(url)}:// URLs; there is one for {', '.join(available)}")


def open_sink(url: str) -> Sink:
    """The sink for ``url``. Raises ValueError where there is none."""
    check(url)
    module, _, name = schemes()[scheme(url)].partition(":")
    make: Make = getattr(importlib.import_module(module), name)
    return make(url)
