"""The sink keeps the rules."""

import sqlite3
from contextlib import closing, contextmanager

import pytest
from tachograph_sqlite import SqliteSink

import tachograph
from tachograph import events
from tachograph.sinks import Retry
from tachograph.testing import check_sink


@pytest.fixture
def path(tmp_path):
    return tmp_path / "all my runs.db"


def select(path, question, *values):
    with closing(sqlite3.connect(path)) as database:
        return database.execute(question, values).fetchall()


def test_the_rules(path):
    def stored(run):
        found = {}
        for writer, line in select(path, "SELECT writer, line FROM events WHERE run = ? ORDER BY writer, seq", run):
            found.setdefault(writer, []).append(events.decode(line))
        return found

    @contextmanager
    def away():
        kept = path.rename(path.with_suffix(".kept"))
        path.mkdir()
        yield
        path.rmdir()
        kept.rename(path)

    check_sink(lambda: SqliteSink(path.as_uri().replace("file", "sqlite")), stored, away)


def test_a_training_is_read_with_sql(path, tmp_path, monkeypatch):
    monkeypatch.setenv("TACHOGRAPH_DIR", str(tmp_path / "store"))
    with tachograph.start_run("here", sinks=[path.as_uri().replace("file", "sqlite")]) as run:
        for step in range(3):
            run.log({"loss": 1 / (step + 1)})
    assert tachograph.flush(30)
    points = select(path, "SELECT step, value FROM metrics WHERE run = ? AND name = 'loss' ORDER BY step", run.id)
    assert points == [(0, 1.0), (1, 0.5), (2, 1 / 3)]


def test_a_disk_that_is_not_mounted_is_waited_for(tmp_path):
    sink = SqliteSink((tmp_path / "no" / "runs.db").as_uri().replace("file", "sqlite"))
    with pytest.raises(Retry, match="unable to open"):
        sink.resume("r")
