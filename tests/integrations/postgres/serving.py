"""Servers that keep their runs in PostgreSQL, and what they keep."""

from __future__ import annotations

from pathlib import Path

from tests.integrations.server.serving import Server

from tachograph.server.blobs import FolderBlobs
from tachograph.server.postgres.pool import Pool
from tachograph.server.postgres.schema import prepare
from tachograph.server.postgres.storage import PostgresStorage
from tachograph.server.postgres.tokens import DatabaseTokens
from tachograph.server.tokens import Tokens
from tachograph.store.store import Store


class DatabaseServer(Server):
    """``tachograph serve --database``. Files are below ``root``."""

    def __init__(self, root: Path, database: str, *options: str) -> None:
        self.database = database
        self.pool = Pool(database)
        super().__init__(root, "--database", database, *options)

    @property
    def kept(self) -> PostgresStorage:
        """What is in the database, without the server."""
        return PostgresStorage(self.pool, FolderBlobs(self.root))

    @property
    def place(self) -> list[str]:
        return ["--database", self.database]

    @property
    def tokens(self) -> Tokens:
        return DatabaseTokens(self.pool)

    def writers(self, run: str) -> list[str]:
        return list(self.kept.positions(run))

    def held(self, run: str, writer: str) -> list[bytes]:
        return b"".join(self.kept.lines(run, writer)).splitlines()

    def store(self) -> Store:
        return self.kept.ask(lambda store: store)


def prepared(database: str) -> Pool:
    """Connections to a database in which all that servers need was made."""
    pool = Pool(database)
    prepare(pool)
    return pool
