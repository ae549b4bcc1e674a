"""Makes any text safe to show: on one line, and without characters that a terminal would obey rather than show."""

from __future__ import annotations


def printable(text: str) -> str:
    """``text`` on one line, without characters that move the cursor, change colours or turn the reading direction."""
    text = text.expandtabs()
    return text if text.isprintable() else "".join(map(_shown, text))


def line(text: str) -> str:
    """The same, with a single blank wherever there are several, or line ends."""
    return printable(" ".join(text.split()))


def decoded(text: str) -> str:
    """A text from the command line or a file system in valid Unicode: bytes that Python could not decode are read as
    UTF-8; those that are no UTF-8 become the replacement character."""
    if text.isascii():
        return text
    try:
        raw = text.encode("utf-8", "surrogateescape")
    except UnicodeEncodeError:  # half of a pair, which no bytes stand behind
        raw = text.encode("utf-8", "replace")
    return raw.decode("utf-8", "replace")


def _shown(character: str) -> str:
    if character.isprintable():
        return character
    return "\N{REPLACEMENT CHARACTER}" if "\ud800" <= character <= "\udfff" else " "
