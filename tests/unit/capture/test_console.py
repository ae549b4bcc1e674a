"""What is printed is recorded, and the streams stay the user's own."""

from __future__ import annotations

import contextlib
import io
import logging
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

import tachograph
from tachograph.capture import console
from tachograph.record.run import Run

Script = Callable[..., "subprocess.CompletedProcess[str]"]


@contextlib.contextmanager
def recording() -> Iterator[tuple[Run, io.StringIO]]:
    """A run, and a stream of the test's own as standard output."""
    with contextlib.redirect_stdout(io.StringIO()) as stream, tachograph.start_run() as run:
        yield run, stream


def printed(run: Run) -> list[str]:
    return tachograph.open_store(run.root).run(run.id).console


def test_lines_are_recorded_and_printed() -> None:
    with recording() as (run, stream):
        print("epoch", 1)
        print("loss: 0.5", end="")
        print(", accuracy: 0.25\nepoch 2")
        sys.stdout.writelines(["a\n", "b\n"])
    assert stream.getvalue() == "epoch 1\nloss: 0.5, accuracy: 0.25\nepoch 2\na\nb\n"
    assert printed(run) == ["epoch 1", "loss: 0.5, accuracy: 0.25", "epoch 2", "a", "b"]


def test_a_last_line_without_an_end() -> None:
    with recording() as (run, _):
        print("finished", end="")
    assert printed(run) == ["finished"]


def test_of_a_progress_bar_the_last_state() -> None:
    with recording() as (run, _):
        for percent in range(0, 101, 10):
            print(f"\r{percent:3}%", end="")
        print()
        print("one\rtwo\r\nthree")
    assert printed(run) == ["100%", "two", "three"]


def test_a_progress_bar_without_end_is_bounded() -> None:
    with recording() as (run, _):
        for number in range(20_000):
            print(f"\r{number}", end="")
        assert len(console._listeners["stdout"]._line) <= console.LINE_LIMIT
    assert printed(run) == ["19999"]


def test_of_a_flood_the_beginning_and_the_end() -> None:
    count = 4 * (console.BEGINNING + console.END) // 1000
    with recording() as (run, stream):
        for number in range(count):
            print(f"{number:<999}")
        token = "hf_" + "AbCdEfGhIj" * 4
        print(f"why it died: {token}")
    assert len(stream.getvalue()) == count * 1000 + len(f"why it died: {token}\n")
    lines = printed(run)
    (gap,) = [number for number, line in enumerate(lines) if line.endswith(" lines are left out]")]
    assert [int(line) for line in lines[:gap]] == list(range(gap))
    last = [int(line) for line in lines[gap + 1 : -1]]
    assert last == list(range(last[0], count))
    assert lines[gap] == f"[{last[0] - gap:,} lines are left out]"
    assert lines[-1] == "why it died: [redacted]"
    for part, limit in [(lines[:gap], console.BEGINNING), (lines[gap + 1 :], console.END)]:
        assert 0.9 * limit < sum(map(len, part)) < 1.1 * limit


def test_what_is_longer_than_the_beginning_is_kept_to_its_end() -> None:
    with recording() as (run, _):
        for number in range(console.BEGINNING // 1000 + 10):
            print(f"{number:<999}")
        print("the last one")
    lines = printed(run)
    assert len(lines) == console.BEGINNING // 1000 + 11
    assert lines[-1] == "the last one"


@pytest.mark.slow
def test_one_write_of_many_lines_is_bounded() -> None:
    with recording() as (run, _):
        sys.stdout.write(("x" * 99 + "\n") * 100_000 + "the last one\n")
    lines = printed(run)
    assert lines[-1] == "the last one"
    assert lines[0] == f"[{(10_000_012 - console.END) // 100:,} lines are left out]"
    assert sum(map(len, lines)) <= console.END + 100


@pytest.mark.slow
def test_the_end_is_on_record_of_a_program_that_fails(script: Script, root: Path) -> None:
    done = script("""
        import tachograph
        run = tachograph.start_run()
        for number in range(200_000):
            print(f"a line with a number {number}")
        raise ValueError("boom")
    """)
    (run,) = tachograph.open_store(root).runs()
    assert run.console[-1] == "ValueError: boom", done.stderr
    assert "a line with a number 199999" in run.console


@pytest.mark.slow
def test_a_forked_child_does_not_end_with_its_parents_lines(script: Script, root: Path) -> None:
    script("""
        import os, sys, tachograph
        with tachograph.start_run() as run:
            for number in range(50_000):
                print(f"a line of the parent {number}", flush=number == 49_999)
            child = os.fork()
            if child == 0:
                sys.exit()
            os.waitpid(child, 0)
    """, PYTHONWARNINGS="ignore")  # fmt: skip
    (run,) = tachograph.open_store(root).runs()
    assert sum(line == "a line of the parent 49999" for line in run.console) == 1


def test_secrets_and_odd_characters(root: Path) -> None:
    token = "hf_" + "AbCdEfGhIj" * 4
    with recording() as (run, _):
        print(f"token {token}")
        print("caf\ud800")
    assert printed(run) == ["token [redacted]", "caf?"]
    assert not [path for path in root.rglob("*.jsonl") if token in path.read_text()]


def test_the_stream_is_as_it_was_once_the_last_run_has_ended() -> None:
    with contextlib.redirect_stdout(io.StringIO()) as stream:
        with tachograph.start_run():
            assert "write" in vars(stream)
            with tachograph.start_run():
                pass
            assert "write" in vars(stream)
        assert not vars(stream)
        assert sys.stdout is stream


def test_a_write_of_the_users_own_comes_back() -> None:
    written: list[str] = []

    def users(text: str) -> int:
        written.append(text)
        return len(text)

    with contextlib.redirect_stdout(io.StringIO()) as stream:
        stream.write = users  # type: ignore[method-assign]
        with tachograph.start_run() as run:
            print("x")
        assert stream.write is users
    assert written == ["x", "\n"]
    assert printed(run) == ["x"]


def test_somebody_elses_wrapper_stays_and_hears_once() -> None:
    heard = []
    with contextlib.redirect_stdout(io.StringIO()) as stream:
        with tachograph.start_run():
            ours = stream.write

            def theirs(text: str) -> int:
                heard.append(text)
                return ours(text)

            stream.write = theirs  # type: ignore[method-assign]
        print("between")
        with tachograph.start_run() as second:
            print("inside")
        assert stream.write is theirs
    assert printed(second) == ["inside"]
    assert "".join(heard) == "between\ninside\n"


def test_what_a_write_gives_and_raises_is_the_streams() -> None:
    with contextlib.redirect_stdout(io.StringIO()) as stream, tachograph.start_run():
        assert sys.stdout.write("four") == 4
        with pytest.raises(TypeError):
            sys.stdout.write(3)  # type: ignore[arg-type]
        stream.close()
        with pytest.raises(ValueError):
            print("closed")


def test_streams_of_every_kind(monkeypatch: pytest.MonkeyPatch) -> None:
    class Slotted:
        __slots__ = ("text",)

        def write(self, text: str) -> None:
            self.text = text

    class Evil:
        def __getattr__(self, name: str) -> Any:
            raise ZeroDivisionError(name)

    for stream in [None, Slotted(), object(), io.BytesIO(), Evil()]:
        with monkeypatch.context() as patch:
            patch.setattr(sys, "stdout", stream)
            patch.setattr(sys, "stderr", stream)
            patch.setenv("TACHOGRAPH_STRICT", "0" if isinstance(stream, Evil) else "1")
            with tachograph.start_run() as run:
                run.log({"loss": 0.5})
        assert tachograph.open_store(run.root).run(run.id).status == "finished"


def test_redirected_output_is_the_redirectors() -> None:
    with recording() as (run, _):
        with contextlib.redirect_stdout(io.StringIO()) as elsewhere:
            print("elsewhere")
        print("here")
    assert elsewhere.getvalue() == "elsewhere\n"
    assert printed(run) == ["here"]


def test_standard_error_and_logging(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    stream = io.StringIO()
    monkeypatch.setattr(sys, "stderr", stream)
    with tachograph.start_run() as run:
        handler = logging.StreamHandler()
        logger = logging.Logger("x")
        logger.addHandler(handler)
        logger.error("from a logger")
        print("plain", file=sys.stderr)
    assert printed(run) == ["from a logger", "plain"]


def test_threads_that_print_while_runs_end() -> None:
    stop = threading.Event()

    def chatter() -> None:
        while not stop.is_set():
            print("chatter")

    with contextlib.redirect_stdout(io.StringIO()) as stream:
        threads = [threading.Thread(target=chatter) for _ in range(4)]
        for thread in threads:
            thread.start()
        for _ in range(30):
            with tachograph.start_run():
                pass
        stop.set()
        for thread in threads:
            thread.join()
        assert not vars(stream)
    assert not console._runs
    assert not console._listeners


def test_it_can_be_switched_off(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TACHOGRAPH_CONSOLE", "0")
    with recording() as (run, stream):
        assert not vars(stream)
        print("x")
    assert printed(run) == []


def test_a_fork_prints_into_its_own_file(script: Script, root: Path) -> None:
    done = script(
        """
        import os, sys, tachograph
        with tachograph.start_run() as run:
            print("parent", flush=True)
            child = os.fork()
            if child == 0:
                print("child", flush=True)
                sys.exit()
            os.waitpid(child, 0)
            print("parent again")
    """,
        PYTHONWARNINGS="ignore",
    )  # from Python 3.12 on: that there are threads
    assert done.returncode == 0, done.stderr
    assert done.stdout == "parent\nchild\nparent again\n"
    (run,) = tachograph.open_store(root).runs()
    assert sorted(run.console) == ["child", "parent", "parent again"]


def test_the_whole_of_a_program_s_output_is_unchanged(script: Script) -> None:
    code = """
        import sys
        print("a", "b", sep="-", end="!")
        sys.stdout.buffer.write(b"bytes")
        sys.stdout.flush()
        print("é", file=sys.stderr)
        help(int.bit_count)
    """
    plain = script(code)
    recorded = script("import tachograph\nrun = tachograph.start_run()\n" + "\n".join(
        line[8:] for line in code.splitlines()
    ))  # fmt: skip
    assert (recorded.returncode, recorded.stdout, recorded.stderr) == (plain.returncode, plain.stdout, plain.stderr)
