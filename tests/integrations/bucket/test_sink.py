"""The sink on real servers."""

from __future__ import annotations

import gzip
import hashlib
import os
import resource
from collections.abc import Mapping, Sequence
from pathlib import Path

import pytest
import requests
from tests.integrations.server.serving import lines
from tests.parts import seaweedfs

from tachograph import events
from tachograph.bucket import layout
from tachograph.bucket.objects import Objects
from tachograph.events import Event
from tachograph.sinks import Reject
from tachograph.sinks import bucket as cloud
from tachograph.sinks.bucket import CloudSink
from tachograph.testing import check_sink

SENT = lines("r", "w", 40)


def stored(url: str, run: str) -> Mapping[str, Sequence[Event]]:
    """What a reader who takes each number once finds of a run, by writer."""
    objects = Objects(url)
    found: dict[str, dict[int, bytes]] = {}
    for one in objects.listed(layout.run_folder(run)):
        segment = layout.segment(one.path)
        assert segment is not None, one.path
        content = gzip.decompress(objects.read(one.path)).splitlines()
        for line in content:
            event = events.decode(line)
            assert segment.first <= event.seq <= segment.last
            assert found.setdefault(segment.writer, {}).setdefault(event.seq, line) == line
        assert events.decode(content[-1]).seq == segment.last
    return {writer: [events.decode(own[seq]) for seq in sorted(own)] for writer, own in found.items()}


def names(url: str, run: str = "r") -> list[str]:
    return [one.path.rpartition("/")[2] for one in Objects(url).listed(layout.run_folder(run))]


def name(first: int, last: int) -> str:
    return f"{first:020}-{last:020}.jsonl.gz"


def test_it_keeps_the_rules_of_sinks(url):
    check_sink(lambda: CloudSink(url), lambda run: stored(url, run))


def test_segments_are_named_by_what_they_hold(s3):
    sink = CloudSink(s3)
    sink.write("r", "w", SENT[:10])
    sink.write("r", "w", SENT[15:20])  # numbers 11 to 15 were never recorded, and so are held
    assert names(s3) == [name(1, 10), name(11, 20)]
    assert sink.resume("r") == {"w": 20}


def test_the_same_lines_give_the_same_bytes(s3):
    for run in ("a", "b"):
        CloudSink(s3).write(run, "w", SENT)
    one, two = (Objects(s3).read(f"runs/{run}/w/{name(1, len(SENT))}") for run in ("a", "b"))
    assert one == two


def test_a_long_batch_is_cut_into_segments(s3, monkeypatch):
    monkeypatch.setattr(cloud, "SEGMENT_BYTES", 1000)
    CloudSink(s3).write("r", "w", SENT)
    assert len(names(s3)) == 3
    assert [event.seq for event in stored(s3, "r")["w"]] == list(range(1, len(SENT) + 1))


def test_senders_with_other_batches_overlap_and_lose_nothing(s3):
    one, two = CloudSink(s3), CloudSink(s3)
    assert (one.resume("r"), two.resume("r")) == ({}, {})
    one.write("r", "w", SENT[:12])
    two.write("r", "w", SENT[:7])
    two.write("r", "w", SENT[7:20])
    one.write("r", "w", SENT[12:])
    assert names(s3) == [name(1, 7), name(1, 12), name(8, 20), name(13, len(SENT))]
    assert stored(s3, "r")["w"] == [events.decode(line) for line in SENT]


def test_what_was_lost_is_sent_again(s3):
    for start in range(0, 40, 10):
        CloudSink(s3).write("r", "w", SENT[start : start + 10])
    Objects(s3).delete([f"runs/r/w/{name(11, 20)}"])
    sink = CloudSink(s3)
    assert sink.resume("r") == {"w": 10}
    sink.write("r", "w", SENT[10:])
    assert CloudSink(s3).resume("r") == {"w": len(SENT)}
    assert stored(s3, "r")["w"] == [events.decode(line) for line in SENT]


def large_file(folder: Path, size: int = 100 << 20) -> tuple[Path, str]:
    path = folder / "large"
    with open(path, "wb") as file:
        for _ in range(size >> 20):
            file.write(os.urandom(1 << 20))
    with open(path, "rb") as file:
        return path, "sha256:" + hashlib.file_digest(file, "sha256").hexdigest()


def test_a_large_file_is_not_read_into_memory(url, tmp_path):
    path, digest = large_file(tmp_path)
    sink = CloudSink(url)
    assert sink.missing([digest]) == [digest]
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    sink.put(digest, path)
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 64 << 10  # KiB
    assert sink.missing([digest]) == []
    assert hashlib.sha256(b"".join(Objects(url).pieces(layout.blob_path(digest)))).hexdigest() == digest[7:]


def test_a_large_file_with_another_digest_is_not_stored(s3, tmp_path):
    path, _ = large_file(tmp_path, 20 << 20)
    wrong = "sha256:" + "0" * 64
    with pytest.raises(Reject, match="digest"):
        CloudSink(s3).put(wrong, path)
    assert CloudSink(s3).missing([wrong]) == [wrong]
    assert list(Objects(s3).listed()) == []
    uploads = f"http://127.0.0.1:{seaweedfs.running().ports['filer.port']}/buckets/{s3.split('/')[2]}/.uploads/"
    found = requests.get(uploads, headers={"Accept": "application/json"}, timeout=10)
    assert found.status_code == 404 or not found.json()["Entries"]  # and nothing unfinished lies there


def test_names_that_are_no_names(s3):
    for odd in ("", "..", "a/b"):
        with pytest.raises(ValueError, match="can't be"):
            CloudSink(s3).write(odd, "w", SENT)
        with pytest.raises(ValueError, match="can't be"):
            CloudSink(s3).write("r", odd, SENT)
