"""The journal keeps every point: through threads, signal handlers, damage, full disks and deleted folders."""

from __future__ import annotations

import contextlib
import errno
import os
import resource
import shutil
import signal
import subprocess
import sys
import threading
import time
import warnings
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import msgspec
import pytest

import tachograph
from tachograph import journal
from tachograph.errors import TachographWarning
from tachograph.events import Event, Metrics, Note
from tachograph.journal import Damage, Journal
from tachograph.journal import writing as journal_module
from tachograph.runtime.background import background


def open_journal(folder: Path) -> Journal:
    def unusual(values: Any, step: int | None) -> None:
        writing.steps.admit(tuple(values))
        writing.append(Metrics(0, 0, 0.0, step if step is not None else -1, values))

    writing = Journal(folder, lambda: Note(text="header"), unusual)
    return writing


@contextlib.contextmanager
def warned(match: str = "cannot write") -> Iterator[list[warnings.WarningMessage]]:
    """Expects a warning, which comes from the background."""
    with pytest.warns(TachographWarning, match=match) as caught:  # noqa: PT031
        yield caught  # type: ignore[misc]
        assert background.drain(5)


def recorded(folder: Path, damaged: int = 0) -> list[Event]:
    """What a writer recorded after its header, and that no more than ``damaged`` lines of it can't be read."""
    items = list(journal.read_writer(folder))
    assert len([item for item in items if isinstance(item, Damage)]) == damaged
    header, *events = items
    assert isinstance(header, Note)
    assert header.text == "header"
    return [event for event in events if isinstance(event, Event)]


def steps(events: Sequence[Event]) -> list[int]:
    return [event.step for event in events if isinstance(event, Metrics)]


def numbers(folder: Path) -> list[int]:
    return [item.seq for item in journal.read_writer(folder) if isinstance(item, Event)]


def in_order(folder: Path) -> bool:
    found = numbers(folder)
    return found == list(range(1, len(found) + 1))


# ---- appending -------------------------------------------------------------------------------------------------------


def test_what_was_appended_is_on_disk_at_once(tmp_path: Path) -> None:
    writing = open_journal(tmp_path / "w")
    for number in range(5):
        writing.log({"loss": 1.5 * number}, number)
        assert steps(recorded(tmp_path / "w")) == list(range(number + 1))
    writing.append(Note(text="bye"))
    assert recorded(tmp_path / "w")[-1].text == "bye"  # type: ignore[attr-defined]
    assert in_order(tmp_path / "w")


def test_no_line_is_blank(root: Path) -> None:
    with tachograph.start_run() as run:
        for step in range(3):
            run.log({"loss": 0.5}, step)
            run.log({"odd": float("nan"), "text": 1}, step)
            run.log_params({"a": step})
        run.log_note("bye")
    for segment in run.dir.rglob("*.jsonl"):
        assert all(segment.read_bytes().splitlines())


def test_nothing_is_on_disk_before_the_first_event(tmp_path: Path) -> None:
    writing = open_journal(tmp_path / "w")
    writing.sync()
    writing.close()
    assert not writing.begun
    assert not (tmp_path / "w").exists()


def test_sixteen_threads_leave_whole_lines_in_order(tmp_path: Path) -> None:
    writing = open_journal(tmp_path / "w")
    ready = threading.Barrier(16)

    def work(number: int) -> None:
        ready.wait()
        for step in range(200):
            if step % 3:
                writing.log({f"loss_{number}": float(step), "all": 1.0}, step)
            else:
                writing.append(Note(text=f"{number} at {step}"))

    threads = [threading.Thread(target=work, args=(number,)) for number in range(16)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(recorded(tmp_path / "w")) == 16 * 200
    assert in_order(tmp_path / "w")


def test_a_thread_that_logs_without_a_pause_lets_the_others_in(tmp_path: Path) -> None:
    writing = open_journal(tmp_path / "w")
    writing.begin()
    waits = []

    def others() -> None:
        for number in range(50):
            began = time.perf_counter()
            writing.append(Note(text=str(number)))
            waits.append(time.perf_counter() - began)

    thread = threading.Thread(target=others)
    thread.start()
    count = 0
    while thread.is_alive():
        writing.log({"loss": 0.5}, count)
        count += 1
    thread.join()
    assert sorted(waits)[25] < 20 * sys.getswitchinterval()
    assert len(recorded(tmp_path / "w")) == count + 50
    assert in_order(tmp_path / "w")


@contextlib.contextmanager
def interrupted_by(handler: Any, seconds: float) -> Iterator[None]:
    """A real signal handler that comes again and again."""
    before = signal.signal(signal.SIGALRM, handler)
    signal.setitimer(signal.ITIMER_REAL, seconds, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


@pytest.mark.parametrize("fast", [True, False], ids=["log", "append"])
def test_a_signal_handler_may_log_while_its_own_thread_is_appending(tmp_path: Path, fast: bool) -> None:
    writing = open_journal(tmp_path / "w")
    writing.begin()
    handled = 0

    def log(step: int) -> None:
        if fast:
            writing.log({"loss": 0.5}, step)
        else:
            writing.append(Metrics(0, 0, 0.0, step, {"loss": 0.5}))

    def handler(*_: Any) -> None:
        nonlocal handled
        handled += 1
        log(-handled)

    count = 30_000
    with interrupted_by(handler, 0.0002):
        for step in range(count):
            log(step)
    assert handled > 100
    assert len(recorded(tmp_path / "w")) == count + handled
    assert in_order(tmp_path / "w")


def test_a_signal_handler_may_log_while_the_disk_takes_nothing(tmp_path: Path) -> None:
    (tmp_path / "w").write_text("a file in the place of the folder")
    writing = open_journal(tmp_path / "w")
    handled = 0

    def handler(*_: Any) -> None:
        nonlocal handled
        handled += 1
        writing.log({"handled": float(handled)}, handled)

    count = 3000
    with warned(), interrupted_by(handler, 0.0002):
        writing.begin()
        for step in range(count):
            writing.log({"loss": 0.5}, step)
            if step == count // 2:
                (tmp_path / "w").unlink()
                writing._retry_at = 0.0
    writing._retry_at = 0.0
    writing.log({"loss": 0.5}, count)
    assert len(recorded(tmp_path / "w")) == count + handled + 1
    found = numbers(tmp_path / "w")  # a number may be missing: that of a line that a handler's overtook
    assert found == sorted(set(found))


@pytest.mark.parametrize("written", [0, 7], ids=["refused", "written in part"])
def test_a_line_that_a_signal_handler_overtook_comes_after_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, written: int
) -> None:
    """A handler logs right after a refused write, at the moment when the disk takes lines again."""
    writing = open_journal(tmp_path / "w")
    writing.log({"loss": 0.5}, 0)
    hold, held = writing._hold, []

    def interrupted(*args: Any) -> None:
        if not held:
            held.append(args)
            writing._fd = writing._file
            writing.log({"handled": 1.0}, 10)
            writing._fd = -1
        hold(*args)

    def full(fd: int, line: bytes) -> int:
        monkeypatch.undo()
        monkeypatch.setattr(writing, "_hold", interrupted)
        if not written:
            raise OSError(errno.EAGAIN, "no space for a moment")
        return os.write(fd, line[:written])

    monkeypatch.setattr("tachograph.journal.writing._write", full)
    with contextlib.nullcontext() if written else warned():
        writing.log({"loss": 0.5}, 1)
        writing.log({"loss": 0.5}, 2)
        writing._retry_at = 0.0
        writing.log({"loss": 0.5}, 3)
    assert held
    assert steps(recorded(tmp_path / "w", damaged=1 if written else 0)) == [0, 10, 1, 2, 3]
    found = numbers(tmp_path / "w")
    assert found == sorted(set(found))


def test_a_late_event_still_gets_there_and_leaves_no_file_open(tmp_path: Path) -> None:
    before = os.listdir("/proc/self/fd") if sys.platform == "linux" else []
    writing = open_journal(tmp_path / "w")
    writing.log({"loss": 0.5}, 0)
    writing.close()
    for step in range(1, 4):
        writing.log({"loss": 0.5}, step)
    writing.append(Note(text="late"))
    assert steps(recorded(tmp_path / "w")) == [0, 1, 2, 3]
    assert in_order(tmp_path / "w")
    assert sys.platform != "linux" or len(os.listdir("/proc/self/fd")) == len(before)


def test_a_deleted_folder_costs_only_what_was_in_it(tmp_path: Path) -> None:
    writing = open_journal(tmp_path / "w")
    writing.log({"loss": 0.5}, 0)
    writing.sync()
    shutil.rmtree(tmp_path / "w")
    writing.log({"loss": 0.5}, 1)
    writing.sync()  # notices
    for step in range(2, 5):
        writing.log({"loss": 0.5}, step)
    assert steps(recorded(tmp_path / "w")) == [2, 3, 4]  # recorded() sees to it that the header comes first again


def test_a_handler_that_comes_while_the_file_is_closed_has_one_of_its_own(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    journal = open_journal(tmp_path / "w")
    journal.log({"loss": 0.5}, 0)
    foreign = tmp_path / "foreign"
    close, opened = os.close, []

    def interrupted(file: int) -> None:
        close(file)
        if not opened:
            opened.append(os.open(foreign, os.O_CREAT | os.O_WRONLY))  # another thread, which gets the same number
            assert opened == [file]
            journal.log({"loss": 0.5}, 1)

    monkeypatch.setattr(os, "close", interrupted)
    journal.close()
    monkeypatch.undo()
    close(opened[0])
    assert foreign.read_bytes() == b""
    assert steps(recorded(tmp_path / "w")) == [0, 1]


def test_a_handler_that_comes_before_the_careful_way_makes_no_trouble(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As when ``log`` has found no file, since somebody waits for the buffer, and the handler opens it again."""
    refused: list[OSError] = []
    monkeypatch.setattr(Journal, "_refused", lambda self, error: refused.append(error))
    journal = open_journal(tmp_path / "w")
    journal.log({"loss": 0.5}, 0)
    came = False

    def interrupted(buffer: bytearray) -> bytes:
        nonlocal came
        if not came:
            came = True
            journal.log({"loss": 0.5}, 1)
        return bytes(buffer)

    monkeypatch.setattr(journal_module, "bytes", interrupted, raising=False)
    journal._fd = -1
    journal.log({"loss": 0.5}, 2)
    assert (came, refused, sorted(steps(recorded(tmp_path / "w")))) == (True, [], [0, 1, 2])


# ---- trouble with the disk -------------------------------------------------------------------------------------------


def test_what_a_disk_refuses_is_kept_until_it_takes_it(tmp_path: Path) -> None:
    (tmp_path / "w").write_text("a file in the place of the folder")
    writing = open_journal(tmp_path / "w")
    with warned("cannot write to .* what is recorded waits in memory") as caught:
        for step in range(100):
            writing.log({"loss": 0.5}, step)
    assert len(caught) == 1
    assert writing.unwritten == 101
    (tmp_path / "w").unlink()
    writing.close()
    assert writing.unwritten == 0
    assert steps(recorded(tmp_path / "w")) == list(range(100))
    assert in_order(tmp_path / "w")


def test_memory_is_bounded_and_the_loss_reported(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(journal.writing, "PENDING_BYTES", 5000)
    (tmp_path / "w").write_text("a file in the place of the folder")
    writing = open_journal(tmp_path / "w")
    with warned():
        for step in range(1000):
            writing.log({"loss": 0.5}, step)
    assert sum(len(line) for _, line, _ in writing._pending) <= 5000
    kept = len(writing._pending) - 1
    (tmp_path / "w").unlink()
    writing.close()
    *points, note = recorded(tmp_path / "w")
    assert steps(points) == list(range(kept))
    assert isinstance(note, Note)
    assert note.text == f"{1000 - kept} events were lost while the disk took none"
    assert note.source == "tachograph"


def test_an_event_larger_than_the_bound_does_no_harm(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(journal.writing, "PENDING_BYTES", 5000)
    writing = open_journal(tmp_path / "w")
    with file_size_limit(4096), warned():
        writing.append(Note(text="x" * 9000))
        writing.log({"loss": 0.5}, 0)
    writing.close()
    writing.log({"loss": 0.5}, 1)
    texts = [event.text for event in recorded(tmp_path / "w") if isinstance(event, Note)]
    assert texts == ["x" * 9000, "1 events were lost while the disk took none"]
    assert steps(recorded(tmp_path / "w")) == [1]


@contextlib.contextmanager
def file_size_limit(size: int) -> Iterator[None]:
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def test_a_limit_on_file_size_makes_further_segments(tmp_path: Path) -> None:
    writing = open_journal(tmp_path / "w")
    with file_size_limit(4096):
        for step in range(500):
            writing.log({"loss": 0.5}, step)
            if step % 100 == 0:
                writing.sync()
        writing.append(Note(text="x" * 3000))
    writing.close()
    writing.sync()
    assert steps(recorded(tmp_path / "w")) == list(range(500))
    assert in_order(tmp_path / "w")
    found = journal.segments(tmp_path / "w")
    assert len(found) > 5
    assert all(path.stat().st_size <= 4096 for path in found)
    assert all(path.read_bytes().endswith(b"\n") for path in found)


def test_a_line_longer_than_the_limit_waits_for_it_to_be_lifted(tmp_path: Path) -> None:
    writing = open_journal(tmp_path / "w")
    writing.log({"loss": 0.5}, 0)
    with file_size_limit(4096):
        with warned():
            writing.append(Note(text="x" * 5000))
        writing.log({"loss": 0.5}, 1)
        assert writing.unwritten == 2
    writing.close()
    assert steps(recorded(tmp_path / "w")) == [0, 1]
    assert in_order(tmp_path / "w")


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of its own with room for 64 KB."""
    folder = tmp_path / "disk"
    folder.mkdir()
    made = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", folder], capture_output=True)
    if made.returncode:
        pytest.skip("mounting a file system is not permitted here")
    try:
        yield folder
    finally:
        subprocess.run(["umount", "--lazy", folder], check=True)


def fill(folder: Path) -> Path:
    filler = folder / "filler"
    with open(filler, "wb", buffering=0) as file, contextlib.suppress(OSError):
        while file.write(b"x" * 512):
            pass
    return filler


def test_a_full_disk_loses_nothing_and_tears_nothing(small_disk: Path) -> None:
    writing = open_journal(small_disk / "w")
    writing.log({"loss": 0.5}, 0)
    filler = fill(small_disk)
    with warned("No space left") as caught:
        for step in range(1, 301):
            writing.log({"loss": 0.5, "accuracy": 0.25}, step)
    assert len(caught) == 1
    assert writing.unwritten
    assert not [item for item in journal.read_writer(small_disk / "w") if isinstance(item, Damage) and not item.torn]
    filler.unlink()
    writing.close()
    assert writing.unwritten == 0
    assert steps(recorded(small_disk / "w")) == list(range(301))
    assert in_order(small_disk / "w")


def test_a_disk_that_fills_and_empties_again_and_again(small_disk: Path) -> None:
    writing = open_journal(small_disk / "w")
    step = 0
    with warned():
        for _ in range(10):
            filler = fill(small_disk)
            while writing.unwritten < 20:
                writing.log({"loss": 0.5}, step)
                step += 1
            filler.unlink()
            writing._retry_at = 0.0
            writing.log({"loss": 0.5}, step)
            step += 1
            assert writing.unwritten == 0
    assert steps(recorded(small_disk / "w")) == list(range(step))
    assert in_order(small_disk / "w")


def test_a_disk_that_turns_read_only(small_disk: Path) -> None:
    subprocess.run(["mount", "-o", "remount,ro", small_disk], check=True)
    writing = open_journal(small_disk / "w")
    with warned("Read-only"):
        writing.log({"loss": 0.5}, 0)
    subprocess.run(["mount", "-o", "remount,rw", small_disk], check=True)
    writing.close()
    assert steps(recorded(small_disk / "w")) == [0]


def test_a_refusal_does_not_cost_time_at_every_point(tmp_path: Path) -> None:
    (tmp_path / "w").write_text("a file in the place of the folder")
    writing = open_journal(tmp_path / "w")
    with warned():
        writing.log({"loss": 0.5}, 0)
    started = time.perf_counter()
    for step in range(5000):
        writing.log({"loss": 0.5}, step)
    assert time.perf_counter() - started < 1.0  # 200 µs each


# ---- syncing ---------------------------------------------------------------------------------------------------------


def test_sums_cover_what_was_synced_and_tell_of_damage(tmp_path: Path) -> None:
    writing = open_journal(tmp_path / "w")
    for step in range(10):
        writing.log({"loss": 0.5}, step)
        writing.sync()
    writing.sync()
    (path,) = journal.segments(tmp_path / "w")
    assert journal.check_sums(path) == []
    content = path.read_bytes()
    path.write_bytes(content.replace(b'"loss":0.5', b'"loss":0.6', 1))  # still a fine event
    (damage,) = journal.check_sums(path)
    assert "do not match" in damage.reason
    path.write_bytes(content[:-1])
    (damage,) = journal.check_sums(path)
    assert damage.offset > 0
    path.with_suffix(".sums").write_bytes(b'{"from":0,"to":1')
    assert [str(damage.path) for damage in journal.check_sums(path)] == [str(path.with_suffix(".sums"))]


def test_large_files_go_on_in_a_new_one_and_every_byte_is_summed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(journal.writing, "SEGMENT_BYTES", 2000)
    writing = open_journal(tmp_path / "w")
    stop = threading.Event()
    count = 0

    def log() -> None:
        nonlocal count
        while not stop.wait(0.0001):
            writing.log({"loss": 0.5}, count)
            count += 1

    logging = threading.Thread(target=log)
    logging.start()
    while len(list((tmp_path / "w").glob("*.jsonl"))) < 6:
        writing.sync()
    stop.set()
    logging.join()
    writing.close()
    writing.sync()
    assert steps(recorded(tmp_path / "w")) == list(range(count))
    assert in_order(tmp_path / "w")
    for path in journal.segments(tmp_path / "w"):
        assert journal.check_sums(path) == []
        assert summed(path) == path.stat().st_size


def summed(path: Path) -> int:
    """Up to where the sums reach, without a gap."""
    end = 0
    for line in path.with_suffix(".sums").read_bytes().splitlines():
        block = msgspec.json.decode(line, type=journal.Checksum)
        assert block.start == end
        end = block.to
    return end


def test_segments_that_a_size_limit_closed_are_synced_too(tmp_path: Path) -> None:
    writing = open_journal(tmp_path / "w")
    with file_size_limit(4096):
        for step in range(200):
            writing.log({"loss": 0.5}, step)
    writing.close()
    writing.sync()
    for path in journal.segments(tmp_path / "w"):
        assert summed(path) == path.stat().st_size
