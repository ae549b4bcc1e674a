"""The tables, as data. SQLite holds those of a store, PostgreSQL those of servers.

The statements that make them in either are printed by :mod:`tachograph.index.dialect`.
"""

from __future__ import annotations

from typing import NamedTuple

SCHEMA_VERSION = 5

# What columns hold, as SQLite spells it.
NUMBERED = "INTEGER PRIMARY KEY AUTOINCREMENT"  # given by the database, each number once
INTEGER, BIGINT, DOUBLE, NUMERIC = "INTEGER", "BIGINT", "DOUBLE PRECISION", "NUMERIC"
TEXT, BLOB, BOOLEAN = "TEXT", "BLOB", "BOOLEAN"
NULLABLE = ""


class SqlColumn(NamedTuple):
    """A column. Words of SQL stand in double quotes in its name."""

    name: str
    type: str
    constraint: str = "NOT NULL"


class SqlTable(NamedTuple):
    """A table. With ``key``, several columns, the rows lie in the order of that key; otherwise as they came."""

    name: str
    columns: list[SqlColumn]
    key: str = ""
    unique: str = ""


class SqlIndex(NamedTuple):
    """An index of the rows for which ``where`` holds, or of all. ``postgresql`` is what PostgreSQL makes an index of,
    where that differs: an entry has at most 2,704 bytes there, so that text, which may be long, doesn't become one."""

    name: str
    table: str
    columns: str
    where: str = ""
    postgresql: str = ""


TABLES = [
    SqlTable("run", [
        SqlColumn("no", NUMBERED, NULLABLE), SqlColumn("id", TEXT, "NOT NULL UNIQUE"),
        SqlColumn("folder_time", BIGINT, "NOT NULL DEFAULT 0"),  # when the folder was changed, in ns; 0: look again
        SqlColumn("name", TEXT, NULLABLE), SqlColumn("experiment", TEXT, NULLABLE),
        SqlColumn("parent", TEXT, NULLABLE), SqlColumn("opener", TEXT, NULLABLE),
        SqlColumn("leader", BIGINT, NULLABLE),  # the writer that decides how the run ended
        # As the leader recorded them, or a witness of its death.
        SqlColumn("status", TEXT, NULLABLE), SqlColumn("ended", DOUBLE, NULLABLE),
        # Times of the first and the last event.
        SqlColumn("started", DOUBLE, NULLABLE), SqlColumn("latest", DOUBLE, NULLABLE),
    ]),
    SqlTable("writer", [
        SqlColumn("no", NUMBERED, NULLABLE), SqlColumn("run", BIGINT), SqlColumn("id", TEXT),
        SqlColumn("revision", BIGINT, "NOT NULL DEFAULT 0"),  # how many blocks were read
        SqlColumn("sealed", BOOLEAN, "NOT NULL DEFAULT FALSE"),  # whether nothing more is to be expected
        SqlColumn("header", BLOB, NULLABLE), SqlColumn('"end"', BLOB, NULLABLE),  # the events
        SqlColumn("started", DOUBLE, NULLABLE), SqlColumn("clock", DOUBLE, "NOT NULL DEFAULT 0"),
        SqlColumn("seen", BLOB, "NOT NULL DEFAULT '[]'"),  # ranges of sequence numbers
    ], unique="run, id"),
    SqlTable("segment", [
        SqlColumn("writer", BIGINT), SqlColumn("first", BIGINT), SqlColumn('"offset"', BIGINT),
        SqlColumn("line", BIGINT),
    ], key="writer, first"),
    SqlTable("event", [
        SqlColumn("run", BIGINT), SqlColumn("writer", BIGINT), SqlColumn("seq", BIGINT), SqlColumn("clock", DOUBLE),
        SqlColumn("kind", TEXT), SqlColumn("line", BLOB),
    ]),
    SqlTable("label", [
        SqlColumn("no", NUMBERED, NULLABLE), SqlColumn("digest", BLOB, "NOT NULL UNIQUE"), SqlColumn("text", TEXT),
    ]),
    SqlTable("chunk", [
        SqlColumn("first_seq", BIGINT), SqlColumn("last_seq", BIGINT),
        SqlColumn("clock", DOUBLE),  # the writer's latest time up to and in it
        SqlColumn("writer", INTEGER), SqlColumn("label", INTEGER), SqlColumn("count", INTEGER),
        SqlColumn("points", BLOB),  # see tachograph.index.chunk_codec
        SqlColumn("digest", BLOB, NULLABLE),  # what a summary needs, where the points are many
    ], key="writer, label, first_seq"),

    # Last values. What is no number and no text is null or, if that is known, NaN; a metric without a number is NaN.
    SqlTable("metric", [
        SqlColumn("number", DOUBLE, NULLABLE), SqlColumn("step", BIGINT), SqlColumn("clock", DOUBLE),
        SqlColumn("seq", BIGINT), SqlColumn("run", INTEGER), SqlColumn("label", INTEGER),
        SqlColumn("author", INTEGER),
    ], key="run, label"),
    SqlTable("param", [
        SqlColumn("run", INTEGER), SqlColumn("label", INTEGER), SqlColumn("number", NUMERIC, NULLABLE),
        SqlColumn("text", TEXT, NULLABLE), SqlColumn("nan", BOOLEAN), SqlColumn("written", BLOB),
        SqlColumn("clock", DOUBLE), SqlColumn("author", INTEGER), SqlColumn("seq", BIGINT),
    ], key="run, label"),
    SqlTable("tag", [
        SqlColumn("run", INTEGER), SqlColumn("label", INTEGER), SqlColumn("text", TEXT), SqlColumn("clock", DOUBLE),
        SqlColumn("author", INTEGER), SqlColumn("seq", BIGINT),
    ], key="run, label"),
    SqlTable("damage", [
        SqlColumn("writer", BIGINT), SqlColumn("segment", BIGINT), SqlColumn("line", BIGINT),
        SqlColumn('"offset"', BIGINT), SqlColumn("reason", TEXT), SqlColumn("torn", BOOLEAN),
    ]),
]  # fmt: skip

INDEXES = [
    SqlIndex("run_by_start", "run", "started"),
    SqlIndex("run_by_parent", "run", "parent", postgresql="USING hash (parent)"),
    SqlIndex("writer_unsealed", "writer", "no", where="NOT sealed"),
    SqlIndex("event_by_run", "event", "run, kind"),
    SqlIndex("event_by_kind", "event", "kind"),
    SqlIndex("event_by_writer", "event", "writer"),
    SqlIndex("metric_by_number", "metric", "label, number"),
    SqlIndex("param_by_number", "param", "label, number"),
    SqlIndex("param_by_text", "param", "label, text", postgresql="(label)"),
    SqlIndex("tag_by_text", "tag", "label, text", postgresql="(label)"),
    SqlIndex("damage_by_writer", "damage", "writer"),
]

# A run as people see it. A writer without an end is sealed only once its process is gone, as can be proven here.
RECORD = """
CREATE VIEW record AS
SELECT run.no, run.id, run.name, run.experiment, run.parent, run.opener, run.started, run.latest,
    coalesce(run.status, CASE WHEN leader.sealed THEN 'crashed' ELSE 'running' END) AS status,
    CASE WHEN run.status IS NOT NULL THEN run.ended WHEN leader.sealed THEN run.latest END AS ended
FROM run JOIN writer AS leader ON leader.no = run.leader;
"""

# Conditions of SQL. A run and a writer have begun once an event of theirs was read: until then there is but a folder.
RUN_HAS_BEGUN = "run.leader IS NOT NULL"
WRITER_HAS_BEGUN = "writer.started IS NOT NULL"
TO_LOOK_AT = "folder_time = 0 OR leader IS NULL"  # of runs whose folder is to be looked at again
# Up to where the index of a folder knows what is there: see :mod:`tachograph.index.discovery`.
LOCAL_TABLES = [
    SqlTable("look", [
        SqlColumn("folder_time", BIGINT), SqlColumn("removed", BIGINT), SqlColumn("news", BLOB),
        SqlColumn("news_end", BIGINT), SqlColumn("looked", DOUBLE),  # when at everything, in seconds since 1970
    ]),
]  # fmt: skip
LOCAL_INDEXES = [SqlIndex("run_unsettled", "run", "no", where=TO_LOOK_AT)]
LOCAL_ROWS = "INSERT INTO look VALUES (0, 0, '', 0, 0.0);"

_RUN = "(SELECT no FROM run WHERE id = ?)"
# Delete all that is there of a run but its own row; each takes the run's id.
EMPTYING = [
    *(f"DELETE FROM {table} WHERE writer IN (SELECT no FROM writer WHERE run = {_RUN})"
      for table in ("segment", "chunk", "damage")),
    *(f"DELETE FROM {table} WHERE run = {_RUN}" for table in ("event", "metric", "param", "tag", "writer")),
]  # fmt: skip
