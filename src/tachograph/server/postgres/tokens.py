"""The tokens of servers that keep their runs in PostgreSQL: a change counts for all of them at once."""

from __future__ import annotations

import time

from tachograph.server.postgres.pool import Connection, Pool
from tachograph.server.tokens import Token, new_token, no_such_token


class DatabaseTokens:
    """The :class:`tachograph.server.tokens.Tokens` in a database."""

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
    db.execute("LOCK TABLE token IN SHARE ROW EXCLUSIVE MODE")  # so that two of one name can't be made at once
    rows = db.execute("SELECT name, role, hash, created, revoked FROM token").fetchall()
    secret, token = new_token([Token(*row) for row in rows], name, role)
    db.execute(
        "INSERT INTO token (name, role, hash, created) VALUES (?, ?, ?, ?)",
        (token.name, token.role, token.hash, token.created),
    )
    return secret


def _revoke(db: Connection, name: str) -> None:
    updated = db.execute("UPDATE token SET revoked = ? WHERE name = ? AND revoked IS NULL", (time.time(), name))
    if not updated.rowcount:
        raise no_such_token(name)
