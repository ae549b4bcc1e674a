"""The tables that servers have in PostgreSQL, in a schema of their own.

batch    the truth: the lines as they were received, compressed with zlib
token    who is let in
removed  which runs were removed
version  of the other tables

The other tables are those of every store (see :mod:`tachograph.index.schema`). They are derived from the batches, and
derived again where their version is older than this program's.
"""

from __future__ import annotations

import psycopg

from tachograph.errors import Error
from tachograph.index.dialect import postgresql_schema
from tachograph.index.projection import WRITER_COLUMNS, IndexedWriter
from tachograph.index.schema import SCHEMA_VERSION
from tachograph.server.postgres.pool import Connection, Pool
from tachograph.server.postgres.storage import batches_after, fold, make_writer

KEPT = """
CREATE SCHEMA tachograph;
CREATE TABLE tachograph.version (version BIGINT NOT NULL);
CREATE TABLE tachograph.batch (
    run TEXT COLLATE "C" NOT NULL, writer TEXT COLLATE "C" NOT NULL, first BIGINT NOT NULL, last BIGINT NOT NULL,
    lines BYTEA NOT NULL, PRIMARY KEY (run, writer, first)
);
ALTER TABLE tachograph.batch ALTER COLUMN lines SET STORAGE EXTERNAL;
CREATE TABLE tachograph.token (
    name TEXT COLLATE "C" NOT NULL, role TEXT COLLATE "C" NOT NULL, hash TEXT COLLATE "C" NOT NULL UNIQUE,
    created DOUBLE PRECISION NOT NULL, revoked DOUBLE PRECISION
);
CREATE FUNCTION tachograph.instr(BYTEA, BYTEA) RETURNS INTEGER LANGUAGE sql IMMUTABLE RETURN position($2 IN $1);
INSERT INTO tachograph.version VALUES (0);
"""
SINCE = """
CREATE TABLE IF NOT EXISTS tachograph.removed (
    id TEXT COLLATE "C" PRIMARY KEY, name TEXT COLLATE "C" NOT NULL, at DOUBLE PRECISION NOT NULL,
    by TEXT COLLATE "C" NOT NULL
);
"""
MADE = f"""
{postgresql_schema()}
ALTER TABLE writer ADD COLUMN held BIGINT NOT NULL DEFAULT 0;  -- the number of the last event
-- PostgreSQL's own compression takes most of the time that a batch takes, and gains little on arrays.
ALTER TABLE chunk ALTER COLUMN points SET STORAGE EXTERNAL;
"""
FORGOTTEN = """
DROP VIEW IF EXISTS record;
DROP TABLE IF EXISTS run, writer, segment, event, label, chunk, metric, param, tag, damage;
"""
_LOCK = 0x7461_6368_6F67_7261  # any number that nobody else takes


def prepare(pool: Pool) -> None:
    """Make what is missing in the database; several servers may do so at once. Raises ``Error``."""
    pool.check()
    try:
        pool.transact(lambda db: _prepare(db, pool.name))
    except psycopg.Error as error:
        raise Error(f"can't prepare {pool.name}: {pool.reason(error)}") from None


def _prepare(db: Connection, name: str) -> None:
    db.execute("SELECT pg_advisory_xact_lock(?)", (_LOCK,))
    if db.execute("SELECT to_regclass('tachograph.version')").fetchone() == (None,):
        db.script(KEPT)
    db.script(SINCE)
    (version,) = db.execute("SELECT version FROM version").fetchone()
    if version > SCHEMA_VERSION:
        raise Error(f"{name} was set up by a newer tachograph (version {version}): upgrade this one ({SCHEMA_VERSION})")
    if version < SCHEMA_VERSION:
        _derive_tables(db)


def _derive_tables(db: Connection) -> None:
    """Make the tables that questions are answered from, out of the batches."""
    db.script(FORGOTTEN)
    db.script(MADE)
    for run, writer in db.execute("SELECT DISTINCT run, writer FROM batch ORDER BY run, writer").fetchall():
        make_writer(db, run, writer)
        _replay(db, run, writer)
    db.execute("UPDATE version SET version = ?", (SCHEMA_VERSION,))


def _replay(db: Connection, run: str, writer: str) -> None:
    """Fold all batches of a writer into the derived tables."""
    columns = ", ".join(f"writer.{column}" for column in WRITER_COLUMNS)
    sql = f"SELECT {columns} FROM writer JOIN run ON run.no = writer.run WHERE run.id = ? AND writer.id = ?"
    last = 0
    while batches := batches_after(lambda text, *values: db.execute(text, values).fetchall(), run, writer, last):
        for first, last, content in batches:
            state = db.execute(sql, (run, writer)).fetchone()
            fold(db, IndexedWriter.loaded(state), first, last, content)
