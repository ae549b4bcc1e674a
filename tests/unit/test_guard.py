"""No fault of ours and no misuse reaches the user's code, whatever the user has done to warnings and streams."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
import threading
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tachograph import guard
from tachograph.errors import TachographWarning


@pytest.fixture
def lenient(monkeypatch: pytest.MonkeyPatch) -> None:
    """As in production: our faults are not raised."""
    monkeypatch.setenv("TACHOGRAPH_STRICT", "0")


class Notebook(guard.Accountable):
    """Where warnings are noted."""

    def __init__(self) -> None:
        self.texts: list[str] = []

    def remark(self, text: str) -> None:
        self.texts.append(text)


def fail(error: Exception) -> None:
    with guard.contained("a hook"):
        raise error


def repeat(times: int, *works: Callable[[], None]) -> None:
    for work in works:
        for _ in range(times):
            work()


@pytest.mark.usefixtures("lenient")
class TestFaults:
    def test_a_fault_stays_inside_and_says_what_and_where(self) -> None:
        book = Notebook()
        with (
            pytest.warns(TachographWarning, match=r"a hook failed .*KeyError: 'x', at test_guard.py:\d+"),
            guard.contained("a hook", book),
        ):
            raise KeyError("x")
        assert len(book.texts) == 1
        assert "training goes on" in book.texts[0]

    def test_a_fault_warns_once_for_each_place(self) -> None:
        def fail_elsewhere() -> None:
            with guard.contained("a hook"):
                raise ValueError("there")

        with pytest.warns(TachographWarning) as caught:
            repeat(5, lambda: fail(ValueError("here")), fail_elsewhere)
        assert len(caught) == 2

    def test_a_shielded_verb_gives_none(self) -> None:
        class Verbs(Notebook):
            @guard.shield
            def verb(self, number: int) -> int:
                """What it does."""
                return 1 // number

        verbs = Verbs()
        assert verbs.verb(1) == 1
        with pytest.warns(TachographWarning, match="ZeroDivisionError"):
            assert verbs.verb(0) is None
        assert len(verbs.texts) == 1
        assert Verbs.verb.__doc__ == "What it does."

    def test_the_user_s_object_is_not_taken_for_a_run(self) -> None:
        class Model:
            spent = 5.0

            @property
            def run(self) -> None:
                raise KeyError("the user's own")

            def remark(self, text: str) -> None:
                raise AssertionError(text)

        @guard.shield
        def begin(model: Model, number: int) -> int:
            return 1 // number

        model = Model()
        assert begin(model, 1) == 1
        with pytest.warns(TachographWarning, match="ZeroDivisionError"):
            assert begin(model, 0) is None
        assert (model.spent, vars(model)) == (5.0, {})

    @pytest.mark.parametrize("stop", [KeyboardInterrupt, SystemExit, GeneratorExit])
    def test_what_the_user_or_the_interpreter_ends_goes_through(self, stop: type[BaseException]) -> None:
        with pytest.raises(stop), guard.contained("a hook"):
            raise stop

    def test_an_exception_that_can_not_be_shown(self) -> None:
        class ShyError(Exception):
            def __str__(self) -> str:
                raise RuntimeError("no text")

        with pytest.warns(TachographWarning, match="ShyError"):
            fail(ShyError())

    def test_a_note_that_fails_does_not_go_round_in_circles(self) -> None:
        class Broken:
            def remark(self, text: str) -> None:
                with guard.contained("the note itself", self):
                    raise OSError("no room")

        with pytest.warns(TachographWarning) as caught, guard.contained("a hook", Broken()):
            raise ValueError
        assert len(caught) == 2

    def test_text_in_odd_characters_and_of_many_lines(self) -> None:
        book = Notebook()
        with pytest.warns(TachographWarning), guard.contained("a hook", book):
            raise ValueError("first\nsecond \ud800")
        assert "\n" not in book.texts[0]

    def test_a_removed_working_folder(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.delenv("TACHOGRAPH_STRICT")
        (tmp_path / "gone").mkdir()
        monkeypatch.chdir(tmp_path / "gone")
        (tmp_path / "gone").rmdir()
        with pytest.warns(TachographWarning, match="ValueError"):
            fail(ValueError("x"))


def test_in_strict_mode_a_fault_is_raised_as_it_is() -> None:
    error = ValueError("x")
    with pytest.raises(ValueError) as caught:
        fail(error)
    assert caught.value is error


def test_a_misuse_is_never_raised_not_even_in_strict_mode() -> None:
    book, other = Notebook(), Notebook()
    with pytest.warns(TachographWarning, match="tachograph: that is no number") as caught:
        repeat(3, lambda: guard.misuse("that is no number", book), lambda: guard.misuse("that is no number", other))
    assert len(caught) == 1
    assert set(book.texts) == set(other.texts) == {"that is no number"}


def test_the_warning_points_at_the_users_line() -> None:
    with pytest.warns(TachographWarning) as caught:
        guard.misuse("here")
    assert caught[0].filename == __file__


class TestOddSurroundings:
    """The user's warnings and streams may be in any state."""

    def test_warnings_as_errors(self, capsys: pytest.CaptureFixture[str]) -> None:
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            guard.misuse("that is no number")
        assert capsys.readouterr().err == "tachograph: that is no number\n"

    def test_warnings_ignored(self, capsys: pytest.CaptureFixture[str]) -> None:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            guard.misuse("that is no number")
        assert capsys.readouterr().err == ""

    def test_a_user_who_shows_warnings_and_fails(self, monkeypatch: pytest.MonkeyPatch) -> None:
        def broken(*args: Any, **kwargs: Any) -> None:
            raise OSError("no terminal")

        with warnings.catch_warnings():
            warnings.simplefilter("always")
            monkeypatch.setattr(warnings, "showwarning", broken)
            guard.misuse("that is no number")

    @pytest.mark.parametrize("action", ["error", "always"])
    def test_no_standard_error(self, action: str) -> None:
        code = """
import io, sys
from tachograph import guard
closed = io.StringIO()
closed.close()
for stream in [closed, None, object()]:
    sys.stderr = stream
    guard.misuse(f"with {stream}")
sys.stderr = sys.__stderr__
"""
        done = subprocess.run([sys.executable, "-W", action, "-c", code], capture_output=True, text=True)
        assert (done.returncode, done.stdout) == (0, "")

    def test_the_filters_and_registries_stay_as_they_are(self) -> None:
        globals().pop("__warningregistry__", None)  # another test's
        before = list(warnings.filters)
        with pytest.warns(TachographWarning):
            guard.misuse("that is no number")
        assert warnings.filters == before
        assert "__warningregistry__" not in globals()

    def test_silence_is_for_standard_error_only(self, recwarn: pytest.WarningsRecorder) -> None:
        book = Notebook()
        guard.mute(True)
        guard.misuse("that is no number", book)
        guard.mute(False)
        assert not recwarn
        assert book.texts == ["that is no number"]


@contextlib.contextmanager
def all_at_once(count: int, work: Any) -> Iterator[None]:
    ready = threading.Barrier(count)
    threads = [threading.Thread(target=lambda: (ready.wait(), work())) for _ in range(count)]
    for thread in threads:
        thread.start()
    yield
    for thread in threads:
        thread.join()


def test_many_threads_with_one_complaint_each_are_all_noted() -> None:
    book = Notebook()
    with pytest.warns(TachographWarning), all_at_once(16, lambda: guard.misuse("that is no number", book)):
        pass
    assert len(book.texts) == 16


def test_our_files_and_the_users() -> None:
    assert guard.is_ours(guard.__file__)
    assert guard.is_ours(os.path.join("x", "site-packages", "tachograph_frameworks", "torch", "loop.py"))
    assert not guard.is_ours(__file__)
    assert not guard.is_ours("/home/me/tachograph/train.py")


def test_what_a_server_or_a_file_said_reaches_the_terminal_as_text(capsys: pytest.CaptureFixture[str]) -> None:
    hostile = "refused: \x1b]0;PWN\x07 \x9b2J \u202e\nFORGED"
    with pytest.warns(TachographWarning) as warned:
        guard.misuse(hostile)
    guard.say(hostile)
    for text in (str(warned[0].message), capsys.readouterr().err.rstrip("\n")):
        assert text.isprintable(), text
