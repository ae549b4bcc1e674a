"""Makes any text safe to show: on one line, and without characters that a terminal would obey rather than show."""

from __future__ import annotations

MOST_RECORDED = 10_000  # characters of a text
MOST_QUOTED = 60
MOST_SHOWN = 20_000  # what we record is shorter; a journal that somebody else wrote may hold any


def clipped(text: str, most: int = MOST_SHOWN) -> str:
    """At most so many characters of ``text``, and how many it has."""
    return text if len(text) <= most else text[:most] + f"... ({len(text)} characters)"


def printable(text: str) -> str:
    """``text`` on one line, without characters that move the cursor, change colours or turn the reading direction."""
    text = text.expandtabs()
    if text.isprintable():
        return text
    return text.translate({ord(character): _shown(character) for character in set(text)})


def line(text: str) -> str:
    """The same, with a single blank wherever there are several, or line ends; at most 20,000 characters of it."""
    return printable(" ".join(clipped(text).split()))


def quoted(value: object) -> str:
    """What somebody gave, in quotes if it is a text, for an error: cut where it is long."""
    text = repr(value)
    return text if len(text) <= MOST_QUOTED else f"{text[: MOST_QUOTED - 3]}..."


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
