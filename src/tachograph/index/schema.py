"""The tables. SQLite holds those of a store; PostgreSQL, as :mod:`tachograph.index.dialect` spells them, those of
servers."""

from __future__ import annotations

SCHEMA_VERSION = 5

SCHEMA = """
CREATE TABLE run (
    no INTEGER PRIMARY KEY AUTOINCREMENT, id TEXT NOT NULL UNIQUE,
    folder_time BIGINT NOT NULL DEFAULT 0,  -- when the folder was last changed, in ns; 0 = look again
    name TEXT, experiment TEXT, parent TEXT, opener TEXT,
    leader BIGINT,                          -- the writer that decides how the run ended
    status TEXT, ended DOUBLE PRECISION,    -- as the leader recorded them, or a witness of its death
    started DOUBLE PRECISION, latest DOUBLE PRECISION  -- times of the first and the last event
);
CREATE INDEX run_by_start ON run (started);
CREATE INDEX run_by_parent ON run (parent);
CREATE TABLE writer (
    no INTEGER PRIMARY KEY AUTOINCREMENT, run BIGINT NOT NULL, id TEXT NOT NULL,
    revision BIGINT NOT NULL DEFAULT 0,     -- how many blocks were read
    sealed BOOLEAN NOT NULL DEFAULT FALSE,  -- whether nothing more is to be expected
    header BLOB, "end" BLOB,                -- the events
    started DOUBLE PRECISION, clock DOUBLE PRECISION NOT NULL DEFAULT 0,
    seen BLOB NOT NULL DEFAULT '[]',        -- ranges of sequence numbers
    UNIQUE (run, id)
);
CREATE INDEX writer_unsealed ON writer (no) WHERE NOT sealed;
CREATE TABLE segment (
    writer BIGINT NOT NULL, first BIGINT NOT NULL, "offset" BIGINT NOT NULL, line BIGINT NOT NULL,
    PRIMARY KEY (writer, first)
) WITHOUT ROWID;
CREATE TABLE event (
    run BIGINT NOT NULL, writer BIGINT NOT NULL, seq BIGINT NOT NULL, clock DOUBLE PRECISION NOT NULL,
    kind TEXT NOT NULL, line BLOB NOT NULL
);
CREATE INDEX event_by_run ON event (run, kind);
CREATE INDEX event_by_kind ON event (kind);
CREATE INDEX event_by_writer ON event (writer);
CREATE TABLE label (no INTEGER PRIMARY KEY AUTOINCREMENT, digest BLOB NOT NULL UNIQUE, text TEXT NOT NULL);
CREATE TABLE chunk (
    first_seq BIGINT NOT NULL, last_seq BIGINT NOT NULL,
    clock DOUBLE PRECISION NOT NULL,        -- the writer's latest time up to and in it
    writer INTEGER NOT NULL, label INTEGER NOT NULL, count INTEGER NOT NULL,
    points BLOB NOT NULL,                   -- see tachograph.index.chunk_codec
    digest BLOB,                            -- what a summary needs, where the points are many
    PRIMARY KEY (writer, label, first_seq)
) WITHOUT ROWID;

-- Last values. What is no number and no text is null or, if that is told, NaN; a metric without a number is NaN.
CREATE TABLE metric (
    number DOUBLE PRECISION, step BIGINT NOT NULL, clock DOUBLE PRECISION NOT NULL, seq BIGINT NOT NULL,
    run INTEGER NOT NULL, label INTEGER NOT NULL, author INTEGER NOT NULL, PRIMARY KEY (run, label)
) WITHOUT ROWID;
CREATE INDEX metric_by_number ON metric (label, number);
CREATE TABLE param (
    run INTEGER NOT NULL, label INTEGER NOT NULL,
    number NUMERIC, text TEXT, nan BOOLEAN NOT NULL, written BLOB NOT NULL,
    clock DOUBLE PRECISION NOT NULL, author INTEGER NOT NULL, seq BIGINT NOT NULL, PRIMARY KEY (run, label)
) WITHOUT ROWID;
CREATE INDEX param_by_number ON param (label, number);
CREATE INDEX param_by_text ON param (label, text);
CREATE TABLE tag (
    run INTEGER NOT NULL, label INTEGER NOT NULL, text TEXT NOT NULL,
    clock DOUBLE PRECISION NOT NULL, author INTEGER NOT NULL, seq BIGINT NOT NULL, PRIMARY KEY (run, label)
) WITHOUT ROWID;
CREATE INDEX tag_by_text ON tag (label, text);
CREATE TABLE damage (
    writer BIGINT NOT NULL, segment BIGINT NOT NULL, line BIGINT NOT NULL, "offset" BIGINT NOT NULL,
    reason TEXT NOT NULL, torn BOOLEAN NOT NULL
);
CREATE INDEX damage_by_writer ON damage (writer);

-- A run as people see it. A writer without an end is sealed only once its process is gone, as can be proven here.
CREATE VIEW record AS
SELECT run.no, run.id, run.name, run.experiment, run.parent, run.opener, run.started, run.latest,
    coalesce(run.status, CASE WHEN leader.sealed THEN 'crashed' ELSE 'running' END) AS status,
    CASE WHEN run.status IS NOT NULL THEN run.ended WHEN leader.sealed THEN run.latest END AS ended
FROM run JOIN writer AS leader ON leader.no = run.leader;
"""

# Up to where the index of a folder knows what is there: see :mod:`tachograph.index.discovery`.
LOCAL = """
CREATE TABLE look (
    folder_time BIGINT NOT NULL, removed BIGINT NOT NULL, news BLOB NOT NULL, news_end BIGINT NOT NULL,
    looked DOUBLE PRECISION NOT NULL  -- when at everything, in seconds since 1970
);
CREATE INDEX run_unsettled ON run (no) WHERE folder_time = 0 OR leader IS NULL;
INSERT INTO look VALUES (0, 0, '', 0, 0.0);
"""

_RUN = "(SELECT no FROM run WHERE id = ?)"
# Delete all that is there of a run but its own row; each takes the run's id.
EMPTYING = [
    *(f"DELETE FROM {table} WHERE writer IN (SELECT no FROM writer WHERE run = {_RUN})"
      for table in ("segment", "chunk", "damage")),
    *(f"DELETE FROM {table} WHERE run = {_RUN}" for table in ("event", "metric", "param", "tag", "writer")),
]  # fmt: skip
