"""A server's runs, files and tokens where it keeps its runs in PostgreSQL."""

from __future__ import annotations

from pathlib import Path

from tachograph.errors import Error
from tachograph.server import blobs
from tachograph.server.storage import Storage
from tachograph.server.tokens import Tokens

try:
    from tachograph.server.postgres.pool import Pool
    from tachograph.server.postgres.schema import prepare
    from tachograph.server.postgres.storage import Postgres
    from tachograph.server.postgres.tokens import DatabaseTokens
except ImportError:  # no psycopg, or one without its library
    raise Error("a database needs a part that is missing: pip install 'tachograph[postgresql]' brings it") from None


def opened(url: str, files: str | None, root: Path) -> tuple[str, Storage, Tokens]:
    """What to call the database at ``url``, its runs and tokens; ``files`` says where files go, else to ``root``.

    Raises ``Error`` where one of them can't be used.
    """
    pool = Pool(url)
    prepare(pool)
    return pool.name, Postgres(pool, blobs.opened(files, root)), DatabaseTokens(pool)


def tokens(url: str) -> Tokens:
    """The tokens in the database at ``url``. Raises ``Error`` where it can't be used."""
    pool = Pool(url)
    prepare(pool)
    return DatabaseTokens(pool)
