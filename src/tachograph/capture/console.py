"""What the program prints, line by line, within a bound.

``sys.stdout`` and ``sys.stderr`` stay the user's own objects: only their ``write`` is wrapped, on the object itself,
and put back when the last run ends. A line is recorded when it is complete; of a progress bar that overwrites itself,
the last state.
"""

from __future__ import annotations

import contextlib
import sys
import threading
from typing import TYPE_CHECKING, Any

from tachograph import guard
from tachograph.capture.secrets import redact_text
from tachograph.events import Console

if TYPE_CHECKING:
    from tachograph.run import Run

LIMIT = 1 << 20
LINE_LIMIT = 4000

_taps: dict[str, _Tap] = {}
_runs: dict[str, _Share] = {}
_inside = threading.local()


def attach(run: Run) -> None:
    """Record for ``run`` what is printed from now on."""
    _runs[run.writer] = _Share(run)
    for name in ("stdout", "stderr"):
        if name not in _taps and hasattr(getattr(sys, name), "write"):
            _taps[name] = _Tap(name, getattr(sys, name))


def detach(run: Run) -> None:
    """``run`` has ended."""
    for tap in _taps.values():
        tap.flush()
    _runs.pop(run.writer, None)
    if not _runs:
        for name in list(_taps):
            _taps.pop(name).remove()


class _Share:
    """What a run gets of it: so many characters yet."""

    def __init__(self, run: Run) -> None:
        self.run = run
        self.size = 0

    def take(self, stream: str, text: str) -> None:
        if self.size <= LIMIT:
            self.size += len(text)
            text = text if self.size <= LIMIT else "[the rest is left out]"
            self.run._journal.append(Console(stream=stream, text=text))


class _Tap:
    """Hears what is written to one stream."""

    def __init__(self, name: str, stream: Any) -> None:
        self._name, self._stream, self._line, self._on = name, stream, "", True
        self._original = stream.write
        self._own = "write" in getattr(stream, "__dict__", {})
        self._write = self._make()
        with contextlib.suppress(AttributeError):  # a stream that can't be listened to
            stream.write = self._write

    def _make(self) -> Any:
        original, hear = self._original, self._hear

        def write(text: str, *args: Any, **kwargs: Any) -> Any:
            result = original(text, *args, **kwargs)
            if self._on and not getattr(_inside, "busy", False):
                hear(text)
            return result

        return write

    def _hear(self, text: str) -> None:
        _inside.busy = True
        try:
            with guard.contained("console"):
                self._take(text)
        finally:
            _inside.busy = False

    def _take(self, text: str) -> None:
        *complete, rest = (self._line + text).split("\n")
        self._line = rest.rpartition("\r")[2][-LINE_LIMIT:] if len(rest) > LINE_LIMIT else rest
        if complete:
            self._record("\n".join(_settled(line) for line in complete))

    def flush(self) -> None:
        """Record a last line that has no end."""
        if self._line:
            self._record(_settled(self._line))
            self._line = ""

    def _record(self, text: str) -> None:
        text = redact_text(text)
        for share in list(_runs.values()):
            share.take(self._name, text)

    def remove(self) -> None:
        """Give the stream its own ``write`` back. Where somebody has wrapped ours since, it stays and is deaf."""
        self._on = False
        if getattr(self._stream, "write", None) is not self._write:
            return
        if self._own:
            self._stream.write = self._original
        else:
            del self._stream.write


def _settled(line: str) -> str:
    """The line as a terminal shows it at last: what a carriage return overwrote is gone."""
    return line.rstrip("\r").rpartition("\r")[2][:LINE_LIMIT].encode("utf-8", "replace").decode()
