"""What can go wrong for the caller. Each message is one line that says what to do."""

from tachograph.printable import printable


class Error(Exception):
    """Base of every error that tachograph raises on purpose. Its text can be shown, whoever wrote the names in it."""

    def __str__(self) -> str:
        return printable(super().__str__())


class NotFound(Error, LookupError):
    """What was asked for is not in the store."""


class QueryError(Error, ValueError):
    """A ``where`` or ``order_by`` that can't be read."""


class Damaged(Error):
    """What was recorded does not match its digest, or can't be decoded."""


class TachographWarning(UserWarning):
    """Something was not recorded, or not as asked; training goes on."""
