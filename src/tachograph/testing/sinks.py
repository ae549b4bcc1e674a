"""For authors of sinks: does it keep the rules?"""

from __future__ import annotations

import os
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from itertools import pairwise
from pathlib import Path

from tachograph import events, guard
from tachograph.events import Artifact, Event, Metrics, Note, Params, RunEnd, RunStart
from tachograph.journal.blobs import Blobs
from tachograph.ship.positions import Positions
from tachograph.ship.sender import Sender
from tachograph.sinks import BlobSink, Reject, Retry, Sink

MakeSink = Callable[[], Sink]
Stored = Callable[[str], Mapping[str, Sequence[Event]]]  # of a run, by the id of each writer
Away = Callable[[], AbstractContextManager[object]]  # inside it the far side can't be reached

RETRY_SECONDS = 0.3
PATIENCE = 60.0
WRITERS = ("0-here-7-aaaaaa", "1-there-7-bbbbbb")


def check_sink(make_sink: MakeSink, stored: Stored | None = None, away: Away | None = None) -> None:
    """Check that a sink keeps the rules; AssertionError says which one it breaks.

    ``make_sink()`` opens the sink, each time on the same far side. ``stored(run)`` reads there what is held of a run:
    by the id of each writer its events, in order. Without it, only what the sink itself says is checked. ``away()`` is
    a context manager within which the far side can't be reached; without it, what a sink does then is not checked. The
    far side gets a few small runs with ids of their own.
    """
    for rule in (
        _nothing_is_held_of_what_was_not_sent,
        _lines_are_stored_in_order,
        _what_comes_again_is_stored_once,
        _another_process_goes_on,
        _runs_and_writers_are_kept_apart,
        _unknown_kinds_are_kept,
        _lines_are_kept_as_they_are,
        _two_senders_do_no_harm,
        _files_are_stored_by_their_digest,
        _a_retry_is_waited_for,
        _a_lost_answer_makes_no_event_twice,
        _a_rejected_line_takes_no_other_with_it,
        _what_is_not_stored_is_not_returned_from,
    ):
        rule(_Case(make_sink, stored, away))


class _Case:
    """The far side, and a run that it does not know yet."""

    def __init__(self, make: MakeSink, stored: Stored | None, away: Away | None) -> None:
        self.make, self._stored, self.away = make, stored, away
        self.run = new_run()

    def needs(self, sink: Sink, expected: Mapping[str, Sequence[bytes]], rule: str) -> None:
        """Assert that the far side holds exactly this of the run."""
        last = {writer: events.decode(lines[-1]).seq for writer, lines in expected.items()}
        assert dict(sink.resume(self.run)) == last, f"{rule}: resume says {dict(sink.resume(self.run))}, not {last}"
        if self._stored is not None:
            stored = {writer: list(lines) for writer, lines in self._stored(self.run).items()}
            assert stored == {writer: list(map(events.decode, lines)) for writer, lines in expected.items()}, rule


def new_run() -> str:
    """An id for a run."""
    return f"{time.strftime('%Y%m%d-%H%M%S', time.gmtime())}-{os.urandom(3).hex()}"


def recorded(run: str, writer: str = WRITERS[0], points: int = 20) -> list[bytes]:
    """The lines of a small run."""
    header = RunStart(
        run=run, writer=writer, role="owner", host="here", boot="", pid=7, born=1, name="check", experiment="check"
    )
    values: list[Event] = [Metrics(0, 0, 0.0, step, {"loss": 1 / (step + 1)}) for step in range(points)]
    run_events = [header, Params(values={"lr": 0.1, "name": "ünï"}), *values, RunEnd(status="finished")]
    return [_line(event, seq) for seq, event in enumerate(run_events, start=1)]


def _line(event: Event, seq: int) -> bytes:
    event.v, event.seq, event.at = events.VERSION, seq, 1.7e9 + seq
    return events.encode(event)


def _nothing_is_held_of_what_was_not_sent(case: _Case) -> None:
    sink = case.make()
    assert dict(sink.resume(case.run)) == {}, "resume of a run that was not sent must be empty"
    sink.close()


def _lines_are_stored_in_order(case: _Case) -> None:
    sink, lines = case.make(), recorded(case.run)
    for start in range(0, len(lines), 7):
        sink.write(case.run, WRITERS[0], lines[start : start + 7])
    case.needs(sink, {WRITERS[0]: lines}, "lines must be stored in the order in which they were given")
    sink.close()


def _what_comes_again_is_stored_once(case: _Case) -> None:
    sink, lines = case.make(), recorded(case.run)
    for part in (lines[:10], lines[:10], lines[3:7], lines[5:15], lines):
        sink.write(case.run, WRITERS[0], part)
    case.needs(sink, {WRITERS[0]: lines}, "lines that are held already must be left as they are")
    sink.close()


def _another_process_goes_on(case: _Case) -> None:
    first, lines = case.make(), recorded(case.run)
    first.write(case.run, WRITERS[0], lines[:9])  # and it is not closed: its process was killed
    again = case.make()
    case.needs(again, {WRITERS[0]: lines[:9]}, "a sink that was opened anew must hold what write returned from")
    again.write(case.run, WRITERS[0], lines[9:])
    case.needs(case.make(), {WRITERS[0]: lines}, "a sink that was opened anew must go on")


def _runs_and_writers_are_kept_apart(case: _Case) -> None:
    sink, other = case.make(), new_run()
    lines = {writer: recorded(case.run, writer, points=3 + rank) for rank, writer in enumerate(WRITERS)}
    sink.write(other, WRITERS[0], recorded(other))
    for writer, writers_lines in lines.items():
        sink.write(case.run, writer, writers_lines)
    case.needs(sink, lines, "runs and writers must be kept apart")
    sink.close()


def _unknown_kinds_are_kept(case: _Case) -> None:
    sink, lines = case.make(), recorded(case.run, points=2)
    lines.append(b'{"kind":"from.the.future","v":7,"seq":90,"at":1.5,"what":{"nobody":["knows",null,1e300]}}')
    lines.append(_line(Metrics(0, 0, 0.0, 3, {"loss": "NaN"}), 93))  # numbers may be missing, too
    sink.write(case.run, WRITERS[0], lines)
    case.needs(sink, {WRITERS[0]: lines}, "kinds that are not known must be kept")
    sink.close()


def _lines_are_kept_as_they_are(case: _Case) -> None:
    sink, lines = case.make(), recorded(case.run, points=2)
    lines.append(_line(Note(text='\u2028\x85\x00 \r\n"\\ 🚚'), 11))
    lines.append(b'{"kind":"note","v":1,"seq":12,"at":1.5,"text":"%s"}' % (b"long " * 60_000))
    lines.append(b' {"seq": 13, "kind": "note", "v": 1, "at": 17e8, "text": "of another\\u0020encoder"} ')
    sink.write(case.run, WRITERS[0], lines)
    case.needs(sink, {WRITERS[0]: lines}, "long lines and odd characters must be kept")
    sink.close()


def _two_senders_do_no_harm(case: _Case) -> None:
    first, second, lines = case.make(), case.make(), recorded(case.run)
    first.resume(case.run)
    second.resume(case.run)
    for end in range(4, len(lines) + 4, 4):
        first.write(case.run, WRITERS[0], lines[end - 4 : end])
        second.write(case.run, WRITERS[0], lines[max(0, end - 8) : end - 1])
    case.needs(second, {WRITERS[0]: lines}, "two senders of the same lines must not make them twice")
    first.close()
    second.close()


def _files_are_stored_by_their_digest(case: _Case) -> None:
    sink = case.make()
    if not isinstance(sink, BlobSink):
        return
    with tempfile.TemporaryDirectory() as folder:
        blobs = Blobs(Path(folder))
        digest, _ = blobs.put_bytes(os.urandom(100_000))
        other, _ = blobs.put_bytes(os.urandom(1000))
        assert list(sink.missing([digest, other])) == [digest, other], "files that were not sent must be missing"
        sink.put(digest, blobs.path(digest))
        sink.put(digest, blobs.path(digest))
        assert list(sink.missing([digest, other])) == [other], "a file that was put must no longer be missing"
        try:
            sink.put(other, blobs.path(digest))
        except Reject:
            pass
        else:
            raise AssertionError("a file that does not have the digest must be rejected")
        assert list(sink.missing([other])) == [other], "a file under a wrong digest must not be stored"
    sink.close()


# -- with the shipper --


class _Faulty:
    """A sink that calls ``before`` and ``after``, which may fail, around each write."""

    def __init__(self, sink: Sink, before: Callable[[list[bytes]], None], after: Callable[[], None]) -> None:
        self.name = sink.name
        self._sink, self._before, self._after = sink, before, after
        self.resume, self.close = sink.resume, sink.close
        if isinstance(sink, BlobSink):
            self.missing, self.put = sink.missing, sink.put

    def write(self, run: str, writer: str, lines: Sequence[bytes]) -> None:
        self._before(list(lines))
        self._sink.write(run, writer, lines)
        self._after()


class _Notes:
    def remark(self, text: str) -> None:
        pass


def _ship(case: _Case, sink: Sink, lines: Sequence[bytes], root: Path) -> None:
    """Send a run with ``lines`` and a file by the shipper."""
    folder = root / "runs" / case.run / WRITERS[0]
    folder.mkdir(parents=True)
    (folder / "1.jsonl").write_bytes(b"".join(line + b"\n" for line in lines))
    sender = Sender(root, "check", lambda: sink)
    sender.add(case.run, _Notes(), lambda writer: True)
    sender.close(case.run)
    guard.mute(True)
    try:
        assert sender.wait(sender.ask(), time.monotonic() + PATIENCE), "it was not sent"
    finally:
        guard.mute(False)


def _a_retry_is_waited_for(case: _Case) -> None:
    calls: list[float] = []

    def fail(lines: list[bytes]) -> None:
        calls.append(time.monotonic())
        if len(calls) <= 2:
            raise Retry(RETRY_SECONDS)

    with tempfile.TemporaryDirectory() as folder:
        root, lines = Path(folder), recorded(case.run)
        digest, size = Blobs(root).put_bytes(os.urandom(1000))
        lines.append(_line(Artifact(name="a", type="file", digest=digest, size=size, filename="a"), len(lines) + 1))
        _ship(case, _Faulty(case.make(), fail, lambda: None), lines, root)
        pauses = [later - earlier for earlier, later in pairwise(calls)]
        assert min(pauses) >= RETRY_SECONDS, f"a sink that asks for {RETRY_SECONDS} s was called after {pauses}"
        sink = case.make()
        case.needs(sink, {WRITERS[0]: lines}, "what a sink could not take must come later")
        if isinstance(sink, BlobSink):
            assert not sink.missing([digest]), "a file that an event names must come, too"


def _a_lost_answer_makes_no_event_twice(case: _Case) -> None:
    answers: list[int] = []

    def lose() -> None:
        answers.append(1)
        if len(answers) <= 2:
            raise ConnectionResetError("the answer is lost")

    with tempfile.TemporaryDirectory() as folder:
        lines = recorded(case.run, points=3000)
        _ship(case, _Faulty(case.make(), lambda lines: None, lose), lines, Path(folder))
        case.needs(case.make(), {WRITERS[0]: lines}, "an event whose answer was lost must not be there twice")


def _a_rejected_line_takes_no_other_with_it(case: _Case) -> None:
    for named in (True, False):  # a sink that tells which line it is, and one that doesn't
        case.run = new_run()
        lines = recorded(case.run)
        bad = lines[7]

        def refuse(sent: list[bytes], named: bool = named, bad: bytes = bad) -> None:
            if bad in sent:
                raise Reject([bad] if named else [], "it is odd")

        with tempfile.TemporaryDirectory() as folder:
            _ship(case, _Faulty(case.make(), refuse, lambda: None), lines, Path(folder))
            kept = [line for line in lines if line != bad]
            case.needs(case.make(), {WRITERS[0]: kept}, "a line that is rejected must take no other with it")
            aside = Positions(Path(folder), "check").rejected(case.run)
            assert [(line.seq, line.why) for line in aside] == [(8, "it is odd")], "a rejected line must be set aside"


# -- with a far side that is away --


def _what_is_not_stored_is_not_returned_from(case: _Case) -> None:
    if case.away is None:
        return
    sink, lines = case.make(), recorded(case.run)
    sink.write(case.run, WRITERS[0], lines[:5])
    with tempfile.TemporaryDirectory() as folder:
        blobs = Blobs(Path(folder))
        digest, _ = blobs.put_bytes(os.urandom(1000))
        with case.away():
            _fails(lambda: sink.write(case.run, WRITERS[0], lines[5:9]), "write")
            _fails(lambda: case.make().write(case.run, WRITERS[0], lines[5:9]), "write")
            if isinstance(sink, BlobSink):
                _fails(lambda: sink.put(digest, blobs.path(digest)), "put")
    sink.resume(case.run)  # as the shipper does after a failure
    sink.write(case.run, WRITERS[0], lines[5:])
    case.needs(case.make(), {WRITERS[0]: lines}, "what could not be stored must be stored when it comes again")
    sink.close()


def _fails(act: Callable[[], None], what: str) -> None:
    try:
        act()
    except (Retry, OSError):
        return
    raise AssertionError(f"{what} must raise Retry or OSError where the far side can't be reached, and it returned")
