"""What can go wrong for the caller. Each message is one line that says what to do."""

from __future__ import annotations

from collections.abc import Sequence

from tachograph.printable import printable


class Error(Exception):
    """Base of every error that tachograph raises on purpose. Its text can be shown, whoever wrote the names in it."""

    def __str__(self) -> str:
        return printable(super().__str__())


class NotFound(Error, LookupError):
    """There is no such run, artifact or other thing in the store."""


class QueryError(Error, ValueError):
    """A ``where`` or ``order_by`` that can't be read."""


class Taken(Error, ValueError):
    """A name or a number that somebody else was given already."""


class NotAllowed(Error):
    """What was asked is not allowed by the rules that somebody made."""


class Damaged(Error):
    """What was recorded does not match its digest, or can't be decoded."""


class TachographWarning(UserWarning):
    """Something was not recorded, or not as it should have been; training goes on."""


class Retry(Error):
    """The sink can't take this now, but may later: not before ``after`` seconds, where it says so.

    An ``OSError`` (no connection, a time-out, a full disk) that a sink raises means the same. ``moved`` says that a
    part of a file got over before: the sink is not down.
    """

    moved = False

    def __init__(self, after: float | None = None, why: str = "") -> None:
        super().__init__(why or "it can't take more now")
        self.after = after


class Reject(Error):
    """The sink will never take ``lines``: none for a file, and where it can't tell which lines are wrong.

    The shipper sets rejected lines aside for people to see, and sends the others again.
    """

    def __init__(self, lines: Sequence[bytes], why: str) -> None:
        super().__init__(why)
        self.lines = tuple(lines)
