"""An event that can't be is refused; one that lies in a server's folder already costs nobody else anything."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest
import requests
from tests.integrations.server.serving import Server, lines
from tests.unit.journal.test_damaged_events import POISON, points, write


def test_it_is_refused_and_named(server: Server) -> None:
    good = lines("r", "w", 2)
    assert server.post("r", "w", good[:2]).status_code == 200
    for poison in POISON.values():
        try:
            line = msgspec.json.encode({"v": 1, "seq": 3, "at": 1.7e9} | poison)
        except UnicodeEncodeError:
            continue
        answer = server.post("r", "w", [line])
        assert answer.status_code == 422, answer.text
        assert answer.json()["rejected"][0]["line"] == 1
    assert server.post("r", "w", good[2:]).status_code == 200
    assert server.ask("/runs/r").json()["status"] == "finished"


@pytest.mark.parametrize("what", ["a float of no name", "a huge number", "a process of no number"])
def test_what_lies_there_costs_nobody_anything_and_is_removed(tmp_path: Path, what: str) -> None:
    root = tmp_path / "served"
    write(root, "bad", POISON[what], *points(1.0), parent="bad")
    write(root, "unread", pid=10**400)
    server = Server(root)
    try:
        assert server.post("good", "w", lines("good", "w", 2)).status_code == 200
        for path in ("/runs", "/runs?children=true", "/runs/good", "/runs/good/history?name=m0", "/runs/bad"):
            assert server.ask(path).status_code == 200, path
        for run in ("bad", "unread"):
            answer = requests.delete(f"{server.api}/runs/{run}?force=true", timeout=30)
            assert answer.status_code == 200, answer.text
        assert [run["id"] for run in server.ask("/runs?children=true").json()] == ["good"]
    finally:
        server.kill()
