"""What can't be is refused by a server with PostgreSQL, too; parents may stand in a circle, and lists be empty."""

from __future__ import annotations

import requests
from tests.integrations.postgres.serving import DatabaseServer
from tests.integrations.server.serving import lines

from tachograph.store import open_store


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
