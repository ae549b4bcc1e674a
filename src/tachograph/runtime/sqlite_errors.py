"""What an error of SQLite says about the database's file."""

from __future__ import annotations

import sqlite3


def is_damaged(error: sqlite3.DatabaseError) -> bool:
    """Whether ``error`` says that the file holds nonsense."""
    return code(error) in (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB)


def is_missing(error: sqlite3.DatabaseError) -> bool:
    """Whether ``error`` may come from a file that was deleted while it was opened."""
    return code(error) in (sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_IOERR)


def code(error: sqlite3.DatabaseError) -> int:
    """Which error it is, as SQLite numbers them; 0 for one that is none of SQLite's."""
    return getattr(error, "sqlite_errorcode", 0) & 0xFF
