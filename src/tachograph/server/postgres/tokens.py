"""The tokens of servers that keep their runs in PostgreSQL: all of them know what one was told, at once."""

from __future__ import annotations

import time

from tachograph.server.postgres.pool import Connection, Pool
from tachograph.server.tokens import Token, made, unknown


class DatabaseTokens:
    """See :class:`tachograph.server.tokens.Tokens`, which this is."""

    is_near = False

    def __init__(self, pool: Pool) -> None:
        self._pool = pool

    def all(self) -> list[Token]:
        rows = self._pool.rows("SELECT name, role, hash, created, revoked FROM token ORDER BY created, hash")
        return [Token(*row) for row in rows]

    def create(self, name: str, role: str) -> str:
        return self._pool.transact(lambda db: _create(db, name, role))

    def revoke(self, name: str) -> None:
        self._pool.transact(lambda db: _revoke(db, name))


def _create(db: Connection, name: str, role: str) -> str:
    db.execute("LOCK TABLE token IN SHARE ROW EXCLUSIVE MODE")  # two of one name at once
    known = db.execute("SELECT name, role, hash, created, revoked FROM token").fetchall()
    secret, token = made([Token(*row) for row in known], name, role)
    db.execute(
        "INSERT INTO token (name, role, hash, created) VALUES (?, ?, ?, ?)",
        (token.name, token.role, token.hash, token.created),
    )
    return secret


def _revoke(db: Connection, name: str) -> None:
    done = db.execute("UPDATE token SET revoked = ? WHERE name = ? AND revoked IS NULL", (time.time(), name))
    if not done.rowcount:
        raise unknown(name)
