"""What can go wrong for the caller. Each message is one line that says what to do."""


class Error(Exception):
    """Base of every error that tachograph raises on purpose."""


class NotFound(Error, LookupError):
    """What was asked for is not in the store."""


class QueryError(Error, ValueError):
    """A ``where`` or ``order_by`` that can't be read."""


class Damaged(Error):
    """What was recorded does not match its digest, or can't be decoded."""


class TachographWarning(UserWarning):
    """Something was not recorded, or not as asked; training goes on."""
