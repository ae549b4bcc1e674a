"""The API of a real server, beside what the commands say of its folder."""

from __future__ import annotations

import hashlib
import json
import os
import re
import subprocess
import sys
import time
from typing import Any

import pytest
import requests
from tests.integrations.server.serving import Server, lines, numbered

import tachograph
from tachograph import events
from tachograph.server.api import openapi


def said(server: Server, *arguments: str) -> Any:
    command = [sys.executable, "-m", "tachograph", *arguments, "--root", str(server.root), "--json"]
    return json.loads(subprocess.run(command, capture_output=True, check=True, text=True).stdout)


def test_what_is_sent_is_there_for_every_command(server):
    sent = lines("r1", "w1", 50)
    answer = server.post("r1", "w1", sent)
    assert (answer.status_code, answer.json()) == (200, {"position": 52, "stored": 52})
    assert server.held("r1", "w1") == sent
    assert server.ask("/runs").json() == said(server, "runs")
    assert server.ask("/runs/r1").json() == {**said(server, "show", "r1"), "dir": None}
    assert server.ask("/runs/latest").json()["name"] == "name of r1"
    found = server.ask("/runs/r1/history", params={"name": "m0"}).json()
    assert (found["steps"], found["values"]) == (list(range(50)), [float(step) for step in range(50)])
    assert said(server, "verify")["damage"] == []


def test_a_batch_that_is_held_changes_nothing_and_a_gap_says_where_to_go_on(server):
    sent = lines("r1", "w1", 50)
    server.post("r1", "w1", sent[:20])
    assert server.post("r1", "w1", sent[:20]).json() == {"position": 20, "stored": 0}
    assert server.post("r1", "w1", sent[10:25]).json() == {"position": 25, "stored": 5}
    gap = server.post("r1", "w1", sent[30:])
    assert (gap.status_code, gap.json()["position"]) == (409, 25)
    assert server.post("r1", "w1", sent[30:], params={"after": "26"}).status_code == 409
    assert server.post("r1", "w1", sent[25:]).json() == {"position": 52, "stored": 27}
    assert server.held("r1", "w1") == sent
    assert server.ask("/runs/r1/positions").json() == {"run": "r1", "positions": {"w1": 52}}
    assert server.ask("/runs/unknown/positions").json()["positions"] == {}


def test_who_knows_that_there_is_a_gap_may_leave_it(server):
    sent = lines("r1", "w1", 10)
    server.post("r1", "w1", sent[:4])
    assert server.post("r1", "w1", sent[8:], params={"after": "4"}).json() == {"position": 12, "stored": 4}


def test_runs_by_query(server):
    for number in range(5):
        server.post(f"r{number}", "w", lines(f"r{number}", "w", 3 + number))
    found = server.ask("/runs", params={"where": "metrics.m0 >= 4", "order_by": "metrics.m0 desc", "limit": "2"}).json()
    assert [run["id"] for run in found] == ["r4", "r3"]
    wrong = server.ask("/runs", params={"where": "metrics.m0 >> 4"})
    assert (wrong.status_code, list(wrong.json())) == (400, ["reason", "query"])
    for query in ({"limit": "-1"}, {"limit": "x"}, {"children": "yes"}, {"were": "1"}):
        assert server.ask("/runs", params=query).status_code == 400
    assert server.ask("/runs/nothing").status_code == 404
    assert server.ask("/runs/r1/history", params={"name": "nothing"}).status_code == 404
    assert server.ask("/runs/r1/history").status_code == 400


def test_numbers_that_json_does_not_have(server):
    metrics = [events.Metrics(step=1, values={"loss": "NaN"}), events.Metrics(step=2, values={"loss": "-Infinity"})]
    server.post("r1", "w1", [lines("r1", "w1", 0)[0], *numbered([events.Note(text="x"), *metrics])[1:]])
    found = server.ask("/runs/r1/history", params={"name": "loss"}).json()
    assert found["values"] == ["NaN", "-Infinity"]


def test_files_are_kept_under_their_digest_and_handed_out_in_ranges(server):
    content = os.urandom(3_000_000)
    digest = "sha256:" + hashlib.sha256(content).hexdigest()
    other = "sha256:" + "0" * 64
    ask = {"data": json.dumps([digest, other]), "headers": {"Content-Type": "application/json"}}
    assert requests.post(f"{server.api}/missing", timeout=9, **ask).json() == {"missing": [digest, other]}
    assert server.put(digest, content).status_code == 201
    assert server.put(digest, iter([content[:1000], content[1000:]])).status_code == 200  # in chunks, and there already
    assert requests.post(f"{server.api}/missing", timeout=9, **ask).json() == {"missing": [other]}
    head = requests.head(f"{server.api}/blobs/{digest}", timeout=9)
    assert (head.status_code, head.headers["Content-Length"], head.content) == (200, "3000000", b"")
    assert requests.head(f"{server.api}/blobs/{other}", timeout=9).status_code == 404
    assert server.ask(f"/blobs/{digest}").content == content
    for range_, expected in (("0-9", content[:10]), ("2999990-", content[-10:]), ("-5", content[-5:])):
        part = server.ask(f"/blobs/{digest}", headers={"Range": f"bytes={range_}"})
        assert (part.status_code, part.content) == (206, expected)
    assert part.headers["Content-Range"] == "bytes 2999995-2999999/3000000"
    assert server.ask(f"/blobs/{digest}", headers={"Range": "bytes=3000000-"}).status_code == 416
    assert server.ask(f"/blobs/{digest}", headers={"Range": "bytes=5-2"}).status_code == 200
    assert not list((server.root / "blobs").glob(".draft-*"))


def test_the_live_stream_gives_every_event_and_ends_with_the_run(server):
    sent = lines("r1", "w1", 200)
    server.post("r1", "w1", sent[:50])
    with server.ask("/runs/r1/stream", stream=True) as answer:
        assert answer.headers["Content-Type"].startswith("text/event-stream")
        server.post("r1", "w1", sent[50:])
        told = answer.content.decode()
    data = [json.loads(line[6:]) for line in told.splitlines() if line.startswith("data: ")]
    assert [one["event"] for one in data[:-1]] == [json.loads(line) for line in sent]
    assert data[-1] == {"status": "finished"}
    last = re.findall(r"^id: (.*)$", told, re.MULTILINE)
    again = server.ask("/runs/r1/stream", headers={"Last-Event-ID": last[0]}).text
    seqs = [json.loads(line[6:])["event"]["seq"] for line in again.splitlines() if '"event":' in line]
    assert seqs == list(range(json.loads(last[0])["w1"] + 1, 203))
    assert server.ask("/runs/nothing/stream").status_code == 404
    assert server.ask("/runs/r1/stream", headers={"Last-Event-ID": "x"}).status_code == 400


def test_a_reader_that_does_not_read_harms_nobody(server):
    sent = lines("r1", "w1", 30_000, end=False)
    server.post("r1", "w1", sent)
    slow = [server.ask("/runs/r1/stream", stream=True) for _ in range(5)]  # and nobody reads
    began = time.monotonic()
    for number in range(20):
        assert server.post(f"s{number}", "w", lines(f"s{number}", "w", 10)).status_code == 200
    assert time.monotonic() - began < 10
    for answer in slow:
        answer.close()


def test_events_of_a_removed_run_are_refused(server):
    server.post("r1", "w1", lines("r1", "w1", 5))
    said(server, "rm", "r1", "--yes")
    assert server.ask("/runs/r1").status_code == 404
    gone = server.post("r1", "w1", lines("r1", "w1", 5))
    assert (gone.status_code, "was removed" in gone.json()["reason"]) == (410, True)
    assert server.ask("/runs").json() == []


def test_late_events_of_a_process_that_is_gone_are_seen_at_once(server):
    with tachograph.start_run("late") as run:
        run.log({"loss": 1.0})
    folder = next(path for path in run.dir.iterdir())
    sent = (folder / "1.jsonl").read_bytes().splitlines()
    ended = subprocess.run([sys.executable, "-c", "import os; print(os.getpid())"], capture_output=True, check=True)
    pid = json.loads(sent[0])["pid"]
    sent[0] = sent[0].replace(b'"pid":%d' % pid, b'"pid":%s' % ended.stdout.strip())
    for number, line in enumerate(sent):
        server.post(run.id, folder.name, [line])
        status = server.ask(f"/runs/{run.id}").json()["status"]
        assert status == ("finished" if b'"run.end"' in b"".join(sent[: number + 1]) else "crashed")


def test_two_servers_on_one_folder(server):
    second = Server(server.root)
    try:
        sent = lines("r1", "w1", 100)
        for start in range(0, 102, 10):
            for one in (server, second):
                assert one.post("r1", "w1", sent[start : start + 10]).json()["position"] == min(start + 10, 102)
                assert one.ask("/runs").json()[0]["metrics"].get("m0", -1.0) == min(start + 8.0, 99.0)
    finally:
        second.kill()
    assert server.held("r1", "w1") == sent


def test_the_description_has_every_address(server):
    from tachograph.server.api.app import build
    from tachograph.server.folder.storage import FolderStorage
    from tachograph.server.tokens import FolderTokens

    document = server.ask("/openapi.json").json()
    assert document == json.loads(json.dumps(openapi.document()))
    described = {(path, method.upper()) for path, item in document["paths"].items() for method in item}
    routes = build(FolderStorage(server.root), FolderTokens(server.root), local=True).routes
    real = {(route.path, method) for route in routes for method in route.methods}
    assert {pair for pair in real if pair[1] != "HEAD" or "blobs" in pair[0]} == described
    for path, item in document["paths"].items():
        for operation in item.values():
            in_path = {one["name"] for one in operation["parameters"] if one["in"] == "path"}
            assert in_path == set(re.findall(r"{(\w+)}", path))


def test_only_so_many_live_streams_are_open_and_each_is_given_back(server):
    server.post("r1", "w1", lines("r1", "w1", 1, end=False))
    open_ = [server.ask("/runs/r1/stream", stream=True) for _ in range(201)]
    assert [answer.status_code for answer in open_] == [200] * 200 + [503]
    assert int(open_[-1].headers["Retry-After"]) > 0
    for answer in open_:
        answer.close()
    until = time.monotonic() + 10
    while (again := server.ask("/runs/r1/stream", stream=True)).status_code == 503 and time.monotonic() < until:
        time.sleep(0.1)
    assert again.status_code == 200
    again.close()


def test_readers_are_not_told_where_the_server_keeps_what_it_has(server):
    assert server.post("r", "w", lines("r", "w", 3)).ok
    broken = server.root / "runs" / "broken" / "0-h-1-a"
    broken.mkdir(parents=True)
    (broken / "1.jsonl.gz").write_text("no gzip")
    store = tachograph.open_store(server.url)
    store.run("r")
    assert ["runs/broken" in str(one.path) for one in store.damage] == [True]
    told = [str(store.damage)]
    for path in ("/runs/r", "/runs", "/runs/nobody", "/runs/latest", "/runs/r/history?name=nothing", "/openapi.json"):
        told.append(server.ask(path).text)
    assert '"dir":null' in told[1]
    assert "no run 'nobody' in this store" in told[3]
    assert not [one for one in told if str(server.root) in one]


def test_a_server_is_asked_for_names_that_are_no_text(server):
    assert server.post("r", "w", lines("r", "w", 3)).ok
    store, name = tachograph.open_store(server.url), "a\udcff"
    assert store.runs(experiment=name) == store.keepers(name) == []
    for ask in (store.run, store.run("r").history, store.run("r").summary, store.run("r").artifact):
        with pytest.raises(tachograph.NotFound):
            ask(name)
