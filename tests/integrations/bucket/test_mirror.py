"""A bucket as it is read: the same as the folder whose runs it got, whatever happens to either side and the cache."""

from __future__ import annotations

import gzip
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tests.integrations.server.serving import lines

import tachograph
from tachograph.bucket import layout
from tachograph.bucket.mirror import Mirror, listing
from tachograph.bucket.objects import Objects
from tachograph.cli import main
from tachograph.errors import Damaged, NotFound
from tachograph.journal import tombstones
from tachograph.runtime.background import background
from tachograph.sinks.bucket import CloudSink
from tachograph.store.store import Store, open_store


@pytest.fixture
def records(root: Path, tmp_path: Path) -> Path:
    """A store with runs of many kinds."""
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder" / "a.txt").write_text("a")
    (tmp_path / "model.bin").write_bytes(os.urandom(10_000))
    with tachograph.start_run("first", experiment="e", params={"lr": 0.1, "deep": {"n": None}}) as run:
        for step in range(3000):
            run.log({"loss": 1 / (step + 1), "odd": float("nan") if step % 7 else step})
        run.set_tags({"a": "b"})
        run.log_note("remark")
        run.log_artifact(tmp_path / "model.bin", "model")
        run.log_artifact(tmp_path / "folder", "folder")
        run.log_table("table", [{"x": 1.5, "y": "z"}])
        with run.child("fold") as child:
            child.log({"score": 0.5})
    run = tachograph.start_run("second", experiment="f")
    run.log({"loss": 1.0})
    run.finish(status="failed", error=ZeroDivisionError("of mine"))
    with tachograph.start_run(resume=open_store(root).run("first").id) as run:
        run.log({"loss": 7.0})
    assert background.drain(30)  # what was found out of the environment is there, too
    return root


def sync(url: str) -> None:
    assert main(["sync", "--to", url]) == 0


def everything(store: Store) -> dict[str, Any]:
    """All that a store answers, but where its files lie."""
    found: dict[str, Any] = {"experiments": store.experiments(), "damage": [one.reason for one in store.damage]}
    for run in store.runs(children=True):
        found[run.id] = {
            "row": (run.name, run.experiment, run.status, run.started, run.ended, run.parent_id),
            "values": (run.params, run.tags, dict(run.environment)),
            "notes": [(note.at, note.text) for note in run.notes],
            "error": run.error and (run.error.type, run.error.message, run.error.traceback),
            "writers": [(writer.id, writer.status, writer.attempt) for writer in run.writers],
            "metrics": repr(sorted(run.metrics.items())),
            "points": {name: points(run, name) for name in sorted(run.metrics)},
            "artifacts": [(one.name, one.digest, content(one.path())) for one in run.artifacts],
            "children": [child.id for child in run.children],
        }
    return found


def check_same(url: str, records: Path) -> None:
    there, here = everything(open_store(url)), everything(open_store(records))
    assert there.keys() == here.keys()
    for name, facts in here.items():
        if isinstance(facts, dict):
            for fact in facts:
                assert there[name][fact] == facts[fact], fact
    assert there == here


def points(run: Any, name: str) -> str:
    history = run.history(name)
    return repr([history.steps.tolist(), history.times.tolist(), history.values.tolist(), run.summary(name)])


def content(path: Path) -> Any:
    return path.read_bytes() if path.is_file() else sorted((one.name, one.read_bytes()) for one in path.iterdir())


def test_the_same_answers_as_the_folder_gives(url, records):
    sync(url)
    check_same(url, records)
    assert open_store(url).run("first").table("table") == [{"x": 1.5, "y": "z"}]


def test_what_comes_is_there_at_the_next_question(s3, root):
    store = open_store(s3)
    assert store.runs() == []
    with tachograph.start_run("live", sinks=[s3]) as run:
        for step in range(5):
            run.log({"loss": step})
            assert tachograph.flush()
            read = store.run("live")
            assert (read.metrics, read.status) == ({"loss": step}, "running")
    assert tachograph.flush()
    assert store.run("live").status == "finished"


def test_only_what_is_new_is_fetched(s3, records, monkeypatch):
    sync(s3)
    store = open_store(s3)
    assert len(store.runs()) == 2
    fetched: list[str] = []
    read = Objects.read
    monkeypatch.setattr(Objects, "read", lambda self, path: (fetched.append(path), read(self, path))[1])
    CloudSink(s3).write("later", "w", lines("later", "w", 10))
    assert len(store.runs()) == len(open_store(s3).runs()) == 3
    assert [path for path in fetched if path != tombstones.FILENAME] == ["runs/later/w/" + f"{1:020}-{12:020}.jsonl.gz"]


def test_the_cache_may_be_deleted_at_any_time(s3, records):
    sync(s3)
    expected = everything(open_store(records))
    store, folder = open_store(s3), Mirror(s3).root
    for part in (".", "runs", "index.sqlite", "mirror.sqlite", "blobs", "cache", "mirror.lock"):
        assert everything(store) == expected
        path = folder / part
        shutil.rmtree(path) if path.is_dir() else path.unlink(missing_ok=True)
        assert everything(store) == expected
    for path in sorted(folder.glob("runs/*/*/*.jsonl"))[:2]:
        path.unlink()
    (folder / "mirror.sqlite").write_bytes(b"nonsense")
    assert everything(store) == expected


def test_a_file_that_was_cut_off_is_fetched_again(s3, root):
    sink, sent = CloudSink(s3), lines("r", "w", 100)
    sink.write("r", "w", sent[:50])
    store = open_store(s3)
    assert len(store.run("r").history("m0").values) == 49
    [path] = Mirror(s3).root.glob("runs/r/w/*.jsonl")
    os.truncate(path, 1000)
    sink.write("r", "w", sent[50:])
    assert store.run("r").history("m0").values.tolist() == list(range(100))
    assert path.read_bytes().splitlines() == sent


def test_what_a_killed_process_left_is_not_there_twice(s3, root):
    sink, sent = CloudSink(s3), lines("r", "w", 100)
    sink.write("r", "w", sent[:50])
    store = open_store(s3)
    store.runs()
    [path] = Mirror(s3).root.glob("runs/r/w/*.jsonl")
    with open(path, "ab") as file:  # it was written, and not noted
        file.write(b"\n".join(sent[50:70]) + b"\n" + sent[70][:10])
    sink.write("r", "w", sent[50:])
    assert store.run("r").history("m0").values.tolist() == list(range(100))
    assert path.read_bytes().splitlines() == sent


READER = """
import sys, tachograph
store = tachograph.open_store(sys.argv[1])
runs = store.runs()
print(len(runs), sum(len(run.history("m0").values) for run in runs), len(store.damage))
"""


def test_several_processes_open_it_at_once(s3, root, tmp_path):
    sink = CloudSink(s3)
    for number in range(30):
        for start in range(0, 102, 20):
            sink.write(f"r{number}", "w", lines(f"r{number}", "w", 100)[start : start + 20])
    command = [sys.executable, "-c", READER, s3]
    readers = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for _ in range(4)]
    time.sleep(0.5)
    killed = subprocess.Popen(command)
    time.sleep(0.3)
    killed.kill()
    killed.wait()
    assert [reader.communicate(timeout=180)[0].split() for reader in readers] == [["30", "3000", "0"]] * 4


def test_overlapping_segments_give_each_event_once(s3, root):
    sent = lines("r", "w", 60)
    for first, last in ((1, 10), (1, 7), (8, 20), (21, 40), (15, 25), (41, 62), (3, 62)):
        content = gzip.compress(b"\n".join(sent[first - 1 : last]) + b"\n", mtime=0)
        Objects(s3).create(layout.segment_path("r", "w", first, last), content)
        open_store(s3).runs()
    [path] = Mirror(s3).root.glob("runs/r/w/*.jsonl")
    assert path.read_bytes().splitlines() == sent


def test_a_tree_that_was_copied_from_a_folder(s3, records):
    objects = Objects(s3)
    for path in records.rglob("*"):
        if path.is_file() and path.parts[len(records.parts)] in ("runs", "blobs"):
            objects.put(path.relative_to(records).as_posix(), path.read_bytes())
    store = open_store(s3)
    assert everything(store) == everything(open_store(records))
    with tachograph.start_run(resume=open_store(records).run("second").id, sinks=[s3]) as run:
        run.log({"loss": 5.0})
    assert background.drain(30)
    assert tachograph.flush()
    assert everything(store) == everything(open_store(records))


def test_a_damaged_segment_costs_itself_alone(s3, root):
    sent = lines("r", "w", 60)
    CloudSink(s3).write("r", "w", sent[:20])
    packed = bytearray(gzip.compress(b"\n".join(sent[20:40]) + b"\n"))
    packed[len(packed) // 2] ^= 255
    Objects(s3).create(layout.segment_path("r", "w", 21, 40), bytes(packed))
    CloudSink(s3).write("r", "w", sent[40:])
    store = open_store(s3)
    found = store.run("r").history("m0").values.tolist()
    assert set(found) >= set(range(19)) | set(range(39, 60))
    assert any("damaged" in one.reason or one.reason for one in store.damage)


def test_blobs_are_fetched_when_they_are_asked_for(s3, records):
    sync(s3)
    store = open_store(s3)
    artifact = store.run("first").artifact("model")
    blobs = Mirror(s3).root / "blobs"
    assert not blobs.exists()
    assert artifact.path().read_bytes() == open_store(records).run("first").artifact("model").path().read_bytes()
    shutil.rmtree(Mirror(s3).root / "cache")
    shutil.rmtree(blobs)
    path = layout.blob_path(artifact.digest)
    Objects(s3).put(path, b"something else")
    with pytest.raises(Damaged, match="does not match its digest"):
        artifact.path()
    Objects(s3).delete([path])
    with pytest.raises(Damaged, match="missing"):
        artifact.path()


def test_a_large_file_comes_in_pieces(url, root, tmp_path):
    (tmp_path / "large").write_bytes(os.urandom(1 << 20) * 50 + b"rest")
    (tmp_path / "empty").write_bytes(b"")
    with tachograph.start_run("large") as run:
        run.log_artifact(tmp_path / "large")
        run.log_artifact(tmp_path / "empty")
    sync(url)
    read = open_store(url).run("large")
    assert read.artifact("large").path().read_bytes() == (tmp_path / "large").read_bytes()
    assert read.artifact("empty").path().read_bytes() == b""


def test_removed_runs(s3, records):
    sync(s3)
    store = open_store(s3)
    id = store.run("second").id
    tombstones.remove(records, [(id, "second")])
    Objects(s3).put(tombstones.FILENAME, (records / tombstones.FILENAME).read_bytes())
    assert [run.name for run in store.runs()] == ["first"]
    with pytest.raises(NotFound, match="was removed on"):
        store.run("second")
    for one in list(Objects(s3).listed(layout.run_folder(store.run("first").id))):
        Objects(s3).delete([one.path])
    assert [run.name for run in store.runs()] == ["fold"]  # whose parent is gone


def test_a_bucket_that_can_not_be_reached(s3, records, monkeypatch, capsys):
    sync(s3)
    store = open_store(s3)
    store.runs()
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:1")
    with pytest.raises(tachograph.Error, match="connection refused") as error:
        open_store(s3).runs()
    assert "\n" not in str(error.value)
    capsys.readouterr()
    assert main(["runs", "--root", s3]) == 1
    told = capsys.readouterr()
    assert len(told.err.splitlines()) == 1
    assert told.out == ""


# -- a large bucket --


@pytest.fixture
def large(s3: str, root: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """A bucket that is looked at as one with very many runs is."""
    monkeypatch.setattr(listing, "FRONT", 8)
    monkeypatch.setattr(listing, "STRETCH", 10)
    monkeypatch.setattr(listing, "SECONDS_A_PAGE", 3600.0)
    sink = CloudSink(s3)
    for number in range(40):
        end = number != 5  # that one goes on
        sink.write(f"r{number:02}", "w", lines(f"r{number:02}", "w", 3, end))
    return s3


def test_a_look_lists_the_newest_and_what_goes_on(large, monkeypatch):
    store = open_store(large)
    assert len(store.runs()) == 40
    asked: list[tuple[str, str]] = []
    listed = Objects.listed
    monkeypatch.setattr(
        Objects,
        "listed",
        lambda self, folder="", after="": (asked.append((folder, after)), listed(self, folder, after))[1],
    )
    sink = CloudSink(large)
    sink._held["r05", "w"] = 4
    sink.write("r05", "w", lines("r05", "w", 9)[4:])
    CloudSink(large).write("r40", "w", lines("r40", "w", 3))
    asked.clear()
    assert len(store.runs()) == 41
    assert store.run("r05").history("m0").values.tolist() == list(range(9))
    assert set(asked) == {
        ("runs", "runs/r31/!"), ("runs/r05", ""), ("runs", "runs/r32/!"), ("removed", "")
    }  # fmt: skip


def test_what_comes_late_to_a_large_bucket_is_found_by_a_look_at_everything(large, monkeypatch):
    store = open_store(large)
    store.runs()
    CloudSink(large).write("r07a", "w", lines("r07a", "w", 3))
    CloudSink(large).write("r08", "w2", lines("r08", "w2", 3))
    Objects(large).delete([one.path for one in Objects(large).listed("runs/r09")])
    assert len(store.runs()) == 40
    monkeypatch.setattr(listing, "SECONDS_A_PAGE", 0.0)
    found = {run.id for run in store.runs()}
    assert found == {*(f"r{number:02}" for number in range(40)), "r07a"} - {"r09"}
    assert len(store.run("r08").writers) == 2
    assert np.allclose(store.run("r07a").history("m0").values, range(3))
