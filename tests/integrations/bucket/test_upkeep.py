"""Runs and files that go from a bucket, beside jobs that send to it, and killed at each step."""

from __future__ import annotations

import hashlib
import os
import signal
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest
from tests.integrations.server.serving import lines

import tachograph
from tachograph.bucket import blobs, layout
from tachograph.bucket.blobs import BucketFiles
from tachograph.bucket.mirror import listing
from tachograph.bucket.objects import Object, Objects
from tachograph.cli import main
from tachograph.errors import NotFound
from tachograph.sinks import Reject, Retry
from tachograph.sinks.bucket import CloudSink
from tachograph.store.store import open_store

# Carries out a command line, and is killed as power goes at the step of that number, after having done it.
KILLED = """
import os, signal, sys
from tachograph.bucket.objects import Object, Objects
from tachograph.cli import main
from tachograph.bucket import blobs as shelves

left = int(sys.argv[1])
shelves.GRACE_SECONDS = -1.0
shelves.TOGETHER = 1

def counted(method):
    def inner(*arguments, **more):
        global left
        found = method(*arguments, **more)
        left -= 1
        if left == 0:
            os.kill(os.getpid(), signal.SIGKILL)
        return found
    return inner

for name in ("create", "put", "delete"):
    setattr(Objects, name, counted(getattr(Objects, name)))
sys.exit(main(sys.argv[2:]))
"""


def digest_of(content: bytes) -> str:
    return "sha256:" + hashlib.sha256(content).hexdigest()


def paths(url: str, folder: str = "") -> list[str]:
    return [one.path for one in Objects(url).listed(folder)]


@pytest.fixture
def sent(s3: str, root: Path, tmp_path: Path) -> str:
    """A bucket with a family of runs that has files, and another run with one."""
    for name in ("a", "b", "other"):
        (tmp_path / name).write_text(name)
    with tachograph.start_run("search") as run, run.child("candidate") as child:
        child.log_artifact(tmp_path / "a")
        child.log_artifact(tmp_path / "b")
    with tachograph.start_run("other") as run:
        run.log_artifact(tmp_path / "other")
    assert main(["sync", "--to", s3]) == 0
    return s3


def test_killed_at_each_step(sent: str, root: Path) -> None:
    """Whatever was done until then, nothing else is lost, and the next call does the rest."""
    for command in (["rm", "search", "--yes"], ["gc"], ["gc"]):
        for step in range(1, 30):
            done = subprocess.run(
                [sys.executable, "-c", KILLED, str(step), *command, "--root", sent], capture_output=True, text=True
            )
            store = open_store(sent)
            assert {"other"} <= {run.name for run in store.runs()} <= {"other", "search"}
            assert store.run("other").artifact("other").path().read_text() == "other"
            if done.returncode != -signal.SIGKILL:
                break
        assert step >= 3
    assert len(paths(sent, "blobs")) == 1
    assert paths(sent, "doomed") == []
    assert {path.split("/")[1] for path in paths(sent, "runs")} == {open_store(sent).run("other").id}
    assert main(["sync", "--again", "--to", sent]) == 1
    assert [run.name for run in open_store(sent).runs(children=True)] == ["other"]


def test_a_sender_that_was_at_it_does_not_bring_a_run_back(s3: str, tmp_path: Path) -> None:
    """Not even what it had begun to send before."""
    early, late = CloudSink(s3), CloudSink(s3)
    sent = lines("r", "w", 20)
    early.write("r", "w", sent[:10])
    assert main(["rm", "r", "--yes", "--root", s3]) == 1  # it is running, for all that is known
    early.write("r", "w", sent[10:])
    reader = open_store(s3)
    assert [run.id for run in reader.runs()] == ["r"]
    early.write("r", "v", lines("r", "v", 5, end=False))
    assert main(["rm", "r", "--yes", "--root", s3]) == 0
    early.write("r", "v", lines("r", "v", 9)[6:])  # it looked for tombstones long ago
    assert paths(s3, "runs")
    with pytest.raises(NotFound, match="was removed"):
        reader.run("r")
    for sink, writer in ((late, "w"), (CloudSink(s3), "v"), (late, "x")):
        with pytest.raises(Reject, match="run r was removed on"):
            sink.write("r", writer, lines("r", writer, 20))
    assert main(["gc", "--root", s3]) == 0
    assert not paths(s3, "runs")


def test_in_a_large_bucket(sent: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where a look doesn't come to all runs."""
    monkeypatch.setattr(listing, "FRONT", 1)
    reader = open_store(sent)
    assert len(reader.runs(children=True)) == 3
    assert main(["rm", "search", "--yes", "--root", sent]) == 0
    assert [run.name for run in reader.runs(children=True)] == ["other"]


# -- files --


class Aging(Objects):
    """A bucket whose clock can be put forward: what is there then is that much older."""

    def __init__(self, url: str, ages: Counter[Object] | None = None) -> None:
        super().__init__(url)
        self.ages = Counter() if ages is None else ages

    def listed(self, folder: str = "", after: str = "") -> Iterator[Object]:
        for one in super().listed(folder, after):
            yield one._replace(changed=one.changed - self.ages[one])

    def age(self, seconds: int) -> None:
        self.ages.update(dict.fromkeys(super().listed(), seconds))


class Shelved:
    """A file that nothing refers to, in a bucket."""

    def __init__(self, url: str) -> None:
        self.url, self.bucket = url, Aging(url)
        self.content = os.urandom(50)
        self.digest = digest_of(self.content)
        self.path = layout.blob_path(self.digest)
        self.bucket.put(self.path, self.content)

    def sweep(self, needed: bool = False) -> None:
        BucketFiles(self.bucket).collect({self.digest[7:]} if needed else set(), dry=False)

    def hour(self) -> None:
        self.bucket.age(3610)

    @property
    def is_there(self) -> bool:
        return self.path in paths(self.url, "blobs")


@pytest.fixture
def shelved(url: str) -> Shelved:
    return Shelved(url)


def test_a_file_goes_an_hour_after_it_was_doomed(shelved: Shelved) -> None:
    shelved.sweep()
    assert not paths(shelved.url, "doomed")  # it came just now
    shelved.hour()
    shelved.sweep()
    assert paths(shelved.url, "doomed") == [f"doomed/{shelved.digest[7:]}"]
    shelved.sweep()
    assert shelved.is_there
    shelved.hour()
    shelved.sweep()
    assert (shelved.is_there, paths(shelved.url)) == (False, [])


def test_a_file_that_is_needed_again_is_doomed_no_more(shelved: Shelved) -> None:
    shelved.hour()
    shelved.sweep()
    shelved.hour()
    shelved.sweep(needed=True)
    assert paths(shelved.url) == [shelved.path]


def test_a_sender_that_asks_for_a_doomed_file_has_it_for_an_hour(shelved: Shelved) -> None:
    shelved.hour()
    shelved.sweep()
    assert BucketFiles(Objects(shelved.url)).missing([shelved.digest]) == []
    assert paths(shelved.url, "doomed") == []
    shelved.hour()
    shelved.sweep()
    assert shelved.is_there


def test_a_sender_that_looked_before_has_it_for_an_hour(shelved: Shelved) -> None:
    """It goes by what it saw, since a mark has no effect for an hour."""
    sender = BucketFiles(Objects(shelved.url))
    shelved.hour()
    assert sender.missing([shelved.digest]) == []
    shelved.sweep()
    assert sender.missing([shelved.digest]) == []
    shelved.sweep()
    assert shelved.is_there


def test_a_sender_waits_while_files_are_deleted(shelved: Shelved) -> None:
    """At each step of the deletion it either waits, or finds that the file is gone, or keeps it from going."""
    shelved.hour()
    shelved.sweep()
    shelved.hour()
    told: list[str] = []

    class Watched(Aging):
        def delete(self, some: Sequence[str]) -> None:
            self.ask()
            super().delete(some)
            self.ask()

        def ask(self) -> None:
            try:
                missing = BucketFiles(Objects(shelved.url)).missing([shelved.digest])
                told.append("missing" if missing else "held")
            except Retry:
                told.append("wait")

    BucketFiles(Watched(shelved.url, shelved.bucket.ages)).collect(set(), dry=False)
    assert not shelved.is_there
    assert set(told[:-1]) == {"wait"}
    assert told[-1] == "missing"


def test_what_a_killed_collection_left_holds_nobody_up_for_long(shelved, monkeypatch: pytest.MonkeyPatch) -> None:
    Objects(shelved.url).put(f"{blobs.AT_WORK}abc", b"")
    with pytest.raises(Retry, match="files are being cleared away"):
        BucketFiles(Objects(shelved.url)).missing([shelved.digest])
    monkeypatch.setattr(blobs, "STALE_SECONDS", -1.0)
    assert BucketFiles(Objects(shelved.url)).missing([shelved.digest]) == []
    shelved.sweep()
    assert paths(shelved.url, "doomed") == []


def test_many_files_are_asked_for_together(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    objects = Objects(url)
    held = [os.urandom(8) for _ in range(40)]
    for content in held:
        objects.put(layout.blob_path(digest_of(content)), content)
    asked: list[str] = []
    monkeypatch.setattr(Objects, "size", lambda self, path, size=Objects.size: asked.append(path) or size(self, path))
    digests = [digest_of(content) for content in held] + [digest_of(b"%d" % number) for number in range(40)]
    assert BucketFiles(objects).missing(digests) == digests[40:]
    assert asked == []
    monkeypatch.setattr(blobs, "PAGE", 5)  # a look at 20 objects, and the others are asked for
    assert BucketFiles(objects).missing(digests) == digests[40:]
    assert 20 < len(asked) < 80
    assert BucketFiles(objects).missing(digests[38:42]) == digests[40:42]
