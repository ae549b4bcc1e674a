"""From the journals of runs to their sinks, by sinks that do as they are told."""

from __future__ import annotations

import shutil
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

import tachograph
from tachograph import events, journal, sinks
from tachograph.capture import environment
from tachograph.cli import main
from tachograph.errors import TachographWarning
from tachograph.record import lifecycle
from tachograph.ship import shipper as shipping
from tachograph.ship.positions import Positions
from tachograph.ship.sender import Sender
from tachograph.ship.shipper import Shipper
from tachograph.sinks import Reject, Retry
from tachograph.sinks.folder import FolderSink

CALLS: dict[str, Callable[[Sequence[bytes]], None]] = {}


class ToldSink(FolderSink):
    """A folder whose every write is announced to a function first."""

    def write(self, run: str, writer: str, lines: Sequence[bytes]) -> None:
        CALLS[self.name](lines)
        super().write(run, writer, lines)


@pytest.fixture(autouse=True)
def own_shipper(monkeypatch: pytest.MonkeyPatch) -> Iterator[Shipper]:
    shipper = Shipper()
    monkeypatch.setattr(shipping, "shipper", shipper)
    monkeypatch.setattr(shipping, "open_sink", lambda url: ToldSink(url) if "told" in url else sinks.open_sink(url))
    yield shipper
    tachograph.flush(20)


@pytest.fixture
def there(tmp_path: Path) -> Path:
    return tmp_path / "there"


@pytest.fixture
def told(tmp_path: Path) -> Callable[[Callable[[Sequence[bytes]], None]], str]:
    """The URL of a sink that calls a function before each write."""

    def make(before: Callable[[Sequence[bytes]], None]) -> str:
        url = (tmp_path / f"told-{len(CALLS)}").as_uri()
        CALLS[url] = before
        return url

    return make


def contents(root: Path, run: str) -> dict[str, list[bytes]]:
    """The good lines of a run, repetitions too."""
    found = {}
    for writer in journal.writers(root / "runs" / run):
        lines = [line for path in journal.segments(writer) for line in path.read_bytes().split(b"\n")]
        found[writer.name] = [line for line in lines if line]
    return found


def place(url: str) -> Path:
    return Path(url.removeprefix("file://"))


def wait_for(condition: Callable[[], object]) -> None:
    end = time.monotonic() + 20
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.01)


def test_a_run_with_its_files_arrives(root: Path, there: Path, tmp_path: Path) -> None:
    (tmp_path / "model.pt").write_bytes(b"weights")
    with tachograph.start_run("one", params={"lr": 0.1}, sinks=[there.as_uri()]) as run:
        run.log({"loss": float("nan")})
        run.log_artifact(tmp_path / "model.pt")
        with run.child("fold") as child:
            child.log({"loss": 1})
        assert tachograph.flush(20)
        assert contents(there, run.id) == contents(root, run.id)
    assert tachograph.flush(20)
    far, near = tachograph.open_store(there).run(run.id), tachograph.open_store(root).run(run.id)
    assert (far.status, far.params, far.name, len(far.children)) == ("finished", near.params, "one", 1)
    assert far.artifact("model.pt").path().read_bytes() == b"weights"
    assert contents(there, child.id) == contents(root, child.id)


def test_what_the_run_is_sent_to_is_on_record_without_secrets(root: Path, there: Path) -> None:
    with tachograph.start_run(sinks=[f"{there.as_uri()}?token=hunter2", there.as_uri()]) as run:
        run.log({"loss": 1})
    assert tachograph.flush(20)
    (writer,) = journal.writers(root / "runs" / run.id)
    header = journal.header(writer)
    assert header is not None
    assert header.sinks == [f"{there.as_uri()}?token=[redacted]", there.as_uri()]
    assert not [path for path in root.rglob("*.json*") if b"hunter2" in path.read_bytes()]


def test_a_sink_that_heals_has_everything_once(root: Path, told: Callable[..., str]) -> None:
    fails = [OSError("refused"), Retry(0.05), Retry(), ConnectionResetError()]
    calls: list[float] = []

    def heal(lines: Sequence[bytes]) -> None:
        calls.append(time.monotonic())
        if fails:
            raise fails.pop()

    url = told(heal)
    with tachograph.start_run(sinks=[url]) as run:
        for step in range(3000):
            run.log({"loss": step})
    assert tachograph.flush(30)
    assert contents(place(url), run.id) == contents(root, run.id)


def test_a_dead_sink_delays_no_other(root: Path, there: Path, told: Callable[..., str]) -> None:
    stop = threading.Event()
    url = told(lambda lines: stop.wait(20) and None)
    with tachograph.start_run(sinks=[url, there.as_uri()]) as run:
        run.log({"loss": 1})
    began = time.monotonic()
    assert not tachograph.flush(1.0)
    assert time.monotonic() - began < 3
    assert contents(there, run.id) == contents(root, run.id)
    (left,) = shipping.shipper.unsent()
    assert "of 1 run to" in left
    stop.set()
    assert tachograph.flush(20)
    assert shipping.shipper.unsent() == []


def test_what_is_rejected_is_set_aside_and_noted(root: Path, told: Callable[..., str]) -> None:
    def refuse(lines: Sequence[bytes]) -> None:
        bad = [line for line in lines if b'"odd"' in line]
        if bad:
            raise Reject(bad, "odd is not wanted")

    url = told(refuse)
    with tachograph.start_run(sinks=[url]) as run:
        run.log({"odd": 1})
        run.log({"even": 2})
        with pytest.warns(TachographWarning, match="odd is not wanted"):
            wait_for(lambda: any("odd is not wanted" in note.text for note in notes(root, run.id)))
    assert tachograph.flush(20)
    (one,) = Positions(root, url).rejected(run.id)
    assert b'"odd"' in one.line.encode()
    (near,) = contents(root, run.id).values()
    (far,) = contents(place(url), run.id).values()
    assert far == [line for line in near if b'"odd"' not in line]


def notes(root: Path, run: str) -> Any:
    return tachograph.open_store(root).run(run).notes


def test_a_lost_or_wrong_position_costs_nothing(root: Path, there: Path) -> None:
    with tachograph.start_run(sinks=[there.as_uri()]) as run:
        run.log({"loss": 1})
        assert tachograph.flush(20)
        for path in (root / "sinks").rglob("*.json"):
            path.write_bytes(b"garbage")
        run.log({"loss": 2})
    assert tachograph.flush(20)
    assert contents(there, run.id) == contents(root, run.id)


def test_what_the_far_side_lost_is_sent_again(root: Path, there: Path, own_shipper: Shipper) -> None:
    with tachograph.start_run("one", sinks=[there.as_uri()]) as run:
        run.log({"loss": 1})
    assert tachograph.flush(20)
    (path,) = there.rglob("*.jsonl")
    path.unlink()
    assert main(["sync", "--again"]) == 0
    assert contents(there, run.id) == contents(root, run.id)


def test_the_next_run_sends_what_was_left(root: Path, tmp_path: Path, script: Callable[..., Any]) -> None:
    far = tmp_path / "not yet" / "there"
    code = f"""
        import tachograph
        with tachograph.start_run(sinks=[{far.as_uri()!r}]) as run:
            run.log({{"loss": 1}})
    """
    first = script(code, TACHOGRAPH_EXIT_WAIT="0.3")
    assert first.returncode == 0
    (line,) = first.stderr.splitlines()
    assert line.startswith("tachograph: still to be sent: ")
    assert line.endswith("tachograph sync")
    far.parent.mkdir()
    second = script(code)
    assert (second.returncode, second.stderr) == (0, "")
    runs = [folder.name for folder in (root / "runs").iterdir()]
    assert len(runs) == 2
    for run in runs:
        assert contents(far, run) == contents(root, run)
    assert not list((root / "sinks").glob("*/*.json"))


def test_forked_children_arrive_with_their_parent(root: Path, there: Path, script: Callable[..., Any]) -> None:
    done = script(f"""
        import multiprocessing, tachograph

        def work(number):
            tachograph.log({{"child": number}})

        with tachograph.start_run(sinks=[{there.as_uri()!r}]) as run:
            run.log({{"loss": 1}})
            children = [multiprocessing.get_context("fork").Process(target=work, args=[n]) for n in range(2)]
            [child.start() for child in children]
            [child.join() for child in children]
    """)
    assert (done.returncode, done.stderr) == (0, "")
    (run,) = (root / "runs").iterdir()
    assert len(contents(root, run.name)) == 3
    assert contents(there, run.name) == contents(root, run.name)


def test_released_files_are_not_waited_for(root: Path, there: Path, tmp_path: Path) -> None:
    with tachograph.start_run(sinks=[there.as_uri()]) as run:
        digest, size = run.recorder.blobs.put_bytes(b"a checkpoint")
        run._journal.append(events.Artifact(name="c", type="checkpoint", digest=digest, size=size, filename="c"))
        run._journal.append(events.Release(digests=[digest]))
        gone = "sha256:" + 64 * "0"
        run._journal.append(events.Artifact(name="d", type="checkpoint", digest=gone, size=size, filename="d"))
        assert tachograph.flush(20)
    assert tachograph.flush(20)
    assert contents(there, run.id) == contents(root, run.id)
    assert not list((there / "blobs").glob("*/*"))


def test_a_store_that_is_deleted_meanwhile_does_not_come_back(root: Path, there: Path) -> None:
    with tachograph.start_run(sinks=[there.as_uri()]) as run:
        run.log({"loss": 1})
    assert tachograph.flush(20)
    shutil.rmtree(root)
    Positions(root, there.as_uri()).save(run.id, {})
    assert not root.exists()


def test_no_sink_no_thread_no_file(root: Path) -> None:
    with tachograph.start_run() as run:
        run.log({"loss": 1})
        assert not [thread for thread in threading.enumerate() if "sender" in thread.name]
    assert tachograph.flush(5)
    assert not (root / "sinks").exists()


def test_a_sink_that_does_not_exist_is_refused_at_once(root: Path) -> None:
    with pytest.raises(ValueError, match=r"there is no sink for gopher:// URLs; there is one for .*file"):
        tachograph.start_run(sinks=["gopher://host"])
    with pytest.raises(ValueError, match="no sink for gopher"):
        tachograph.autolog(sinks=["gopher://host"])
    assert not root.exists()


def test_from_the_settings_it_is_a_warning(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TACHOGRAPH_SINKS", "gopher://host")
    with pytest.warns(TachographWarning, match="nothing is sent to gopher://host"), tachograph.start_run() as run:
        wait_for(lambda: any("nothing is sent" in note.text for note in notes(root, run.id)))
    assert not tachograph.flush(0.1)


class Faulty(FolderSink):
    """A sink with a fault of its own in its first calls."""

    left = 0

    def write(self, run: str, writer: str, lines: Sequence[bytes]) -> None:
        if Faulty.left:
            Faulty.left -= 1
            raise ZeroDivisionError("a fault")
        super().write(run, writer, lines)


def test_a_fault_in_sending_is_told_and_sending_begins_anew_when_somebody_waits(
    root: Path, there: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TACHOGRAPH_STRICT", "0")
    monkeypatch.setattr(shipping, "open_sink", Faulty)
    monkeypatch.setattr(Faulty, "left", 1)

    def start() -> tachograph.Run:
        run = tachograph.start_run(sinks=[there.as_uri()])
        wait_for(lambda: Positions(root, there.as_uri()).last_error())  # which comes after note and warning
        return run

    with pytest.warns(TachographWarning, match="sending to file:.* failed .*ZeroDivisionError: a fault"):
        run = start()
    with run:
        assert any("ZeroDivisionError" in note.text for note in notes(root, run.id))
        for _ in range(10):
            run.log({"loss": 1})  # training goes on
        error = Positions(root, there.as_uri()).last_error()
        assert error is not None
        assert "a fault of its own" in error.why
        assert tachograph.flush(20)
    assert tachograph.flush(20)
    assert contents(there, run.id) == contents(root, run.id)
    assert Positions(root, there.as_uri()).last_error() is None


def test_a_fault_that_stays_is_no_success(root: Path, there: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TACHOGRAPH_STRICT", "0")
    monkeypatch.setattr(shipping, "open_sink", Faulty)
    monkeypatch.setattr(Faulty, "left", 1000)

    def train() -> None:
        with tachograph.start_run(sinks=[there.as_uri()]) as run:
            run.log({"loss": 1})
            wait_for(lambda: Positions(root, there.as_uri()).last_error())

    with pytest.warns(TachographWarning, match="ZeroDivisionError"):
        train()
    began = time.monotonic()
    assert not tachograph.flush(5)
    assert time.monotonic() - began < 4  # it need not be waited for
    assert "of 1 run to" in shipping.shipper.unsent()[0]
    Faulty.left = 0


def test_in_strict_mode_a_fault_ends_the_thread_loudly(
    root: Path, there: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[threading.ExceptHookArgs] = []
    monkeypatch.setattr(threading, "excepthook", seen.append)
    monkeypatch.setattr(shipping, "open_sink", Faulty)
    monkeypatch.setattr(Faulty, "left", 1)
    with tachograph.start_run(sinks=[there.as_uri()]):
        wait_for(lambda: seen)
    assert seen[0].exc_type is ZeroDivisionError
    assert tachograph.flush(20)


def test_what_is_found_out_long_after_a_short_run_is_sent_too(
    root: Path, there: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def slow(request: dict[str, Any], on_fact: Callable[[dict[str, Any]], object]) -> dict[str, Any]:
        time.sleep(2)  # the sink has let go of the run by then
        on_fact({"packages": {"numpy": "2"}})
        return {}

    monkeypatch.setattr(lifecycle, "_slow_facts", None)
    monkeypatch.setattr(environment, "slow", slow)
    with tachograph.start_run("short", sinks=[there.as_uri()]) as run:
        run.log({"loss": 0.5})
    until = time.monotonic() + 60
    while b'"packages"' not in b"".join(path.read_bytes() for path in there.rglob("*.jsonl")):
        assert time.monotonic() < until
        time.sleep(0.1)


def test_what_comes_just_after_the_end_was_sent_is_sent_too(
    root: Path, there: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    came: list[bool] = []
    send_all = Sender._send_all

    def interrupted(self: Sender, sink: Any) -> bool:
        sent = send_all(self, sink)
        if run.id in self._closed and not came:
            came.append(True)
            run.log_note("late")
            shipping.shipper.leave(run)
        return sent

    monkeypatch.setattr(Sender, "_send_all", interrupted)
    with tachograph.start_run("short", sinks=[there.as_uri()]) as run:
        run.log({"loss": 0.5})
    assert tachograph.flush(20)
    assert came
    assert tachograph.flush(20)  # of what was not there yet when the first one began
    assert contents(there, run.id) == contents(root, run.id)
