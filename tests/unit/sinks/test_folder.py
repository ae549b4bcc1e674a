"""The sink that is another folder."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from tachograph import events, journal, sinks
from tachograph.events import Event
from tachograph.sinks import folder
from tachograph.sinks.folder import FolderSink
from tachograph.testing import check_sink
from tachograph.testing.sinks import WRITERS, new_run, recorded

RUN = "20260101-000000-aaaaaa"


@pytest.fixture
def there(tmp_path: Path) -> Path:
    return tmp_path / "there and back"


@pytest.fixture
def sink(there: Path) -> FolderSink:
    return FolderSink(there.as_uri())


def stored(there: Path, run: str) -> dict[str, list[Event]]:
    """All that lies in a store of a run, damage and repetitions too."""
    found: dict[str, list[Event]] = {}
    for writer in journal.writers(there / "runs" / run):
        lines = [line for path in journal.segments(writer) for line in path.read_bytes().splitlines()]
        found[writer.name] = list(map(events.decode, lines))
    return found


@contextlib.contextmanager
def unmounted(there: Path) -> Iterator[None]:
    """Something else lies where the folder was."""
    kept = there.rename(there.with_name("kept"))
    there.touch()
    yield
    there.unlink()
    kept.rename(there)


def test_it_keeps_the_rules(there: Path) -> None:
    check_sink(lambda: FolderSink(there.as_uri()), lambda run: stored(there, run), lambda: unmounted(there))


@pytest.mark.slow
def test_small_segments_keep_the_rules(there: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(folder, "SEGMENT_BYTES", 300)
    check_sink(lambda: FolderSink(there.as_uri()), lambda run: stored(there, run))


def test_what_lies_there_is_what_was_given(sink: FolderSink, there: Path) -> None:
    lines = recorded(RUN)
    sink.write(RUN, WRITERS[0], lines)
    assert (there / "runs" / RUN / WRITERS[0] / "1.jsonl").read_bytes() == b"\n".join([*lines, b""])


@pytest.mark.parametrize("cut", [1, 40, 130])
def test_what_a_killed_sender_left_in_the_middle_is_written_over(sink: FolderSink, there: Path, cut: int) -> None:
    lines = recorded(RUN)
    sink.write(RUN, WRITERS[0], lines)
    path = there / "runs" / RUN / WRITERS[0] / "1.jsonl"
    whole = path.read_bytes()
    path.write_bytes(whole[:-cut])
    again = FolderSink(there.as_uri())
    assert again.resume(RUN)[WRITERS[0]] < len(lines)
    again.write(RUN, WRITERS[0], lines)
    assert path.read_bytes() == whole


def test_a_line_longer_than_what_is_looked_at_first(sink: FolderSink, there: Path) -> None:
    lines = [*recorded(RUN), b'{"kind":"note","v":1,"seq":99,"at":1.0,"text":"' + b"x" * 300_000 + b'"}']
    sink.write(RUN, WRITERS[0], lines)
    assert FolderSink(there.as_uri()).resume(RUN) == {WRITERS[0]: 99}


def test_it_goes_on_behind_a_compressed_segment(sink: FolderSink, there: Path) -> None:
    lines = recorded(RUN)
    sink.write(RUN, WRITERS[0], lines[:10])
    journal.compress(there / "runs" / RUN / WRITERS[0] / "1.jsonl")
    again = FolderSink(there.as_uri())
    assert again.resume(RUN) == {WRITERS[0]: 10}
    again.write(RUN, WRITERS[0], lines)
    found = list(journal.read_writer(there / "runs" / RUN / WRITERS[0]))
    assert found == list(map(events.decode, lines))


def test_a_store_that_vanished_is_not_filled_with_holes(sink: FolderSink, there: Path) -> None:
    lines = recorded(RUN)
    sink.write(RUN, WRITERS[0], lines[:10])
    path = there / "runs" / RUN / WRITERS[0] / "1.jsonl"
    path.write_bytes(b"")
    with pytest.raises(OSError, match="shorter"):
        sink.write(RUN, WRITERS[0], lines[10:])
    path.unlink()
    sink.resume(RUN)
    sink.write(RUN, WRITERS[0], lines)
    assert stored(there, RUN)[WRITERS[0]] == list(map(events.decode, lines))


def test_a_share_that_is_not_mounted_is_waited_for(tmp_path: Path) -> None:
    sink = FolderSink((tmp_path / "not mounted" / "store").as_uri())
    assert sink.resume(RUN) == {}
    with pytest.raises(OSError):
        sink.write(RUN, WRITERS[0], recorded(RUN))
    assert not (tmp_path / "not mounted").exists()


@pytest.mark.parametrize("name", ["", "..", "a/b", "a\\b", "a\0b", "/etc"])
def test_names_stay_within_the_store(sink: FolderSink, there: Path, name: str) -> None:
    with pytest.raises(ValueError, match="name"):
        sink.write(name, "writer", recorded(RUN))
    with pytest.raises(ValueError, match="name"):
        sink.write(RUN, name, recorded(RUN))
    assert not there.exists()


@pytest.mark.parametrize("url", ["file://host/share", "file:relative", "file:///"[:7]])
def test_other_urls_are_refused(url: str) -> None:
    with pytest.raises(ValueError, match="absolute"):
        FolderSink(url)


def test_many_senders_at_once(there: Path) -> None:
    run, lines = new_run(), recorded(new_run(), points=2000)

    def send(size: int) -> None:
        sink = FolderSink(there.as_uri())
        held = sink.resume(run).get(WRITERS[0], 0)
        for start in range(held, len(lines), size):
            sink.write(run, WRITERS[0], lines[start : start + size])

    threads = [threading.Thread(target=send, args=[size]) for size in (7, 11, 13, 50)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert stored(there, run) == {WRITERS[0]: list(map(events.decode, lines))}


def test_a_sink_is_found_by_its_scheme(there: Path) -> None:
    assert isinstance(sinks.open_sink(there.as_uri()), FolderSink)
    assert isinstance(sinks.open_sink(there.as_uri().replace("file", "FILE")), FolderSink)
    with pytest.raises(ValueError, match=r"no sink for gopher:// URLs; there is one for .*file"):
        sinks.check("gopher://host")
