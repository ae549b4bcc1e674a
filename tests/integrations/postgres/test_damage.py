"""What can't be is refused by a server with PostgreSQL, too; parents may stand in a circle, and lists be empty."""

from __future__ import annotations

import zlib

import requests
from tests.integrations.postgres.serving import DatabaseServer
from tests.integrations.server.serving import lines

from tachograph.index.schema import SCHEMA_VERSION
from tachograph.store.store import open_store


def test_it_is_as_with_a_folder(server: DatabaseServer) -> None:
    assert server.post("r", "w", [b'{"v":1,"seq":1,"kind":"params","values":{"x":{"$float":[]}}}']).status_code == 422
    for run, parent in (("a", "b"), ("b", "a"), ("c", "c"), ("good", "")):
        circle = b',"parent":"%s"}' % parent.encode() if parent else b"}"
        head, *rest = lines(run, "w", 2)
        assert server.post(run, "w", [head[:-1] + circle, *rest]).status_code == 200
    store = open_store(server.url)
    assert {run.id for run in store.runs()} == {"a", "b", "c", "good"}
    questions = store.questions
    assert questions.params([]) == questions.tags([]) == questions.metrics([], True) == []
    assert questions.digests("a", []) == []
    for run, gone in (("a", ["a", "b"]), ("c", ["c"])):
        answer = requests.delete(f"{server.api}/runs/{run}", timeout=30)
        assert sorted(one["id"] for one in answer.json()["removed"]) == gone
    assert [run.id for run in store.runs(children=True)] == ["good"]


def test_what_an_older_version_took_costs_nobody_anything(server: DatabaseServer) -> None:
    assert server.post("old", "w", lines("old", "w", 2, end=False)).status_code == 200
    assert server.post("good", "w", lines("good", "w", 2)).status_code == 200
    poison = b'{"v":1,"seq":4,"at":1.7e9,"kind":"params","values":{"x":{"$float":[]}}}\n'
    with server.pool.connect() as connection:
        values = ("old", "w", 4, 4, zlib.compress(poison))
        connection.execute("INSERT INTO batch (run, writer, first, last, lines) VALUES (%s, %s, %s, %s, %s)", values)
        connection.execute("UPDATE version SET version = %s", (SCHEMA_VERSION - 1,))
    server.kill()
    server.start()
    assert server.ask("/runs/good").status_code == server.ask("/runs/old").status_code == 200
    assert len(open_store(server.url).damage) == 1
    assert [heard.seq for heard in server.kept.tail("old", {}).new()] == [1, 2, 3]
    assert requests.delete(f"{server.api}/runs/old?force=true", timeout=30).status_code == 200
