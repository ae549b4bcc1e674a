"""The way out of the commands: what they write to standard output and standard error.

Every text is made printable here, whoever wrote it: it stays on its line, and a terminal shows it instead of obeying
it. Beside this module only :mod:`tachograph.cli.view.draw`, for what has styles, and :mod:`tachograph.store.document`,
for JSON, write anything; a test holds that.
"""

from __future__ import annotations

import io
import os
import shutil
import sys

from tachograph.printable import line, printable


def prepare() -> None:
    """What a terminal can't show is no reason to fail, nor is an output that was closed."""
    if sys.stdout is None:
        sys.stdout = open(os.devnull, "w", encoding="utf-8")  # noqa: SIM115 - for as long as the process lives
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="replace")


def flush() -> None:
    """Hand on what was written."""
    sys.stdout.flush()


def abandon() -> None:
    """Nobody reads standard output any more."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def say(text: str) -> None:
    """Write a line to standard output."""
    print(printable(text))


def say_page(text: str) -> None:
    """Write a text of ours, of several lines, to standard output."""
    for one in text.splitlines():
        say(one)


def complain(error: object) -> None:
    """Say what is wrong, on one line of standard error."""
    print("tachograph:", line(str(error)), file=sys.stderr)


def answer(question: str) -> str:
    """What is typed on the terminal after a question."""
    print(printable(question), end=" ", file=sys.stderr, flush=True)
    return sys.stdin.readline().strip()


def can_ask() -> bool:
    """Whether there is somebody to answer."""
    return bool(sys.stdin) and sys.stdin.isatty()


class Status:
    """The last line of a terminal's standard error, written anew as things go on; nothing where that is no terminal."""

    def __init__(self) -> None:
        self.is_seen = sys.stderr is not None and sys.stderr.isatty()
        self._is_there = False

    def show(self, text: str) -> None:
        """Write it anew, as far as there is room."""
        if self.is_seen:
            self._is_there = True
            self._write(printable(text)[: shutil.get_terminal_size().columns - 1])

    def clear(self) -> None:
        """Leave the line empty."""
        if self._is_there:
            self._is_there = False
            self._write("")

    def _write(self, text: str) -> None:
        print(f"\r{text}\x1b[K", end="", file=sys.stderr, flush=True)
