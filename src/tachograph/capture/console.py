"""What the program prints, line by line: the beginning as it comes, the end when the run ends.

``sys.stdout`` and ``sys.stderr`` stay the user's own objects: only their ``write`` is wrapped, on the object itself,
and put back when the last run ends. A line is recorded when it is complete; of a progress bar that overwrites itself,
the last state. Past the beginning a line costs next to nothing: it is kept in memory, and cleaned of secrets only if it
still belongs to the end when that has come.
"""

from __future__ import annotations

import contextlib
import sys
import threading
from collections.abc import Iterator
from itertools import groupby
from typing import TYPE_CHECKING, Any

from tachograph import guard
from tachograph.events import Console
from tachograph.redaction import redact_text
from tachograph.runtime import forks

if TYPE_CHECKING:
    from tachograph.record.run import Run

BEGINNING = 1 << 19  # characters
END = 1 << 19
BEFORE = 1 << 16  # of what is printed before the first run
LINE_LIMIT = 4000

_listeners: dict[str, _StreamListener] = {}
_runs: dict[int, _RunOutput] = {}
_before: _BeforeRuns | None = None
_inside = threading.local()


def expect() -> None:
    """Keep what is printed from now on for the run that begins next."""
    global _before
    if not _runs and _before is None:
        _before = _BeforeRuns()
        _listen()


def expect_no_more() -> None:
    """Forget what was printed for a run that did not begin."""
    global _before
    _before = None
    _stop_listening()


def attach(run: Run) -> None:
    """Record for ``run`` what is printed from now on, and what was printed for it before it began."""
    global _before
    for listener in _listeners.values():
        listener.flush()
    earlier, _before = _before, None
    _stop_listening()  # to listen to the streams that are the program's now
    output = _runs[id(run)] = _RunOutput(run)
    for stream, text in earlier.lines.pieces() if earlier is not None else ():
        output.take(stream, text)
    _listen()


def detach(run: Run) -> None:
    """Stop recording for ``run``, which ends: its last lines are recorded now."""
    for listener in _listeners.values():
        listener.flush()
    output = _runs.pop(id(run), None)
    if output is not None:
        output.end()
    _stop_listening()


def _listen() -> None:
    for name in ("stdout", "stderr"):
        if name not in _listeners and hasattr(getattr(sys, name), "write"):
            _listeners[name] = _StreamListener(name, getattr(sys, name))


def _stop_listening() -> None:
    if not _runs and _before is None:
        for name in list(_listeners):
            _listeners.pop(name).remove()


class _LastLines:
    """The last lines that were printed: at least ``limit`` characters, and at most twice as many, of any number."""

    def __init__(self, limit: int) -> None:
        self._limit, self._size, self._left_out = limit, 0, 0
        self._older: list[tuple[str, str]] = []
        self._newer: list[tuple[str, str]] = []

    def add(self, stream: str, text: str) -> None:
        if len(text) > self._limit:
            text = redact_text(text)  # a secret that is cut could not be told any more
            self._left_out += text.count("\n", 0, -self._limit)
            text = text[-self._limit :]
        self._newer.append((stream, text))
        self._size += len(text)
        if self._size > self._limit:
            self._left_out += sum(text.count("\n") + 1 for _, text in self._older)
            self._older, self._newer, self._size = self._newer, [], 0

    def pieces(self) -> Iterator[tuple[str, str]]:
        """The kept lines as (stream, text), after a line that says how many were left out."""
        kept, size = [*self._older, *self._newer], 0
        first = len(kept)
        while first and size <= self._limit:
            first -= 1
            size += len(kept[first][1])
        left_out = self._left_out + sum(text.count("\n") + 1 for _, text in kept[:first])
        if left_out:
            yield kept[first][0], f"[{left_out:,} lines are left out]"
        for stream, group in groupby(kept[first:], key=lambda piece: piece[0]):
            yield stream, "\n".join(text for _, text in group)


class _BeforeRuns:
    """The last lines that are printed while there is no run yet."""

    def __init__(self) -> None:
        self.lines = _LastLines(BEFORE)

    def take(self, stream: str, text: str) -> None:
        self.lines.add(stream, text)


class _RunOutput:
    """What is printed while a run is open. The first lines are recorded at once; of the others the last, at its end."""

    def __init__(self, run: Run) -> None:
        self._run, self._size, self._lines = run, 0, _LastLines(END)

    def take(self, stream: str, text: str) -> None:
        self._size += len(text)
        if self._size > BEGINNING:
            self._lines.add(stream, text)
        else:
            self._write(stream, text)

    def end(self) -> None:
        """Record the last lines."""
        for stream, text in self._lines.pieces():
            self._write(stream, text)

    def _write(self, stream: str, text: str) -> None:
        self._run._journal.append(Console(stream=stream, text=redact_text(text)))

    def forked(self) -> None:
        """Drop the lines that are kept, in a forked child: its parent records them."""
        self._lines = _LastLines(END)


class _StreamListener:
    """Listens to what is written to one stream."""

    def __init__(self, name: str, stream: Any) -> None:
        self._name, self._stream, self._line, self._is_on = name, stream, "", True
        self._original = stream.write
        self._had_own_write = "write" in getattr(stream, "__dict__", {})
        self._write = self._make()
        with contextlib.suppress(AttributeError):  # a stream whose ``write`` can't be replaced
            stream.write = self._write

    def _make(self) -> Any:
        original, on_write = self._original, self._on_write

        def write(text: str, *args: Any, **kwargs: Any) -> Any:
            result = original(text, *args, **kwargs)
            if self._is_on and not getattr(_inside, "busy", False):
                on_write(text)
            return result

        return write

    def _on_write(self, text: str) -> None:
        _inside.busy = True
        try:
            self._take(text)
        except guard.FAULTS as error:  # guard.contained costs as much as all the rest
            guard.fault("console", error)
        finally:
            _inside.busy = False

    def _take(self, text: str) -> None:
        if text == "\n":  # how print ends a line
            line, self._line = self._line, ""
            self._record(_as_shown(line))
            return
        if "\n" not in text:
            self._line = self._line + text if self._line else text
            if len(self._line) > LINE_LIMIT:
                self._line = self._line.rpartition("\r")[2][-LINE_LIMIT:]
            return
        *complete, rest = (self._line + text).split("\n")
        self._line = rest.rpartition("\r")[2][-LINE_LIMIT:] if len(rest) > LINE_LIMIT else rest
        self._record("\n".join(map(_as_shown, complete)))

    def flush(self) -> None:
        """Record a last line that has no line end yet."""
        if self._line:
            line, self._line = self._line, ""
            self._record(_as_shown(line))

    def _record(self, text: str) -> None:
        for output in list(_runs.values()):
            output.take(self._name, text)
        if _before is not None:
            _before.take(self._name, text)

    def remove(self) -> None:
        """Give the stream its own ``write`` back. Where somebody has wrapped ours since, it stays and records
        nothing."""
        self._is_on = False
        if getattr(self._stream, "write", None) is not self._write:
            return
        if self._had_own_write:
            self._stream.write = self._original
        else:
            del self._stream.write


def _as_shown(line: str) -> str:
    """The line as a terminal shows it in the end: without what was overwritten after a carriage return."""
    if "\r" in line:
        line = line.rstrip("\r").rpartition("\r")[2]
    if len(line) > LINE_LIMIT:
        line = line[:LINE_LIMIT]
    return line if line.isascii() else line.encode("utf-8", "replace").decode()


def _forked() -> None:
    global _before
    _before = None
    for output in _runs.values():
        output.forked()


forks.in_child("console", _forked)
