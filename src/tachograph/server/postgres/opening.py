"""Opening the storage and the tokens of a server that keeps its runs in PostgreSQL."""

from __future__ import annotations

from pathlib import Path

from tachograph.errors import Error
from tachograph.server import blobs
from tachograph.server.storage import Storage
from tachograph.server.tokens import Tokens

try:
    from tachograph.server.postgres.pool import Pool
    from tachograph.server.postgres.schema import prepare
    from tachograph.server.postgres.storage import PostgresStorage
    from tachograph.server.postgres.tokens import DatabaseTokens
except ImportError:  # no psycopg, or one without its library
    raise Error("a database needs a part that is missing: pip install 'tachograph[postgresql]' brings it") from None


def open_database(url: str, blob_url: str | None, root: Path) -> tuple[str, Storage, Tokens]:
    """The database at ``url``: its name for people, its storage and its tokens. Files are kept at ``blob_url``, or
    without it in ``root``.

    Raises ``Error`` where one of them can't be used.
    """
    pool = Pool(url)
    prepare(pool)
    return pool.name, PostgresStorage(pool, blobs.open_blobs(blob_url, root)), DatabaseTokens(pool)


def tokens(url: str) -> Tokens:
    """The tokens in the database at ``url``. Raises ``Error`` where it can't be used."""
    pool = Pool(url)
    prepare(pool)
    return DatabaseTokens(pool)
