"""What the commands write to standard output and standard error.

Every text is made printable here, whoever wrote it: it stays on its line, and a terminal shows control characters
instead of obeying them. Beside this module only :mod:`tachograph.cli.view.draw`, for what has styles, and
:mod:`tachograph.store.document`, for JSON, write anything; a test holds that.
"""

from __future__ import annotations

import io
import os
import shutil
import sys

from tachograph.printable import clipped, line, printable


def prepare() -> None:
    """See to it that a command doesn't fail where a terminal can't show a character, or standard output was closed."""
    if sys.stdout is None:
        sys.stdout = open(os.devnull, "w", encoding="utf-8")  # noqa: SIM115 - for as long as the process lives
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="replace")


def flush() -> None:
    """Flush standard output."""
    sys.stdout.flush()


def abandon() -> None:
    """Discard the rest: nobody reads standard output any more."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def shown(text: str) -> str:
    """``text`` as it is shown, on its line: of a very long one the beginning."""
    return printable(clipped(text))


def say(text: str) -> None:
    """Write a line to standard output."""
    print(shown(text))


def say_page(text: str) -> None:
    """Write a text of several lines to standard output."""
    for each in text.splitlines():
        say(each)


def complain(error: object) -> None:
    """Say what is wrong, on one line of standard error."""
    print("tachograph:", line(str(error)), file=sys.stderr)


def answer(question: str) -> str:
    """Ask a question on the terminal; what is typed after it."""
    print(shown(question), end=" ", file=sys.stderr, flush=True)
    return sys.stdin.readline().strip()


def can_ask() -> bool:
    """Whether there is a terminal to ask on."""
    return bool(sys.stdin) and sys.stdin.isatty()


class Status:
    """A line at the end of a terminal that is written again and again while work goes on. Where standard error is no
    terminal, nothing is written."""

    def __init__(self) -> None:
        self.is_terminal = sys.stderr is not None and sys.stderr.isatty()
        self._is_shown = False

    def show(self, text: str) -> None:
        """Replace the line, as far as there is room."""
        if self.is_terminal:
            self._is_shown = True
            self._write(shown(text)[: shutil.get_terminal_size().columns - 1])

    def clear(self) -> None:
        """Leave the line empty."""
        if self._is_shown:
            self._is_shown = False
            self._write("")

    def _write(self, text: str) -> None:
        print(f"\r{text}\x1b[K", end="", file=sys.stderr, flush=True)
