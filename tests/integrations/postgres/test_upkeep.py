"""Runs and files that go from servers on PostgreSQL, beside senders, and with files in a bucket."""

from __future__ import annotations

import hashlib
import threading
from pathlib import Path

import pytest
from tests.integrations.postgres.serving import DatabaseServer, prepared
from tests.integrations.server.serving import lines, numbered
from tests.parts import seaweedfs

from tachograph.bucket import blobs as shelves
from tachograph.events import Artifact, Release, RunStart
from tachograph.server.api import batch
from tachograph.server.blobs import BucketBlobs, FolderBlobs
from tachograph.server.postgres.storage import PostgresStorage
from tachograph.server.storage import Gap, Gone

TABLES = ("run", "writer", "batch", "segment", "event", "chunk", "metric", "param", "tag", "damage")


def digest_of(content: bytes) -> str:
    return "sha256:" + hashlib.sha256(content).hexdigest()


def start(run: str, writer: str) -> RunStart:
    return RunStart(run=run, writer=writer, role="owner", host="h", boot="b", pid=1, born=1, name=run, experiment="e")


def test_nothing_is_left_but_that_it_was_removed(server: DatabaseServer) -> None:
    for run in ("first", "second"):
        server.post(run, "w", lines(run, "w", 20))
    before = {table: server.pool.rows(f"SELECT count(*) FROM {table}")[0][0] for table in TABLES}
    token = server.token("admin", "keeper")
    answer = server._request("DELETE", "/runs/first", token)
    assert answer.json() == {"removed": [{"id": "first", "name": "name of first"}]}
    after = {table: server.pool.rows(f"SELECT count(*) FROM {table}")[0][0] for table in TABLES}
    assert {table: 2 * count for table, count in after.items()} == before
    assert server.pool.rows("SELECT id, by FROM removed") == [("first", "keeper")]
    again = server._request("DELETE", "/runs/first", token)
    assert again.status_code == 410
    assert again.json()["reason"].startswith("run first was removed on ")
    assert again.json()["reason"].endswith(" by keeper")
    assert server._request("DELETE", "/runs/third", token).status_code == 404
    refused = server.post("first", "w", lines("first", "w", 20), token)
    assert (refused.status_code, refused.json()["reason"]) == (410, again.json()["reason"])
    server.kill()
    server.start()
    assert [run["id"] for run in server.ask("/runs", token).json()] == ["second"]


def test_a_run_that_goes_on_is_only_removed_by_force(server: DatabaseServer) -> None:
    server.post("r", "w", lines("r", "w", 20, end=False))
    refused = server._request("DELETE", "/runs/r", "")
    assert (refused.status_code, "still running" in refused.json()["reason"]) == (409, True)
    assert server._request("DELETE", "/runs/r?force=true", "").status_code == 200
    assert server.post("r", "w", lines("r", "w", 30)[21:], params={"after": 21}).status_code == 409  # from the first on
    assert server.post("r", "w", lines("r", "w", 30)).status_code == 410


def test_a_removal_beside_senders(database: str, tmp_path: Path) -> None:
    """Whichever comes first, no batch and no writer is left of a run that was removed, and nobody waits for ever."""
    pool = prepared(database)
    kept = PostgresStorage(pool, FolderBlobs(tmp_path))
    ended: list[str] = []

    def send(number: int) -> None:
        writer = f"{number}-w"
        sent = lines("r", writer, 400)
        position = 0
        while position < len(sent):
            part = batch.read("r", writer, b"".join(line + b"\n" for line in sent[position : position + 5]), 1 << 20)
            try:
                position, _ = kept.append("r", writer, position, part)
            except Gap as gap:
                position = gap.position
            except Gone:
                ended.append(writer)
                return

    threads = [threading.Thread(target=send, args=(number,)) for number in range(6)]
    for thread in threads:
        thread.start()
    while not kept.positions("r"):
        pass
    kept.remove([("r", "r")], "me")
    for thread in threads:
        thread.join(60)
    assert len(ended) == 6
    assert pool.rows("SELECT count(*) FROM batch")[0][0] == 0
    assert pool.rows("SELECT count(*) FROM record")[0][0] == 0
    assert pool.rows("SELECT count(*) FROM writer WHERE run NOT IN (SELECT no FROM run)")[0][0] == 0
    pool.close()


@pytest.mark.parametrize("kind", ["folder", "bucket"])
def test_files_go_when_nothing_refers_to_them(
    database: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    for name, value in seaweedfs.running().environment.items() if kind == "bucket" else ():
        monkeypatch.setenv(name, value)
    url = seaweedfs.running().new_bucket() if kind == "bucket" else ""
    blobs = BucketBlobs(url, tmp_path) if url else FolderBlobs(tmp_path)
    pool = prepared(database)
    kept = PostgresStorage(pool, blobs)
    digests = {name: digest_of(name.encode()) for name in ("used", "gone", "let go", "nobody's")}
    for name, digest in digests.items():
        draft = kept.drafts.new()
        draft.write(name.encode())
        assert draft.keep(digest)
        draft.close()
    for run, events in {
        "stays": [_file(digests["used"]), _file(digests["let go"]), Release(digests=[digests["let go"]], reason="")],
        "goes": [_file(digests["used"]), _file(digests["gone"])],
    }.items():
        body = b"".join(line + b"\n" for line in numbered([start(run, "w"), *events]))
        kept.append(run, "w", 0, batch.read(run, "w", body, 1 << 20))
    kept.remove([("goes", "goes")], "")
    assert kept.collect(dry=False, days=30).files == []  # they came just now
    monkeypatch.setattr(shelves, "GRACE_SECONDS", -1.0)
    monkeypatch.setattr("tachograph.upkeep.folder.GRACE_SECONDS", -20.0)
    if kind == "bucket":
        assert kept.collect(dry=False, days=30).later == 3
        other = PostgresStorage(pool, BucketBlobs(url, tmp_path))
        assert other.missing([digests["nobody's"]]) == []  # who asks relies on it
        assert kept.collect(dry=False, days=30).later == 1
    done = kept.collect(dry=False, days=30)
    assert sorted(done.files)[0].count("blobs/") == 1
    assert len(done.files) == {"folder": 3, "bucket": 1}[kind]
    assert list(kept.lacking(list(digests.values()))) == [digests[name] for name in ("gone", "let go", "nobody's")]
    pool.close()


def _file(digest: str) -> Artifact:
    return Artifact(name="f", type="file", digest=digest, size=1, filename="f")
