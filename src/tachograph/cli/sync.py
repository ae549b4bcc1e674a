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
from tachograph.cli.arguments import UsageError, add_json, add_root, local_root, path_or_url
from tachograph.cli.output import complain, say
from tachograph.cli.view.progress import Progress
from tachograph.journal import tombstones, witnesses
from tachograph.redaction import REDACTED, redact_url
from tachograph.runtime.backoff import Backoff, requested_delay
from tachograph.ship.delivery import Amount, Delivery, Unread, recorded_with
from tachograph.ship.positions import Positions, begin_again, of_store
from tachograph.sinks import ReportsProgress, Retry, Sink
from tachograph.store import document
from tachograph.store.runs import with_children
from tachograph.store.store import open_store

EXAMPLES = """\
  tachograph sync
  tachograph sync --dry-run
  tachograph sync baseline --to file:///mnt/share/team
"""
BATCH_BYTES = 512 << 10
ATTEMPTS = 5  # in a row that get nothing over: then a sink is given up
LONGEST_WAIT = 60.0


class SyncedRun(Struct):
    """What was sent of a run to a sink, or on a dry run would be: lines and files, with their bytes."""

    run: str
    lines: int = 0
    bytes: int = 0
    files: int = 0
    file_bytes: int = 0
    rejected: int = 0
    there: bool = False  # the sink has all of it
    error: str | None = None  # why it can't be read here

    def add(self, amount: Amount) -> None:
        """Count what was sent."""
        self.lines += amount.lines
        self.bytes += amount.bytes
        self.files += amount.files
        self.file_bytes += amount.file_bytes


class SyncedSink(Struct):
    """What was sent to a sink; ``error`` where it was given up. The sink is "" for runs of which it can't be read where
    they were to go."""

    sink: str
    runs: list[SyncedRun]
    error: str | None = None

    @property
    def there(self) -> bool:
        return self.error is None and all(synced.there for synced in self.runs)


def configure(parser: ArgumentParser) -> None:
    """Add its options."""
    parser.add_argument(
        "runs", metavar="RUN", nargs="*", help='id, beginning of an id, name, or "latest" (default: all)'
    )
    parser.add_argument(
        "--to", metavar="URL", type=path_or_url, help="send them there, not to where they were recorded to go"
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
    runs = _named(root, options.runs) if options.runs else _all(root)
    if not options.dry_run:
        witnesses.testify(root, runs, partial(begin_again, root))
    results: list[SyncedSink] = []
    try:
        runs_of, unread = _by_sink(root, runs, options.to)
        results += [SyncedSink("", unread)] * bool(unread)
        for url, runs_to_send in runs_of.items():
            results.append(SyncedSink(redact_url(url), [SyncedRun(run) for run in runs_to_send]))
            _send(root, url, results[-1], options.dry_run, asks_all=bool(options.runs or options.again))
    except KeyboardInterrupt:
        _say(results, options.dry_run)
        complain("interrupted: what is left goes with the next tachograph sync")
        raise
    is_there = all(result.there for result in results)
    if options.json:
        document.write({"root": str(root), "sinks": list(map(_plain, results)), "there": is_there})
    else:
        _say(results, options.dry_run)
    return 0 if is_there else 1


def _check(url: str) -> None:
    try:
        sinks.check(url)
    except ValueError as error:
        raise UsageError(str(error)) from None


def _by_sink(root: Path, runs: list[str], to: str | None) -> tuple[dict[str, list[str]], list[SyncedRun]]:
    """The runs to send to each sink, by its URL; and those of which it can't be read where to send them."""
    urls = {redact_url(url): url for url in settings.sinks()}  # the recorded ones lack what is secret
    noted = _noted(root) if to is None else {}
    runs_of: dict[str, list[str]] = {}
    unread: list[SyncedRun] = []
    for run in runs:
        try:
            names = [to] if to is not None else noted.get(run) or recorded_with(root / "runs" / run)
        except Unread as error:
            unread.append(SyncedRun(run, error=str(error)))
            continue
        for name in names:
            runs_of.setdefault(urls.get(name, name), []).append(run)
    return runs_of, unread


def _noted(root: Path) -> dict[str, list[str]]:
    """The sinks that each run is to be sent to, as far as positions say so: then its journal need not be opened."""
    sinks_of: dict[str, list[str]] = {}
    for positions in of_store(root):
        for run in dict.fromkeys((*positions.unsent(), *positions.sent())):
            sinks_of.setdefault(run, []).append(positions.name)
    return sinks_of


def _all(root: Path) -> list[str]:
    """The ids of all runs but removed ones."""
    hidden = set(tombstones.hidden(root))
    return sorted(folder.name for folder in root.glob("runs/*") if folder.is_dir() and folder.name not in hidden)


def _named(root: Path, keys: list[str]) -> list[str]:
    """The ids of the runs that are named, and of those below them."""
    store = open_store(root)
    try:
        return list(dict.fromkeys(run.id for key in keys for run in with_children(store.run(key))))
    finally:
        store.close()


def _send(root: Path, url: str, result: SyncedSink, dry: bool, asks_all: bool) -> None:
    """Send the runs of a result, and note in it what became of each."""
    try:
        sink = _open(url)
    except ValueError as error:
        result.error = str(error)
        return
    act = _count(set()) if dry else _deliver
    positions = Positions(root, result.sink)
    unsent = _unsent(positions, result.runs, asks_all)
    progress = Progress(result.sink, [behind for *_, behind in unsent])
    try:
        for synced, delivery, _ in unsent:
            with _noted_in(synced):
                _patiently(partial(act, delivery, synced, sink, progress), delivery)
                synced.rejected = len(positions.rejected(synced.run))
                synced.there = not synced.rejected and not (dry and synced.lines)
                if not dry and delivery.is_complete():
                    positions.mark_sent(synced.run)
            progress.next_run()
        positions.note_error("")
    except (Retry, OSError) as error:
        result.error = str(error) or type(error).__name__
        positions.note_error(result.error)
    finally:
        progress.end()
        sink.close()


def _open(url: str) -> Sink:
    if REDACTED in url:
        raise ValueError("a part of its URL is secret and not on record: set TACHOGRAPH_SINKS, or --to, to all of it")
    return sinks.open_sink(url)


@contextmanager
def _noted_in(synced: SyncedRun) -> Iterator[None]:
    """Note that a run can't be read here, and let the others be sent."""
    try:
        yield
    except Unread as error:
        synced.error, synced.there = str(error), False


def _unsent(positions: Positions, runs: list[SyncedRun], asks_all: bool) -> list[tuple[SyncedRun, Delivery, int]]:
    """The runs that the sink may not have all of, each with how many bytes may be missing. The others are noted as
    there."""
    sent = set() if asks_all else set(positions.sent()) - set(positions.runs_with_rejects())
    unsent = []
    for synced in runs:
        delivery = Delivery(positions, synced.run)
        with _noted_in(synced):
            behind = delivery.behind()
            synced.there = synced.run in sent and not behind
            if not synced.there:
                unsent.append((synced, delivery, behind))
    return unsent


Act = Callable[[Delivery, SyncedRun, Sink, Progress], None]


def _count(counted: set[str]) -> Act:
    """What counts what would be sent of a run, where ``counted`` files count once."""

    def act(delivery: Delivery, synced: SyncedRun, sink: Sink, progress: Progress) -> None:
        files = set(counted)
        synced.add(delivery.count(sink, files, BATCH_BYTES))
        counted.update(files)

    return act


def _deliver(delivery: Delivery, synced: SyncedRun, sink: Sink, progress: Progress) -> None:
    delivery.expecting = progress.expecting
    if isinstance(sink, ReportsProgress):
        sink.on_progress = progress.moved
    for amount in delivery.send(sink, BATCH_BYTES):
        synced.add(amount)
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


def _plain(result: SyncedSink) -> dict[str, Any]:
    return {"sink": result.sink, "runs": result.runs, "error": result.error, "there": result.there}


def _say(results: list[SyncedSink], dry: bool) -> None:
    if not results:
        say("no run here was recorded with a sink: --to URL names one")
    for result in results:
        runs, total = result.runs, SyncedRun("")
        for synced in runs:
            total.add(Amount(synced.lines, synced.bytes, synced.files, synced.file_bytes))
        for synced in runs:
            if synced.error is not None:
                complain(f"run {synced.run} was not sent: {synced.error}")
        if not result.sink:
            continue
        much = f"{wording.count(total.lines, 'line')} ({wording.size(total.bytes)})"
        if total.files:
            much += f" and {wording.count(total.files, 'file')} ({wording.size(total.file_bytes)})"
        state = f"{sum(synced.there for synced in runs):,} of {wording.count(len(runs), 'run')} all there"
        say(f"{result.sink}: {much} {'would be sent' if dry else 'sent'}, {state}")
        if result.error is not None:
            complain(f"{result.sink} was given up ({result.error}): run tachograph sync again later")
        if rejected := sum(synced.rejected for synced in runs):
            complain(
                f"{result.sink} did not take {wording.count(rejected, 'line')}: tachograph doctor says where they are"
            )
