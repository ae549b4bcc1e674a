"""The tables in both dialects, and one statement for several rows, as PostgreSQL takes it."""

from __future__ import annotations

import pytest

from tachograph.index.dialect import many, postgresql_schema, sqlite_schema


def test_the_tables_in_both_dialects() -> None:
    columns = 'writer BIGINT NOT NULL, first BIGINT NOT NULL, "offset" BIGINT NOT NULL, line BIGINT NOT NULL'
    segment = f"CREATE TABLE segment ({columns}, PRIMARY KEY (writer, first))"
    numbered, identity = "no INTEGER PRIMARY KEY AUTOINCREMENT", "no INTEGER PRIMARY KEY GENERATED ALWAYS AS IDENTITY"
    sqlite, postgresql = sqlite_schema().splitlines(), postgresql_schema().splitlines()
    for line in (
        f"{segment} WITHOUT ROWID;",
        f"CREATE TABLE label ({numbered}, digest BLOB NOT NULL UNIQUE, text TEXT NOT NULL);",
        "CREATE INDEX tag_by_text ON tag (label, text);",
        "CREATE INDEX run_by_parent ON run (parent);",
        "CREATE INDEX writer_unsealed ON writer (no) WHERE NOT sealed;",
        "CREATE INDEX run_unsettled ON run (no) WHERE folder_time = 0 OR leader IS NULL;",
    ):
        assert line in sqlite
    for line in (
        f"{segment};",
        f'CREATE TABLE label ({identity}, digest BYTEA NOT NULL UNIQUE, text TEXT COLLATE "C" NOT NULL);',
        "CREATE INDEX tag_by_text ON tag (label);",
        "CREATE INDEX run_by_parent ON run USING hash (parent);",
        "CREATE INDEX writer_unsealed ON writer (no) WHERE NOT sealed;",
    ):
        assert line in postgresql


def test_statements_for_several_rows() -> None:
    inserted = many('INSERT INTO segment (writer, "offset") VALUES (?, ?) ON CONFLICT DO NOTHING')
    assert inserted is not None
    assert inserted.types == ["BIGINT", "BIGINT"]
    assert inserted.sql == (
        'INSERT INTO segment (writer, "offset") SELECT * FROM unnest(%s::BIGINT[], %s::BIGINT[]) ON CONFLICT DO NOTHING'
    )
    deleted = many("DELETE FROM chunk WHERE writer = ? AND label = ?")
    assert deleted is not None
    assert deleted.sql == (
        "DELETE FROM chunk USING unnest(%s::INTEGER[], %s::INTEGER[]) WITH ORDINALITY AS given (value1, value2, place) "
        "WHERE writer = given.value1 AND label = given.value2"
    )
    asked = many("SELECT no FROM label WHERE digest = ?")
    assert asked is not None
    assert asked.sql == (
        "SELECT place, found.* FROM unnest(%s::BYTEA[]) WITH ORDINALITY AS given (value1, place) "
        "CROSS JOIN LATERAL (SELECT no FROM label WHERE digest = given.value1) AS found ORDER BY place"
    )


@pytest.mark.parametrize(
    "sql",
    [
        "UPDATE writer SET sealed = TRUE WHERE no = ?",
        "INSERT INTO token (name) VALUES (?)",
        "INSERT INTO writer (run, id) SELECT no, ? FROM run WHERE id = ?",
        "SELECT no FROM run WHERE started > ?",
    ],
)
def test_other_statements_are_left_as_they_are(sql: str) -> None:
    assert many(sql) is None
