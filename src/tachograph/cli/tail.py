"""Follow a run live: its points, what it prints and what is noted, until it ends.

Without RUN the latest one. The exit status is 0 where the run finished, 1 where it ended otherwise.
"""

from __future__ import annotations

from argparse import ArgumentParser, Namespace
from collections.abc import Iterator
from typing import Any, Protocol

import msgspec

from tachograph import events, wording
from tachograph.cli import output, with_store
from tachograph.cli.arguments import add_json, add_root, whole_number
from tachograph.cli.view import draw
from tachograph.store import document
from tachograph.store.follow import FollowedEvent, follow
from tachograph.store.run_record import RunRecord
from tachograph.store.store import Store

EXAMPLES = """\
  tachograph tail
  tachograph tail baseline --lines 100
  tachograph tail latest && tachograph export latest --format csv results
"""
FLOOD = 50  # new lines at a time: of more only the last ones are shown
LINES = 10
SHOWN = (events.Metrics, events.Console, events.Note, events.Artifact)


def configure(parser: ArgumentParser) -> None:
    """Add its options."""
    parser.add_argument("run", metavar="RUN", nargs="?", default="latest", help='id, name, or "latest" (the default)')
    help = f"begin with the last N lines (left out: {LINES}; with --json: all)"
    parser.add_argument("--lines", metavar="N", type=whole_number, help=help)
    add_root(parser)
    add_json(parser)


@with_store.with_store
def run(options: Namespace, store: Store) -> int:
    """0 where the run finished, 1 where it ended otherwise."""
    record = store.run(options.run)
    viewer: Viewer = _Document(options.lines) if options.json else _Lines(record, options.lines)
    try:
        for new in follow(store, record, is_all=options.json and options.lines is None):
            viewer.show(new)
        record = store.run(record.id)
        viewer.end(record)
    finally:
        viewer.close()
    return 0 if record.status == "finished" else 1


class Viewer(Protocol):
    """Shows the events of a run that is followed."""

    def show(self, new: list[FollowedEvent]) -> None:
        """Show new events."""

    def end(self, run: RunRecord) -> None:
        """Show how the run ended."""

    def close(self) -> None:
        """End: the run has ended, or nobody wants to see more of it."""


class _Lines:
    """For people: a line for each event, behind the time."""

    def __init__(self, run: RunRecord, lines: int | None) -> None:
        self._console = draw.console()
        self._limit = LINES if lines is None else lines
        self._ranks = {writer.id: writer.rank for writer in run.writers}
        self._add((wording.line(run.name), "bold"), "  ", (run.id, "dim"))

    def show(self, new: list[FollowedEvent]) -> None:
        lines = [line for event in new for line in self._lines(event)]
        for line in lines[max(0, len(lines) - self._limit) :]:
            self._add(*line)
        if new:
            self._limit = FLOOD
        output.flush()

    def _lines(self, followed: FollowedEvent) -> Iterator[tuple[draw.Part, draw.Part]]:
        event = followed.event
        if isinstance(event, events.RunStart):
            self._ranks[followed.writer] = event.rank
        rank = self._ranks.get(followed.writer, 0)
        at = f"{wording.clock(event.at)}  " + f"rank {rank}  " * bool(rank)
        for text_and_style in _shown(event):
            yield (at, "dim"), text_and_style

    def end(self, run: RunRecord) -> None:
        took = wording.duration(((run.ended or run.started) - run.started).total_seconds())
        fault = wording.line(f": {run.error.type}: {run.error.message}") if run.error else ""
        self._add((run.status, draw.STATUS_STYLES.get(run.status, "")), f" after {took}{fault}")

    def close(self) -> None:
        output.flush()

    def _add(self, *parts: draw.Part) -> None:
        draw.add(self._console, draw.line(*parts))


def _shown(event: events.Event) -> Iterator[tuple[str, str]]:
    """The lines that show an event, each with its style; none for samples of the hardware and for what is set once."""
    match event:
        case events.Metrics() if not _is_hardware(event):
            points = (
                f"{wording.line(name)}={wording.number(events.number(value))}" for name, value in event.values.items()
            )
            yield f"step {event.step}  {'  '.join(points)}", ""
        case events.Console():
            yield from ((line, "dim") for line in event.text.split("\n"))
        case events.Note():
            yield wording.line(event.text), "yellow"
        case events.Artifact():
            yield f"kept {wording.line(event.name)} ({wording.line(event.type)}, {wording.size(event.size)})", ""


class _Document:
    """For programs: a JSON array that grows while the run goes on."""

    def __init__(self, lines: int | None) -> None:
        self._limit, self._empty = lines, True
        self._say("[")

    def show(self, new: list[FollowedEvent]) -> None:
        items = [_item(each) for each in new if isinstance(each.event, SHOWN) and not _is_hardware(each.event)]
        for item in items if self._limit is None else items[max(0, len(items) - self._limit) :]:
            self._add(item)
        if new:
            self._limit = None

    def end(self, run: RunRecord) -> None:
        self._add({"kind": "end", "at": run.ended, "status": run.status, "error": run.error})

    def close(self) -> None:
        self._say("]")

    def _add(self, item: dict[str, Any]) -> None:
        # The comma stands first, so that each line is whole as soon as it is written.
        self._say(f"{' ' if self._empty else ','} {document.line(item)}")
        self._empty = False

    def _say(self, line: str) -> None:
        output.say(line)
        output.flush()


def _item(followed: FollowedEvent) -> dict[str, Any]:
    event = followed.event
    at = wording.time(event.at)
    fields = {name: value for name, value in msgspec.structs.asdict(event).items() if name not in ("v", "seq", "at")}
    return {"kind": event.__struct_config__.tag, "at": at, "writer": followed.writer, **fields}


def _is_hardware(event: events.Event) -> bool:
    return isinstance(event, events.Metrics) and all(name.startswith("system/") for name in event.values)
