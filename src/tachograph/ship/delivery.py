"""One run on its way to one sink."""

from __future__ import annotations

import contextlib
import re
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from tachograph import journal
from tachograph.events import Release, decode, kind
from tachograph.journal import Unreadable
from tachograph.journal.blobs import Blobs
from tachograph.runtime import plain_files
from tachograph.ship.cursor import BATCH_BYTES, Portion, batches, behind, portions
from tachograph.ship.positions import Positions, Rejected, SinkPosition, rejected_file, rejected_line
from tachograph.sinks import BlobSink, Costly, Reject, Retry, Sink

QUIET_SECONDS = 3600.0
FRESH_SECONDS = 900.0  # so long a sink surely keeps a file to which no event that it has refers yet
_DIGEST = re.compile(rb"sha256:[0-9a-f]{64}")
_RELEASE = Release.__struct_config__.tag


class Unread(OSError):
    """What is to be sent can't be read on this machine. The sink is not at fault, and may well take other things."""


class Amount(NamedTuple):
    """Lines, and bytes of them; files that came with them, and bytes of those."""

    lines: int = 0
    bytes: int = 0
    files: int = 0
    file_bytes: int = 0

    def plus(self, other: Amount) -> Amount:
        """Both together."""
        return Amount(*map(sum, zip(self, other, strict=True)))


class Lag(NamedTuple):
    """What is left to send, by the positions on this machine: events, bytes of them, and the time of the oldest
    (seconds since 1970), None where nothing is left."""

    events: int
    bytes: int
    oldest: float | None


class Delivery:
    """Sends what a run's journals hold and the sink does not.

    ``includes`` says of a writer's folder whether it is to be sent. ``rejected`` counts what the sink would not take,
    and ``reason`` is the last one that it gave. ``progress`` grows with whatever got through, if the answer was lost,
    too. ``expecting`` is called with how many bytes of files are to go with the next lines.
    """

    def __init__(self, positions: Positions, run: str, includes: Callable[[Path], bool] = lambda writer: True) -> None:
        self.run = run
        self.folder = positions.root / "runs" / run
        self.rejected = self.progress = 0
        self.reason = ""
        self.remarked = False
        self._refused: set[str] = set()  # files
        self.expecting: Callable[[int], None] = lambda size: None
        self._includes = includes
        self._positions = positions
        self._blobs = Blobs(positions.root)
        self._reached = positions.load(run)  # by writer
        self._saved = dict(self._reached)
        self._begun = False

    def send(self, sink: Sink, size: int = BATCH_BYTES) -> Iterator[Amount]:
        """Send all that is there now, in turns: yields after each batch how much was sent.

        Raises :class:`Retry` and ``OSError`` as the sink does, and :class:`Unread` when it has sent what can be read.
        Calling this again continues where it stopped.
        """
        fault: Unread | None = None
        try:
            if not self._begun:
                self._begin(sink)
            for writer in self._writers():
                try:
                    yield from self._send_writer(sink, writer, size)
                except Unread as error:
                    fault = fault or error
            if fault is not None:
                raise fault
        except (Retry, OSError):
            self._begun = False  # so that the sink is asked anew what it holds
            raise
        finally:
            self._save()

    def count(self, sink: Sink, counted: set[str], size: int = BATCH_BYTES) -> Amount:
        """How much :meth:`send` would send, by what the sink says. Nothing is sent or noted; this is of no use for
        sending any more. Files that are in ``counted`` are not counted, and those that are get into it."""
        self._ask(sink)
        amount = Amount()
        for writer in self._writers():
            for batch in self._batches(sink, writer, size):
                if batch is not None:
                    amount = amount.plus(_amount(batch)).plus(self._count_files(sink, batch.lines, counted))
                    self._reached[writer.name] = batch.position
        return amount

    def _count_files(self, sink: Sink, lines: Sequence[bytes], counted: set[str]) -> Amount:
        digests = [digest for digest in self._present(lines) if digest not in counted]
        if not isinstance(sink, BlobSink) or not digests:
            return Amount()
        missing = sink.missing(digests)
        counted.update(missing)
        return Amount(files=len(missing), file_bytes=sum(map(self._file_size, missing)))

    def lag(self) -> Lag:
        """What is left to send, by the positions on this machine; the sink is not asked. Journals are read."""
        events, size, oldest = 0, 0, None
        for writer in self._writers():
            with contextlib.suppress(Unreadable):
                for batch in _read(writer, self._position_of(writer)):
                    events += len(batch.lines)
                    size += _amount(batch).bytes
                    if batch.lines:
                        at = decode(batch.lines[0]).at
                        oldest = at if oldest is None else min(oldest, at)
        return Lag(events, size, oldest)

    def behind(self) -> int:
        """How many bytes are left to send, by the positions on this machine. Raises :class:`Unread`."""
        return sum(_behind(writer, self._position_of(writer)) for writer in self._writers())

    def is_complete(self) -> bool:
        """Whether the sink has all of the run, and no more is to come."""
        reached = {**self._positions.load(self.run), **self._reached}
        with _reading(self.folder):
            writers = journal.writers(self.folder)
            return all(not behind(each, reached.get(each.name, SinkPosition())) and is_over(each) for each in writers)

    def _save(self) -> None:
        if self._reached != self._saved:
            with contextlib.suppress(OSError):  # a full disk: what is sent is sent all the same
                self._positions.save(self.run, self._reached)
                self._saved = dict(self._reached)

    def _writers(self) -> list[Path]:
        with _reading(self.folder):
            return [writer for writer in journal.writers(self.folder) if self._includes(writer)]

    def _position_of(self, writer: Path) -> SinkPosition:
        return self._reached.get(writer.name, SinkPosition())

    def _begin(self, sink: Sink) -> None:
        held = self._ask(sink)
        self._positions.offer_again(self.run, held)
        self._begun = True

    def _ask(self, sink: Sink) -> Mapping[str, int]:
        """Ask the sink what it holds, and go on from there. Positions are a hint on where that is in the files."""
        held = sink.resume(self.run)
        for writer in self._writers():
            seq, position = held.get(writer.name, 0), self._position_of(writer)
            self._reached[writer.name] = (
                SinkPosition(seq, position.first, position.offset) if position.seq <= seq else SinkPosition(seq)
            )
            self.progress += seq > position.seq
        return held

    def _send_writer(self, sink: Sink, writer: Path, size: int) -> Iterator[Amount]:
        for batch in self._batches(sink, writer, size):
            if batch is None:
                yield Amount()
                continue
            files = self._send_batch(sink, writer.name, batch)
            self._reached[writer.name] = batch.position
            self.progress += 1
            yield files.plus(_amount(batch))

    def _batches(self, sink: Sink, writer: Path, size: int) -> Iterator[Portion | None]:
        """What is left to send of a writer. The caller moves the position behind each batch when it has dealt with
        it."""
        while _behind(writer, self._position_of(writer)):
            before = self._position_of(writer)
            try:
                yield from portions(_read(writer, before, size), sink.portion if isinstance(sink, Costly) else 0)
                return
            except Unreadable:  # nobody can read on in this segment, here or there
                self._skip_segment(writer)
            if self._position_of(writer) == before:
                return

    def _skip_segment(self, writer: Path) -> None:
        position = self._position_of(writer)
        firsts = [int(path.stem) for path in journal.segments(writer)]
        current = position.first or max((first for first in firsts if first <= position.seq + 1), default=0)
        following = next((first for first in firsts if first > current), None)
        if following is None:
            self._reached[writer.name] = SinkPosition(
                position.seq, current, journal.size(Path(journal.segment(writer, current)))
            )
        else:
            self._reached[writer.name] = SinkPosition(position.seq, following, 0)

    def _send_batch(self, sink: Sink, writer: str, batch: Portion) -> Amount:
        files = self._send_files(sink, batch.lines) if isinstance(sink, BlobSink) else Amount()
        if batch.lines:
            self._write(sink, writer, list(zip(batch.numbers, batch.lines, strict=True)))
        return files

    def _write(self, sink: Sink, writer: str, numbered: Sequence[tuple[int, bytes]]) -> None:
        try:
            sink.write(self.run, writer, [line for _, line in numbered])
        except Reject as refusal:
            rejected = set(refusal.lines)
            bad = [(number, line) for number, line in numbered if line in rejected]
            if not bad and len(numbered) > 1:  # it can't tell which: halving shows it
                middle = len(numbered) // 2
                self._write(sink, writer, numbered[:middle])
                self._write(sink, writer, numbered[middle:])
                return
            why = str(refusal)
            self._set_aside([rejected_line(writer, number, line, why) for number, line in bad or numbered], why)
            rest = [(number, line) for number, line in numbered if bad and line not in rejected]
            if rest:
                self._write(sink, writer, rest)

    def _send_files(self, sink: BlobSink, lines: Sequence[bytes]) -> Amount:
        """Send the files that lines name. Where that took long, the sink may have deleted the first ones again."""
        amount = Amount()
        while digests := [digest for digest in self._present(lines) if digest not in self._refused]:
            began = time.monotonic()
            amount = amount.plus(self._send_missing(sink, sink.missing(digests)))
            if time.monotonic() - began < FRESH_SECONDS:
                break
        return amount

    def _send_missing(self, sink: BlobSink, digests: Sequence[str]) -> Amount:
        amount = Amount()
        if digests:
            self.expecting(sum(map(self._file_size, digests)))
        for digest in digests:
            amount = amount.plus(Amount(files=1, file_bytes=self._file_size(digest)))
            try:
                sink.put(digest, self._blobs.find(digest))
                self.progress += 1
            except Retry as retry:
                self.progress += retry.moved
                raise
            except Reject as refusal:
                self._refused.add(digest)
                self._set_aside([rejected_file(digest, str(refusal))], str(refusal))
            except OSError:
                if self._blobs.find(digest).is_file():  # else the run has let go of it meanwhile
                    self._check_readable(digest)
                    raise
        return amount

    def _check_readable(self, digest: str) -> None:
        path = self._blobs.find(digest)
        with _reading(path), plain_files.opened(path) as file:
            file.read(1)

    def _present(self, lines: Sequence[bytes]) -> list[str]:
        """The files that lines name, and that are here."""
        with _reading(self._blobs.folder):
            return [digest for digest in _digests(lines) if self._blobs.find(digest).is_file()]

    def _file_size(self, digest: str) -> int:
        try:
            return self._blobs.find(digest).stat().st_size
        except FileNotFoundError:
            return 0

    def _set_aside(self, rejected: Sequence[Rejected], why: str) -> None:
        self._positions.reject(self.run, rejected)
        self.rejected += len(rejected)
        self.reason = why


def is_over(writer: Path) -> bool:
    """Whether nothing more is to be expected from a writer: it has written its end, or will write no more."""
    return journal.has_ended(writer) or _is_silent(writer)


def _is_silent(writer: Path) -> bool:
    """Whether a writer's process is gone; where that can't be proven, whether it wrote nothing for an hour."""
    if journal.is_gone(journal.header(writer)):
        return True
    return journal.sizes(writer)[1] < time.time() - QUIET_SECONDS


def recorded_with(run_folder: Path) -> list[str]:
    """The sinks (URLs without anything secret) that a run was recorded with, by any of its writers. Raises
    :class:`Unread`."""
    with _reading(run_folder):
        starts = [journal.header(writer) for writer in journal.writers(run_folder)]
    return list(dict.fromkeys(url for start in starts if start is not None for url in start.sinks))


def _read(writer: Path, position: SinkPosition, size: int = BATCH_BYTES) -> Iterator[Portion]:
    with _reading(writer):
        yield from batches(writer, position, lambda: _is_silent(writer), size)


def _behind(writer: Path, position: SinkPosition) -> int:
    with _reading(writer):
        return behind(writer, position)


@contextlib.contextmanager
def _reading(path: Path) -> Iterator[None]:
    """Turn an error of our own disk into :class:`Unread`, so that it is not taken for one of the sink."""
    try:
        yield
    except (Unread, Unreadable, FileNotFoundError):
        raise  # damaged, or gone meanwhile: the caller knows what to do
    except OSError as error:
        raise Unread(f"{error.filename or path} can't be read ({error.strerror or error})") from error


def _amount(batch: Portion) -> Amount:
    return Amount(len(batch.lines), sum(map(len, batch.lines)) + len(batch.lines))


def _digests(lines: Sequence[bytes]) -> list[str]:
    """The files that the lines name, in their order, without those that the run has let go of since."""
    digests: dict[bytes, None] = {}
    for line in lines:
        if b"sha256:" in line:
            in_line = dict.fromkeys(_DIGEST.findall(line))
            if kind(line) == _RELEASE:
                digests = {digest: None for digest in digests if digest not in in_line}
            else:
                digests.update(in_line)
    return [digest.decode() for digest in digests]
