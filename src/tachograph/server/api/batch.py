"""Reading a batch of events from a request's body, and saying which of its lines are wrong."""

from __future__ import annotations

from collections.abc import Iterator

from tachograph import events
from tachograph.events import Event, RunStart
from tachograph.server.api.responses import Refused
from tachograph.server.storage import Batch

MOST_LISTED = 100  # wrong lines in an answer


def read(run: str, writer: str, body: bytes, longest: int) -> Batch:
    """The batch in a body of JSON Lines. Raises :class:`Refused`, which lists the lines that are wrong."""
    _check_text(body)
    lines = body.removesuffix(b"\n").split(b"\n")
    if lines == [b""]:
        raise Refused(422, "there are no events in it")
    reader = _Reader(run, writer, longest)
    batch_events = [reader.read(number, line) for number, line in enumerate(lines, start=1)]
    if reader.wrong:
        number, reason = next(iter(reader.wrong.items()))
        rejected = [{"line": number, "reason": reason} for number, reason in list(reader.wrong.items())[:MOST_LISTED]]
        raise Refused(422, f"line {number}: {reason}", rejected=rejected)
    return Batch([event.seq for event in batch_events if event], lines, batch_events[0].at if batch_events[0] else 0.0)


def _check_text(body: bytes) -> None:
    try:
        body.decode()
    except UnicodeDecodeError as error:
        line = body.count(b"\n", 0, error.start) + 1
        reason = "it is not UTF-8"
        raise Refused(422, f"line {line}: {reason}", rejected=[{"line": line, "reason": reason}]) from None


class _Reader:
    def __init__(self, run: str, writer: str, longest: int) -> None:
        self._run, self._writer, self._longest = run, writer, longest
        self._last = 0
        self.wrong: dict[int, str] = {}

    def read(self, number: int, line: bytes) -> Event | None:
        try:
            if len(line) > self._longest:
                raise ValueError(f"it is longer than {self._longest} bytes")
            event = events.decode(line)
        except ValueError as error:
            self.wrong[number] = " ".join(str(error).split())
            return None
        for reason in self._faults(event):
            self.wrong[number] = reason
            return None
        self._last = event.seq
        return event

    def _faults(self, event: Event) -> Iterator[str]:
        if event.seq <= self._last:
            yield f"its number {event.seq} does not come after {self._last}, that of the line before"
        if isinstance(event, RunStart) and (event.run, event.writer) != (self._run, self._writer):
            yield "it belongs to another run or writer than the address says"
