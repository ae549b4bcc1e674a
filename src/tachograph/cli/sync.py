"""Send runs to where they are not yet.

RUN is an id, a beginning of one that no other run has, a name that no other run has, or "latest"; its children go with
it. Without one, all runs of the store are sent. Each goes to the sinks that it was recorded with, or to URL. Nothing is
sent twice: the sink says what it holds. This may be interrupted, and done beside a training that sends, too.

The exit status is 0 when all is there, 1 when something is not.
"""

from __future__ import annotations

import sys
import time
from argparse import ArgumentParser, Namespace
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

from msgspec import Struct

from tachograph import document, removal, settings, sinks
from tachograph.capture.secrets import redact_url
from tachograph.cli import words
from tachograph.cli.arguments import UsageError, add_json, add_root, complain, local_root
from tachograph.records import RunRecord
from tachograph.ship.delivery import Delivery, recorded_with
from tachograph.ship.positions import Positions
from tachograph.ship.sender import Patience
from tachograph.sinks import Retry, Sink
from tachograph.store import open_store

EXAMPLES = """\
  tachograph sync
  tachograph sync --dry-run
  tachograph sync baseline --to file:///mnt/share/team
"""
BATCH_BYTES = 512 << 10
ATTEMPTS = 5  # that get nothing over one after the other, before a sink is given up
LONGEST_WAIT = 60.0


class Part(Struct):
    """What became of a run on its way to a sink. ``lines`` and ``bytes`` were sent or, on a dry run, would be."""

    run: str
    lines: int = 0
    bytes: int = 0
    rejected: int = 0
    there: bool = False


class Way(Struct):
    """What became of all of them on their way to a sink; ``error`` where it was given up."""

    sink: str
    runs: list[Part]
    error: str | None = None

    @property
    def there(self) -> bool:
        return self.error is None and all(part.there for part in self.runs)


def configure(parser: ArgumentParser) -> None:
    """Its options."""
    parser.add_argument(
        "runs", metavar="RUN", nargs="*", help='id, beginning of an id, name, or "latest" (default: all)'
    )
    parser.add_argument("--to", metavar="URL", help="send them there, not to where they were recorded to go")
    parser.add_argument("--dry-run", action="store_true", help="only say what would be sent")
    add_root(parser)
    add_json(parser)


def run(options: Namespace) -> int:
    """0 where all is there."""
    if options.to is not None:
        _check(options.to)
    root = local_root(options)
    by_sink = _wanted(root, options.runs, options.to)
    ways = [_send(root, url, runs, options.dry_run) for url, runs in by_sink.items()]
    if options.json:
        document.write({"root": str(root), "sinks": [_plain(way) for way in ways], "there": all(w.there for w in ways)})
    else:
        _say(ways, options.dry_run)
    return 0 if all(way.there for way in ways) else 1


def _check(url: str) -> None:
    try:
        sinks.check(url)
    except ValueError as error:
        raise UsageError(str(error)) from None


def _wanted(root: Path, keys: list[str], to: str | None) -> dict[str, list[str]]:
    """The runs to send by the URL to send them to."""
    urls = {redact_url(url): url for url in settings.sinks()}  # what is recorded of them lacks what is secret
    found: dict[str, list[str]] = {}
    for run in _named(root, keys) if keys else _all(root):
        names = [to] if to is not None else recorded_with(root / "runs" / run)
        for name in names:
            found.setdefault(urls.get(name, name), []).append(run)
    return found


def _all(root: Path) -> list[str]:
    hidden = removal.hidden(root)
    return sorted(folder.name for folder in root.glob("runs/*") if folder.is_dir() and folder.name not in hidden)


def _named(root: Path, keys: list[str]) -> list[str]:
    store = open_store(root)
    try:
        return list(dict.fromkeys(one.id for key in keys for one in _with_children(store.run(key))))
    finally:
        store.close()


def _with_children(run: RunRecord) -> Iterator[RunRecord]:
    yield run
    for child in run.children:
        yield from _with_children(child)


def _send(root: Path, url: str, runs: list[str], dry: bool) -> Way:
    way = Way(redact_url(url), [Part(run) for run in runs])
    try:
        sink = sinks.open_sink(url)
    except ValueError as error:
        way.error = str(error)
        return way
    positions = Positions(root, way.sink)
    progress = _Progress(way)
    act = _count if dry else _deliver
    try:
        for part in way.runs:
            delivery = Delivery(positions, part.run)
            _patiently(partial(act, delivery, positions, part, sink, progress), delivery)
    except (Retry, OSError) as error:
        way.error = str(error)
    finally:
        progress.end()
        sink.close()
    return way


def _count(delivery: Delivery, positions: Positions, part: Part, sink: Sink, progress: Callable[[], None]) -> None:
    part.lines, part.bytes = delivery.count(sink)
    part.rejected = len(positions.rejected(part.run))
    part.there = not part.lines and not part.rejected
    progress()


def _deliver(delivery: Delivery, positions: Positions, part: Part, sink: Sink, progress: Callable[[], None]) -> None:
    for lines, size in delivery.send(sink, BATCH_BYTES):
        part.lines += lines
        part.bytes += size
        progress()
    part.rejected = len(positions.rejected(part.run))
    part.there = not part.rejected
    if delivery.is_complete():
        positions.settle(part.run)
    progress()


def _patiently(act: Callable[[], None], delivery: Delivery) -> None:
    """Try again where the sink can't take something now, as long as any of so many attempts gets on."""
    patience, attempt, progress = Patience(), 1, delivery.progress
    while True:
        try:
            act()
            return
        except (Retry, OSError) as error:
            if delivery.progress > progress:
                patience, attempt, progress = Patience(), 1, delivery.progress
            after = (error.after if isinstance(error, Retry) else None) or 0.0
            if attempt == ATTEMPTS or after > LONGEST_WAIT:
                raise
            attempt += 1
            time.sleep(max(after, patience.delay()))


class _Progress:
    """Shows on a terminal how it goes on."""

    def __init__(self, way: Way) -> None:
        self._way = way
        self._shown = 0.0
        self._is_wanted = sys.stderr.isatty()

    def __call__(self) -> None:
        if self._is_wanted and time.monotonic() - self._shown > 0.1:
            self._shown = time.monotonic()
            parts = self._way.runs
            done, size = sum(part.there for part in parts), sum(part.bytes for part in parts)
            text = f"{done:,} of {words.count(len(parts), 'run')}, {words.size(size)} to {self._way.sink}"
            print(f"\r{words.printable(text)} \x1b[K", end="", file=sys.stderr, flush=True)

    def end(self) -> None:
        """Leave the line clear."""
        if self._shown:
            print("\r\x1b[K", end="", file=sys.stderr, flush=True)


def _plain(way: Way) -> dict[str, Any]:
    return {"sink": way.sink, "runs": way.runs, "error": way.error, "there": way.there}


def _say(ways: list[Way], dry: bool) -> None:
    if not ways:
        print("no run here was recorded with a sink: --to URL names one")
    for way in ways:
        parts = way.runs
        lines, size = sum(part.lines for part in parts), sum(part.bytes for part in parts)
        verb = "would be sent" if dry else "sent"
        state = f"{sum(part.there for part in parts):,} of {words.count(len(parts), 'run')} all there"
        print(f"{way.sink}: {words.count(lines, 'line')} ({words.size(size)}) {verb}, {state}")
        if way.error is not None:
            complain(f"{way.sink} was given up ({way.error}): run tachograph sync again later")
        if rejected := sum(part.rejected for part in parts):
            complain(f"{way.sink} did not take {words.count(rejected, 'line')}: tachograph doctor says where they are")
