"""Compressed segments read as they did before, and compressing loses nothing whenever it is interrupted."""

from __future__ import annotations

import gzip
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tachograph import journal
from tachograph.events import Event, Metrics, Note, RunEnd, RunStart, encode
from tachograph.index.index import Index
from tachograph.runtime import process
from tachograph.store.follow import Follower
from tachograph.store.store import Store, open_store
from tachograph.upkeep.verify import check

GONE = process.Process(process.this().host, "an earlier boot", 7, 7)


def lines(first: int, last: int, who: process.Process = GONE, end: bool = False) -> bytes:
    """Events of those numbers, the first of all the header."""
    found: list[Event] = [Metrics(step=seq, values={"loss": 1.0 / seq}) for seq in range(first, last + 1)]
    if first == 1:
        found[0] = RunStart(
            run="r", writer="0-w", role="owner", host=who.host, boot=who.boot, pid=who.pid, born=who.born
        )
    if end:
        found[-1] = RunEnd(status="finished")
    for seq, event in enumerate(found, start=first):
        event.v, event.seq, event.at = 1, seq, 1000.0 + seq
    return b"".join(encode(event) + b"\n" for event in found)


@pytest.fixture
def writer(root: Path) -> Path:
    """A writer's folder with three segments, the last torn, of which the first one's checksums are known."""
    folder = root / "runs" / "r" / "0-w"
    folder.mkdir(parents=True)
    (folder / "1.jsonl").write_bytes(lines(1, 500))
    os.utime(folder / "1.jsonl", (1e9, 1e9))
    (folder / "501.jsonl").write_bytes(lines(501, 800) + b"?\n" + lines(802, 900))
    (folder / "901.jsonl").write_bytes(lines(901, 1000, end=True) + b'{"kind":"no')
    import zlib

    content = (folder / "1.jsonl").read_bytes()
    sums = [journal.Checksum(a, b, f"{zlib.crc32(content[a:b]):08x}") for a, b in ((0, 4000), (4000, len(content)))]
    (folder / "1.sums").write_bytes(b"".join(encode(one) + b"\n" for one in sums))
    return folder


def told(folder: Path) -> Any:
    """All that readers are told of a writer."""
    paths = journal.segments(folder)
    blocks = []
    for path in paths:
        offset, line = 0, 1
        while (block := journal.read_block(path, offset, line, final=True, limit=5000)).data:
            blocks.append((path, block.offset, block.line, block.items()))
            offset, line = block.end, block.next_line
    return (
        paths, journal.sizes(folder)[0], list(journal.read_writer(folder)), blocks, journal.has_ended(folder),
        journal.header(folder), [journal.check_sums(path) for path in paths],
    )  # fmt: skip


def compress_all(folder: Path) -> None:
    for path in list(journal.sealed(folder, True, time.time() + 1)):
        journal.compress(path)


def test_readers_are_told_the_same(writer: Path) -> None:
    before, changed = told(writer), journal.sizes(writer)[1]
    contents = {path.name: path.read_bytes() for path in journal.segments(writer)}
    compress_all(writer)
    assert sorted(path.name for path in writer.iterdir()) == ["1.jsonl.gz", "1.sums", "501.jsonl.gz", "901.jsonl.gz"]
    assert told(writer) == before
    assert journal.sizes(writer)[1] == pytest.approx(changed)
    for name, content in contents.items():
        done = subprocess.run(["gzip", "-dc", writer / f"{name}.gz"], capture_output=True, check=True)
        assert done.stdout == content
    assert list(journal.sealed(writer, True, time.time() + 1)) == []


def said(store: Store) -> Any:
    run = store.run("r")
    history = run.history("loss")
    return run.status, history.steps.tolist(), history.values.tolist(), store.damage, store.torn


@pytest.mark.parametrize("first_asked", [True, False])
def test_the_index_reads_nothing_again_and_loses_nothing(root: Path, writer: Path, first_asked: bool) -> None:
    expected = said(open_store())
    os.remove(writer.parents[2] / "index.sqlite")
    store = open_store()
    if first_asked:
        assert said(store) == expected
        revision = Index(root).rows("SELECT revision FROM writer")
    compress_all(writer)
    assert said(store) == expected
    again = open_store()
    assert said(again) == expected
    if first_asked:
        assert Index(root).rows("SELECT revision FROM writer") == revision


def test_a_segment_that_was_read_in_part_goes_on_where_it_was(root: Path) -> None:
    folder = root / "runs" / "r" / "0-w"
    folder.mkdir(parents=True)
    (folder / "1.jsonl").write_bytes(lines(1, 300, process.this()))
    store, following = open_store(), Follower(folder.parent)
    assert len(store.run("r").history("loss").steps) == 299
    assert len(following.new()) == 300
    with open(folder / "1.jsonl", "ab") as file:
        file.write(lines(301, 400))
    journal.compress(folder / "1.jsonl")
    assert store.run("r").history("loss").steps.tolist() == list(range(2, 401))
    assert [heard.event.seq for heard in following.new()] == list(range(301, 401))
    assert following.new() == []


def test_only_what_nobody_writes_any_more(writer: Path) -> None:
    now = time.time() + 1
    assert [path.name for path in journal.sealed(writer, False, now)] == ["1.jsonl", "501.jsonl"]
    assert [path.name for path in journal.sealed(writer, True, now)] == ["1.jsonl", "501.jsonl", "901.jsonl"]
    assert [path.name for path in journal.sealed(writer, True, now - 60)] == ["1.jsonl"]


def test_at_every_step_there_is_one_whole_copy_and_it_is_read_once(
    writer: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = told(writer)
    seen = []

    class Killed(BaseException):
        pass

    def interrupted(name: str, after: bool) -> None:
        original: Callable[..., Any] = getattr(journal.compression, name)

        def step(*args: Any) -> Any:
            if after:
                original(*args)
            raise Killed

        with monkeypatch.context() as patch:
            patch.setattr(journal.compression, name, step)
            patch.setattr(Path, "unlink", lambda *args, **kwargs: None)  # a killed process tidies nothing up
            with pytest.raises(Killed):
                journal.compress(writer / "1.jsonl")
        seen.append(sorted(path.name for path in writer.glob("1.jsonl*")))
        assert told(writer) == before

    interrupted("_pack", after=False)
    interrupted("_pack", after=True)
    interrupted("_holds", after=True)
    interrupted("sync_folder", after=True)
    assert seen == [["1.jsonl"]] * 3 + [["1.jsonl", "1.jsonl.gz"]]
    assert len(list(writer.glob(".draft-*"))) == 2
    assert list(journal.abandoned(writer, time.time() - 60)) == []  # somebody may still be at them
    assert len(list(journal.abandoned(writer, time.time() + 1))) == 2
    journal.compress(writer / "1.jsonl")
    assert [path.name for path in writer.glob("1.jsonl*")] == ["1.jsonl.gz"]
    assert told(writer) == before


def test_what_was_written_meanwhile_is_not_thrown_away(writer: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = writer / "1.jsonl"
    pack = journal.compression._pack

    def packed_too_early(source: Path, draft: Path) -> None:
        pack(source, draft)
        with open(source, "ab") as file:
            file.write(b"more\n")

    monkeypatch.setattr(journal.compression, "_pack", packed_too_early)
    assert journal.compress(path) == 0
    assert path.read_bytes().endswith(b"more\n")
    assert [path.name for path in writer.glob("1.jsonl*")] == ["1.jsonl"]


COMPRESS = """
import sys, time
from pathlib import Path
from tachograph import journal
folder = Path(sys.argv[1])
print("ready", flush=True)
for path in list(journal.sealed(folder, True, time.time() + 1)):
    journal.compress(path)
"""


@pytest.mark.slow
def test_killed_at_any_moment_nothing_is_lost_and_nothing_there_twice(writer: Path, tmp_path: Path) -> None:
    (writer / "1.jsonl").write_bytes(lines(1, 500) + lines(2, 500) * 30)
    (writer / "1.sums").unlink()
    before, chance = told(writer), random.Random(7)
    shutil.copytree(writer, tmp_path / "plain")
    states, takes = set(), 0.0
    for _ in range(16):
        shutil.rmtree(writer)
        shutil.copytree(tmp_path / "plain", writer)
        child = subprocess.Popen([sys.executable, "-c", COMPRESS, str(writer)], stdout=subprocess.PIPE)
        assert child.stdout is not None
        child.stdout.readline()
        began = time.monotonic()
        if takes:
            time.sleep(chance.random() * takes)
            child.send_signal(signal.SIGKILL)
        child.wait()
        takes = takes or time.monotonic() - began
        child.stdout.close()
        states.add(tuple(sorted(path.name for path in writer.glob("*.jsonl*"))))
        assert told(writer) == before
    assert len(states) > 1  # it was met at work
    compress_all(writer)
    assert told(writer) == before


def test_damage_to_a_compressed_segment_is_told(writer: Path, root: Path) -> None:
    torn_before = len(check(root).damage)
    store = open_store()
    expected = said(store)
    compress_all(writer)
    path = writer / "1.jsonl.gz"
    whole = path.read_bytes()
    middle = len(whole) // 2
    for damaged in (whole[:middle], b"", whole[:middle] + bytes(100) + whole[middle + 100 :]):
        path.chmod(0o644)
        path.write_bytes(damaged)
        assert len(check(root).damage) > torn_before
        shutil.rmtree(root / "elsewhere", ignore_errors=True)
        other = open_store(shutil.copytree(root, root / "elsewhere", ignore=shutil.ignore_patterns("index*")))
        assert other.runs() is not None
        assert not damaged or any("damaged" in one.reason for one in other.damage)
        other.close()
    path.write_bytes(whole)
    assert said(store) == expected


def test_the_journal_of_a_living_process_is_left_alone(root: Path) -> None:
    from tachograph.upkeep import folder as upkeep

    folder = root / "runs" / "r" / "0-w"
    writing = journal.Journal(folder, lambda: _header_of_this(), lambda values, step: None)
    writing.append(Note(text="a"))
    writing.close()
    os.utime(folder / "1.jsonl", (1e9, 1e9))
    assert list(upkeep._sealed(folder, 0)) == []
    writing.append(Note(text="late"))
    assert [getattr(item, "text", "") for item in journal.read_writer(folder)] == ["", "a", "late"]


def _header_of_this() -> RunStart:
    me = process.this()
    return RunStart(run="r", writer="0-w", role="owner", host=me.host, boot=me.boot, pid=me.pid, born=me.born)


def test_gzip_says_the_size(tmp_path: Path) -> None:
    (tmp_path / "1.jsonl.gz").write_bytes(gzip.compress(b"x" * 70_000))
    assert journal.size(tmp_path / "1.jsonl") == 70_000
