"""Keeps recordings in an SQLite database, where SQL reads them: ``sqlite:///absolute/path/of/runs.db``."""

import json
import sqlite3
from contextlib import closing, contextmanager
from urllib.parse import unquote, urlsplit

from tachograph.sinks import Retry

TABLES = """
    CREATE TABLE IF NOT EXISTS events (
        run TEXT, writer TEXT, seq INTEGER, kind TEXT, line TEXT, PRIMARY KEY (run, writer, seq)) WITHOUT ROWID;
    CREATE VIEW IF NOT EXISTS metrics AS
        SELECT run, point.key AS name, json_extract(line, '$.step') AS step, point.value AS value
        FROM events, json_each(line, '$.values') AS point WHERE kind = 'metrics';
"""


class SqliteSink:
    def __init__(self, url):
        self.name = url
        self._path = unquote(urlsplit(url).path)

    def resume(self, run):
        with self._opened() as database:
            return dict(database.execute("SELECT writer, max(seq) FROM events WHERE run = ? GROUP BY writer", [run]))

    def write(self, run, writer, lines):
        rows = []
        for line in lines:
            event = json.loads(line)
            rows.append((run, writer, event["seq"], event["kind"], line.decode()))
        with self._opened() as database:
            database.executemany("INSERT OR IGNORE INTO events VALUES (?, ?, ?, ?, ?)", rows)

    def close(self):
        pass

    @contextmanager
    def _opened(self):
        try:
            with closing(sqlite3.connect(self._path)) as database, database:  # one transaction: all of it or nothing
                database.executescript(TABLES)
                yield database
        except sqlite3.OperationalError as error:  # locked, full, or its disk is not mounted: it may be better later
            raise Retry(why=str(error)) from error
