"""Send runs to where they are not yet.

RUN is an id, a beginning of one that no other run has, a name that no other run has, or "latest"; its children go with
it. Without one, all runs of the store are sent. Each goes to the sinks that it was recorded with, or to URL. Nothing is
sent twice: the sink says what it holds. Only of runs that are over, that were all there, and that have not changed
since, it is not asked again, unless they are named or --again is given. Of processes that were killed on this machine
it is put on record that they are no more, which nobody else can know. This may be interrupted, and done beside a
training that sends, too.

The exit status is 0 when all is there, 1 when something is not.
"""

from __future__ import annotations

import time
from argparse import ArgumentParser, Namespace
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

from msgspec import Struct

from tachograph import settings, sinks, wording
from tachograph.cli.arguments import UsageError, add_json, add_root, local_root, place
from tachograph.cli.output import complain, say
from tachograph.cli.view.progress import Progress
from tachograph.journal import tombstones, witnesses
from tachograph.redaction import REDACTED, redact_url
from tachograph.runtime.backoff import Backoff, requested_delay
from tachograph.ship.delivery import Amount, Delivery, Unread, recorded_with
from tachograph.ship.positions import Positions, begin_again, of_store
from tachograph.sinks import ReportsProgress, Retry, Sink
from tachograph.store import document
from tachograph.store.store import open_store
from tachograph.upkeep import with_children

EXAMPLES = """\
  tachograph sync
  tachograph sync --dry-run
  tachograph sync baseline --to file:///mnt/share/team
"""
BATCH_BYTES = 512 << 10
ATTEMPTS = 5  # that get nothing over one after the other, before a sink is given up
LONGEST_WAIT = 60.0


class SyncedRun(Struct):
    """What became of a run on its way to a sink. Lines and files, and bytes of them, were sent or, on a dry run, would
    be."""

    run: str
    lines: int = 0
    bytes: int = 0
    files: int = 0
    file_bytes: int = 0
    rejected: int = 0
    there: bool = False
    error: str | None = None  # where it can't be read here

    def add(self, amount: Amount) -> None:
        """So much more."""
        self.lines += amount.lines
        self.bytes += amount.bytes
        self.files += amount.files
        self.file_bytes += amount.file_bytes


class Way(Struct):
    """What became of all of them on their way to a sink; ``error`` where it was given up. The sink is "" for runs of
    which it can't be read where they were to go."""

    sink: str
    runs: list[SyncedRun]
    error: str | None = None

    @property
    def there(self) -> bool:
        return self.error is None and all(part.there for part in self.runs)


def configure(parser: ArgumentParser) -> None:
    """Its options."""
    parser.add_argument(
        "runs", metavar="RUN", nargs="*", help='id, beginning of an id, name, or "latest" (default: all)'
    )
    parser.add_argument(
        "--to", metavar="URL", type=place, help="send them there, not to where they were recorded to go"
    )
    parser.add_argument(
        "--again", action="store_true", help="ask for runs that were all there, too: it may have lost some"
    )
    parser.add_argument("--dry-run", action="store_true", help="only say what would be sent")
    add_root(parser)
    add_json(parser)


def run(options: Namespace) -> int:
    """0 where all is there."""
    if options.to is not None:
        _check(options.to)
    root = local_root(options)
    chosen = _named(root, options.runs) if options.runs else _all(root)
    if not options.dry_run:
        witnesses.testify(root, chosen, partial(begin_again, root))
    ways: list[Way] = []
    try:
        wanted, unread = _wanted(root, chosen, options.to)
        ways += [Way("", unread)] * bool(unread)
        for url, runs in wanted.items():
            ways.append(Way(redact_url(url), [SyncedRun(run) for run in runs]))
            _send(root, url, ways[-1], options.dry_run, asks_all=bool(options.runs or options.again))
    except KeyboardInterrupt:
        _say(ways, options.dry_run)
        complain("interrupted: what is left goes with the next tachograph sync")
        raise
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


def _wanted(root: Path, chosen: list[str], to: str | None) -> tuple[dict[str, list[str]], list[SyncedRun]]:
    """The runs to send by the URL to send them to; and those of which that can't be read."""
    urls = {redact_url(url): url for url in settings.sinks()}  # what is recorded of them lacks what is secret
    noted = _noted(root) if to is None else {}
    found: dict[str, list[str]] = {}
    unread: list[SyncedRun] = []
    for run in chosen:
        try:
            names = [to] if to is not None else noted.get(run) or recorded_with(root / "runs" / run)
        except Unread as error:
            unread.append(SyncedRun(run, error=str(error)))
            continue
        for name in names:
            found.setdefault(urls.get(name, name), []).append(run)
    return found, unread


def _noted(root: Path) -> dict[str, list[str]]:
    """By run the sinks that it is on its way to, as far as that was noted: their journals need not be opened."""
    found: dict[str, list[str]] = {}
    for positions in of_store(root):
        for run in dict.fromkeys((*positions.unsettled(), *positions.settled())):
            found.setdefault(run, []).append(positions.name)
    return found


def _all(root: Path) -> list[str]:
    hidden = set(tombstones.hidden(root))
    return sorted(folder.name for folder in root.glob("runs/*") if folder.is_dir() and folder.name not in hidden)


def _named(root: Path, keys: list[str]) -> list[str]:
    store = open_store(root)
    try:
        return list(dict.fromkeys(one.id for key in keys for one in with_children(store.run(key))))
    finally:
        store.close()


def _send(root: Path, url: str, way: Way, dry: bool, asks_all: bool) -> None:
    """Send each of a way's runs, and note in it what became of them."""
    try:
        sink = _opened(url)
    except ValueError as error:
        way.error = str(error)
        return
    act = _count(set()) if dry else _deliver
    positions = Positions(root, way.sink)
    left = _left(positions, way.runs, asks_all)
    progress = Progress(way.sink, [behind for *_, behind in left])
    try:
        for part, delivery, _ in left:
            with _noted_in(part):
                _patiently(partial(act, delivery, part, sink, progress), delivery)
                part.rejected = len(positions.rejected(part.run))
                part.there = not part.rejected and not (dry and part.lines)
                if not dry and delivery.is_complete():
                    positions.settle(part.run)
            progress.next_run()
        positions.note_error("")
    except (Retry, OSError) as error:
        way.error = str(error) or type(error).__name__
        positions.note_error(way.error)
    finally:
        progress.end()
        sink.close()


def _opened(url: str) -> Sink:
    if REDACTED in url:
        raise ValueError("a part of its URL is secret and not on record: set TACHOGRAPH_SINKS, or --to, to all of it")
    return sinks.open_sink(url)


@contextmanager
def _noted_in(part: SyncedRun) -> Iterator[None]:
    """That a run can't be read here is noted, and keeps no other one from being sent."""
    try:
        yield
    except Unread as error:
        part.error, part.there = str(error), False


def _left(positions: Positions, parts: list[SyncedRun], asks_all: bool) -> list[tuple[SyncedRun, Delivery, int]]:
    """The runs of which something may not be there, and how many bytes; the others are noted as there."""
    settled = set() if asks_all else set(positions.settled()) - set(positions.runs_with_rejects())
    found = []
    for part in parts:
        delivery = Delivery(positions, part.run)
        with _noted_in(part):
            behind = delivery.behind()
            part.there = part.run in settled and not behind
            if not part.there:
                found.append((part, delivery, behind))
    return found


Act = Callable[[Delivery, SyncedRun, Sink, Progress], None]


def _count(counted: set[str]) -> Act:
    """Count what would be sent, each file once."""

    def act(delivery: Delivery, part: SyncedRun, sink: Sink, progress: Progress) -> None:
        files = set(counted)
        part.add(delivery.count(sink, files, BATCH_BYTES))
        counted.update(files)

    return act


def _deliver(delivery: Delivery, part: SyncedRun, sink: Sink, progress: Progress) -> None:
    delivery.expecting = progress.expecting
    if isinstance(sink, ReportsProgress):
        sink.on_progress = progress.moved
    for amount in delivery.send(sink, BATCH_BYTES):
        part.add(amount)
        progress.sent(amount)


def _patiently(act: Callable[[], None], delivery: Delivery) -> None:
    """Try again where the sink can't take something now, as long as any of so many attempts gets on."""
    backoff = Backoff()
    while True:
        try:
            act()
            return
        except Unread:
            raise
        except (Retry, OSError) as error:
            requested = requested_delay(error)
            delay = backoff.failed(delivery.progress, requested)
            if backoff.failures == ATTEMPTS or requested > LONGEST_WAIT:
                raise
            time.sleep(delay)


def _plain(way: Way) -> dict[str, Any]:
    return {"sink": way.sink, "runs": way.runs, "error": way.error, "there": way.there}


def _say(ways: list[Way], dry: bool) -> None:
    if not ways:
        say("no run here was recorded with a sink: --to URL names one")
    for way in ways:
        parts, total = way.runs, SyncedRun("")
        for part in parts:
            total.add(Amount(part.lines, part.bytes, part.files, part.file_bytes))
        for part in parts:
            if part.error is not None:
                complain(f"run {part.run} was not sent: {part.error}")
        if not way.sink:
            continue
        much = f"{wording.count(total.lines, 'line')} ({wording.size(total.bytes)})"
        if total.files:
            much += f" and {wording.count(total.files, 'file')} ({wording.size(total.file_bytes)})"
        state = f"{sum(part.there for part in parts):,} of {wording.count(len(parts), 'run')} all there"
        say(f"{way.sink}: {much} {'would be sent' if dry else 'sent'}, {state}")
        if way.error is not None:
            complain(f"{way.sink} was given up ({way.error}): run tachograph sync again later")
        if rejected := sum(part.rejected for part in parts):
            complain(
                f"{way.sink} did not take {wording.count(rejected, 'line')}: tachograph doctor says where they are"
            )
