"""What servers append to a writer's folder: once, in order, a batch whole or not at all."""

from __future__ import annotations

import os
import resource
import signal
import subprocess
import sys
import threading
from pathlib import Path

import msgspec
import pytest
from tests.integrations.server.serving import lines

from tachograph import journal
from tachograph.events import Event
from tachograph.runtime import process
from tachograph.server.api import batch
from tachograph.server.folder import appending
from tachograph.server.folder.appending import NOTE, DraftNote
from tachograph.server.storage import Batch, Gap

RUN, WRITER = "run-1", "0-host-1-abc"
ALL = lines(RUN, WRITER, 100)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "runs" / RUN / WRITER


def made(first: int, last: int) -> Batch:
    """Events number ``first`` to ``last``."""
    return batch.read(RUN, WRITER, b"\n".join(ALL[first - 1 : last]), 1 << 20)


def numbers(folder: Path) -> list[int]:
    """The events that readers see."""
    found = list(journal.read_writer(folder))
    assert all(isinstance(item, Event) for item in found)
    return [item.seq for item in found if isinstance(item, Event)]


def sound(folder: Path) -> bool:
    return not [damage for path in journal.segments(folder) for damage in journal.check_sums(path)]


def cut_off(folder: Path, start: int, boot: str) -> None:
    """What an append leaves that is killed: a note, and some of its bytes."""
    (folder / NOTE).write_bytes(msgspec.json.encode(DraftNote(1, start, boot)).ljust(256))


def test_events_are_taken_once_and_in_order(folder):
    assert appending.append(folder, 0, made(1, 10)) == (10, 10)
    assert appending.append(folder, 0, made(1, 10)) == (10, 0)
    assert appending.append(folder, 5, made(6, 20)) == (20, 10)
    with pytest.raises(Gap) as gap:
        appending.append(folder, 29, made(30, 40))
    assert gap.value.position == 20
    assert appending.append(folder, 20, made(21, 102)) == (102, 82)
    assert numbers(folder) == list(range(1, 103))
    assert [path.name for path in journal.segments(folder)] == ["1.jsonl"]
    assert (folder / "1.jsonl").read_bytes() == b"\n".join(ALL) + b"\n"
    assert appending.position(folder) == 102
    assert sound(folder)


def test_numbers_that_the_sender_does_not_have_may_be_missing(folder):
    appending.append(folder, 0, made(1, 3))
    assert appending.append(folder, 3, made(7, 9)) == (9, 3)
    assert numbers(folder) == [1, 2, 3, 7, 8, 9]


def test_a_gap_leaves_no_trace(folder):
    with pytest.raises(Gap):
        appending.append(folder, 4, made(5, 6))
    assert not folder.exists()


@pytest.mark.parametrize("left", [1, 30, 500, 5000])
def test_an_append_that_was_killed_is_undone(folder, left):
    appending.append(folder, 0, made(1, 10))
    size = journal.size(folder / "1.jsonl")
    with open(folder / "1.jsonl", "ab") as file:
        file.write(b"".join(line + b"\n" for line in ALL[10:])[:left])
    cut_off(folder, size, process.this().boot)
    assert appending.position(folder) == 10
    assert appending.append(folder, 10, made(11, 30)) == (30, 20)
    assert numbers(folder) == list(range(1, 31))
    assert sound(folder)


def test_after_a_power_failure_whole_lines_stay(folder):
    """Then a note may be older than the answer that went out."""
    appending.append(folder, 0, made(1, 10))
    size = journal.size(folder / "1.jsonl")
    with open(folder / "1.jsonl", "ab") as file:
        file.write(b"\n".join(ALL[10:20]) + b"\n" + ALL[20][:30])
    cut_off(folder, size, "another boot")
    assert appending.position(folder) == 20
    assert appending.append(folder, 20, made(21, 30)) == (30, 10)
    assert numbers(folder) == list(range(1, 31))
    assert sound(folder)


def test_an_append_that_was_done_but_for_its_note_stays(folder):
    appending.append(folder, 0, made(1, 10))
    size = journal.size(folder / "1.jsonl")
    appending.append(folder, 10, made(11, 20))
    cut_off(folder, size, process.this().boot)
    assert appending.position(folder) == 20
    assert appending.append(folder, 10, made(11, 21)) == (21, 1)
    assert sound(folder)


@pytest.mark.parametrize("note", [b"", b"\0" * 256, b"not json"])
def test_a_lost_note_begins_a_new_segment(folder, note):
    appending.append(folder, 0, made(1, 10))
    (folder / NOTE).write_bytes(note)
    with open(folder / "1.jsonl", "ab") as file:
        file.write(ALL[10][:20])
    assert appending.append(folder, 10, made(11, 12)) == (12, 2)
    assert [path.name for path in journal.segments(folder)] == ["1.jsonl", "11.jsonl"]
    assert [item.seq for item in journal.read_writer(folder) if isinstance(item, Event)] == list(range(1, 13))


def test_what_a_local_process_wrote_is_not_touched(folder):
    folder.mkdir(parents=True)
    (folder / "1.jsonl").write_bytes(b"\n".join(ALL[:5]) + b"\n" + ALL[5][:30])  # it is writing the sixth
    assert appending.append(folder, 5, made(6, 8)) == (8, 3)
    assert (folder / "1.jsonl").read_bytes().endswith(ALL[5][:30])
    assert [path.name for path in journal.segments(folder)] == ["1.jsonl", "6.jsonl"]


def test_a_segment_that_has_rested_or_is_long_or_compressed_is_not_gone_on_with(folder, monkeypatch):
    appending.append(folder, 0, made(1, 10))
    os.utime(folder / "1.jsonl", (0, 0))
    appending.append(folder, 10, made(11, 12))
    assert journal.compress(folder / "1.jsonl")
    appending.append(folder, 12, made(13, 14))
    monkeypatch.setattr(appending, "SEGMENT_BYTES", 100)
    appending.append(folder, 14, made(15, 16))
    assert [path.name for path in journal.segments(folder)] == ["1.jsonl", "11.jsonl", "15.jsonl"]
    journal.compress(folder / "15.jsonl")
    assert appending.position(folder) == 16
    appending.append(folder, 16, made(17, 18))
    assert numbers(folder) == list(range(1, 19))
    assert sound(folder)


def test_a_long_last_line_is_found(folder):
    long = ALL[0].replace(b"name of", b"n" * 300_000)
    found = batch.read(RUN, WRITER, long, 1 << 20)
    appending.append(folder, 0, found)
    assert appending.position(folder) == 1
    assert appending.append(folder, 1, made(2, 3)) == (3, 2)
    assert sound(folder)


def test_a_full_disk_leaves_what_was_there(folder):
    appending.append(folder, 0, made(1, 10))
    before = (folder / "1.jsonl").read_bytes()
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (len(before) + 500, hard))
    try:
        with pytest.raises(OSError, match="too large"):
            appending.append(folder, 10, made(11, 60))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
        signal.signal(signal.SIGXFSZ, handler)
    assert (folder / "1.jsonl").read_bytes() == before
    assert appending.append(folder, 10, made(11, 60)) == (60, 50)
    assert sound(folder)


def test_several_at_once_keep_each_event_once(folder):
    def send() -> None:
        for first in range(1, 101, 5):
            appending.append(folder, first - 1, made(first, first + 6))

    threads = [threading.Thread(target=send) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert numbers(folder) == list(range(1, 103))
    assert sound(folder)


PROGRAM = """
import sys
from pathlib import Path
from tachograph.server.api import batch; from tachograph.server.folder import appending as received
from tests.integrations.server.serving import lines
folder = Path(sys.argv[1])
sent = lines(folder.parent.name, folder.name, 60_000)
print("ready", flush=True)
for start in range(0, 60_000, 2000):
    found = batch.read(folder.parent.name, folder.name, b"\\n".join(sent[start:start + 2000]), 1 << 20)
    received.append(folder, start, found)
"""


@pytest.mark.parametrize("delay", [0.01, 0.03, 0.07, 0.12, 0.2])
def test_killed_at_any_moment_it_holds_whole_batches(folder, delay):
    child = subprocess.Popen([sys.executable, "-c", PROGRAM, str(folder)], stdout=subprocess.PIPE)
    assert child.stdout is not None
    assert child.stdout.readline() == b"ready\n"
    threading.Event().wait(delay)
    child.kill()
    child.wait()
    child.stdout.close()
    at = appending.position(folder)
    assert at % 2000 == 0
    sent = lines(RUN, WRITER, 60_000)
    found = batch.read(RUN, WRITER, b"\n".join(sent[at : at + 2]), 1 << 20)
    assert appending.append(folder, at, found) == (at + 2, 2)
    assert numbers(folder) == list(range(1, at + 3))
    assert sound(folder)
