"""What is recorded comes back as it was; what can't be recorded never raises, warns once and is noted."""

from __future__ import annotations

import datetime
import decimal
import enum
import math
import os
import shutil
import sys
import threading
import time
import warnings
from collections import OrderedDict
from collections.abc import Callable, Iterator
from fractions import Fraction
from inspect import isfunction
from pathlib import Path, PurePosixPath
from types import MappingProxyType
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import tachograph
from tachograph import guard
from tachograph.capture import console
from tachograph.errors import TachographWarning
from tachograph.record import lifecycle
from tachograph.record.run import Run
from tachograph.runtime.background import background
from tachograph.store.run_record import RunRecord


@pytest.fixture
def run(root: Path) -> Iterator[Run]:
    with tachograph.start_run() as opened:
        yield opened


def read(run: Run) -> RunRecord:
    return tachograph.open_store(run.root).run(run.id)


def repeat(times: int, work: Callable[[int], object]) -> None:
    for number in range(times):
        work(number)


def complaints(run: Run) -> list[str]:
    return [note.text for note in read(run).notes if note.source == "tachograph"]


def points(run: Run, name: str) -> list[tuple[int, float]]:
    history = read(run).history(name)
    return list(zip(history.steps.tolist(), history.values.tolist(), strict=True))


# ---- metrics ---------------------------------------------------------------------------------------------------------


def test_steps_count_for_each_name(run: Run) -> None:
    for value in [0.5, 0.25]:
        run.log({"loss": value})
    run.log({"loss": 0.125, "accuracy": 0.5})
    run.log({"accuracy": 0.75})
    run.log({"accuracy": 1.0, "loss": 0.0})
    assert points(run, "loss") == [(0, 0.5), (1, 0.25), (2, 0.125), (3, 0.0)]
    assert points(run, "accuracy") == [(0, 0.5), (1, 0.75), (2, 1.0)]


def test_steps_in_any_order_are_all_kept(run: Run) -> None:
    steps = [5, 3, 3, 100, -1, 0, 2**62, -(2**62), 2**63 - 1]
    for number, step in enumerate(steps):
        run.log({"loss": float(number)}, step)
        run.log({"loss": float(number)}, step=step)
    assert points(run, "loss") == [(step, float(number)) for number, step in enumerate(steps) for _ in range(2)]


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (3, 3.0),
        (True, 1.0),
        (2**80, float(2**80)),
        (-(2**70), -float(2**70)),
        (5e-324, 5e-324),
        (math.nan, math.nan),
        (math.inf, math.inf),
        (-math.inf, -math.inf),
        (np.float32(0.1), float(np.float32(0.1))),
        (np.float64(0.1), 0.1),
        (np.float16(0.5), 0.5),
        (np.longdouble(0.5), 0.5),
        (np.int64(7), 7.0),
        (np.uint8(7), 7.0),
        (np.bool_(True), 1.0),
        (np.array(0.25), 0.25),
        (np.array([0.25]), 0.25),
        (np.array([[3]]), 3.0),
        (decimal.Decimal("0.5"), 0.5),
        (Fraction(1, 4), 0.25),
    ],
    ids=lambda value: f"{type(value).__name__} {value}"[:40],
)
def test_numbers_of_every_kind(run: Run, value: Any, expected: float) -> None:
    for name in ["alone", "alone"]:  # a name that is seen for the first time takes another way
        run.log({name: value})
    run.log({"among": 0.5, "others": value})
    for found in [read(run).metrics["alone"], read(run).metrics["others"]]:
        assert found == expected or (math.isnan(found) and math.isnan(expected))
    assert points(run, "alone")[1][0] == 1
    assert not complaints(run)


class RaisesError:
    """No number, and rude about it."""

    def __float__(self) -> float:
        raise KeyError("no")

    def __radd__(self, other: object) -> float:
        return 1.0

    def __repr__(self) -> str:
        raise RuntimeError("not even text")


HUGE = 10**400
WRONG: list[Any] = [
    "0.5",
    b"0.5",
    None,
    [0.5],
    {"a": 1},
    1 + 2j,
    np.array([1.0, 2.0]),
    np.array([]),
    np.array("x"),
    object,
]
WRONG += [RaisesError(), datetime.datetime.now(), Ellipsis, lambda: 0.5, np.datetime64("2026-01-01", "ns"), float]
# The hot path takes every int as it is.


@pytest.mark.parametrize("wrong", [*WRONG, HUGE], ids=lambda value: type(value).__name__)
def test_what_is_no_number_costs_itself_alone(run: Run, wrong: Any) -> None:
    run.log({"good": 0.25, "bad": 0.5})
    with pytest.warns(TachographWarning, match="metric 'bad' is not a number") as caught:
        repeat(3, lambda _: run.log({"good": 0.5, "bad": wrong}))
    assert len(caught) == 1
    assert points(run, "good") == [(0, 0.25), (1, 0.5), (2, 0.5), (3, 0.5)]
    assert points(run, "bad") == [(0, 0.5)]
    assert len(complaints(run)) == 1


@pytest.mark.parametrize("wrong", [None, 3, "loss", [("loss", 0.5)], {"loss"}, ...], ids=repr)
def test_what_is_no_mapping(run: Run, wrong: Any) -> None:
    with pytest.warns(TachographWarning, match="log takes a mapping"):
        run.log(wrong)
    run.log({"loss": 0.5})
    assert read(run).metrics == {"loss": 0.5}


@pytest.mark.parametrize("mapping", [OrderedDict, MappingProxyType, lambda values: type("D", (dict,), {})(values)])
def test_mappings_of_every_kind(run: Run, mapping: Callable[[Any], Any]) -> None:
    for _ in range(2):
        run.log(mapping({"loss": 0.5, "accuracy": 1.0}))
    assert points(run, "loss") == [(0, 0.5), (1, 0.5)]


def test_an_empty_mapping_records_nothing(run: Run) -> None:
    for step in [None, 3]:
        run.log({}, step)
    run.log({"loss": 0.5})
    assert points(run, "loss") == [(0, 0.5)]


@pytest.mark.parametrize(
    "wrong",
    [
        1.5,
        "7",
        math.nan,
        math.inf,
        [1],
        object(),
        np.array([1, 2]),
        RaisesError(),
        2**63,
        2**64,
    ],
)
def test_a_step_that_is_none_counts_as_left_out(run: Run, wrong: Any) -> None:
    run.log({"loss": 0.5})
    with pytest.warns(TachographWarning, match="step must be a whole number") as caught:
        repeat(3, lambda _: run.log({"loss": 0.5}, step=wrong))
    assert len(caught) == 1
    assert [step for step, _ in points(run, "loss")] == [0, 1, 2, 3]


def test_steps_that_differ_and_are_none_are_complained_of_once(run: Run) -> None:
    run.log({"loss": 0.5}, 0)
    with pytest.warns(TachographWarning) as caught:
        repeat(20, lambda number: run.log({"loss": 0.5}, step=0.5 + number))  # type: ignore[arg-type]
    assert len(caught) == 1
    assert len(complaints(run)) == 1


@pytest.mark.parametrize("step", [np.int64(7), np.array(7), 7.0, np.float32(7), True + 6, np.uint8(7)], ids=repr)
def test_steps_of_every_kind(run: Run, step: Any) -> None:
    for _ in range(2):
        run.log({"loss": 0.5}, step=step)
    run.log({"loss": 0.5}, step=True)
    assert points(run, "loss") == [(7, 0.5), (7, 0.5), (1, 0.5)]


ODD_NAMES = ["", " ", "\n", "a" * 5000, "train/loss", "val loss", "é", "\ud800", "\0", '"', "loss\n", 3, None, ("a",)]


@pytest.mark.parametrize("name", ODD_NAMES, ids=repr)
@pytest.mark.filterwarnings("ignore::tachograph.TachographWarning")
def test_names_of_every_kind(run: Run, name: Any) -> None:
    for step in range(3):
        run.log({name: 0.5, "good": 1.0}, step)
    names = set(read(run).metrics) - {"good"}
    assert len(names) == (name != "")
    assert len(points(run, "good")) == 3
    for found in names:
        assert [step for step, _ in points(run, found)] == [0, 1, 2]


@pytest.mark.slow
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=200, deadline=None)
@given(
    st.dictionaries(st.text() | st.integers(), st.floats() | st.integers() | st.text() | st.none(), max_size=5)
    | st.lists(st.text()),
    st.none() | st.integers() | st.floats() | st.text(),
)
@pytest.mark.filterwarnings("ignore::tachograph.TachographWarning")
def test_log_never_raises_and_never_damages(run: Run, values: Any, step: Any) -> None:
    run.log(values, step)
    run.log({"good": 1.0})


def test_after_all_that_the_journal_is_whole(root: Path) -> None:
    with tachograph.start_run() as run:
        for name in ODD_NAMES:
            for value in WRONG:
                for step in [None, 1.5, "x", 2**64, True]:
                    with warnings.catch_warnings():
                        warnings.simplefilter("ignore")
                        run.log({name: value}, step)  # type: ignore[dict-item,arg-type]
                        run.log({name: 1.0}, step)  # type: ignore[dict-item,arg-type]
    from tachograph import journal

    (writer,) = journal.writers(root / "runs" / run.id)
    assert not [item for item in journal.read_writer(writer) if isinstance(item, journal.Damage)]


def test_a_dict_that_another_thread_changes(run: Run) -> None:
    values = {f"m{number}": 1.0 for number in range(200)}
    stop = threading.Event()

    def change() -> None:
        number = 0
        while not stop.is_set():
            values[f"n{number}"] = 1.0
            del values[f"n{number}"]
            number += 1

    changing = threading.Thread(target=change)
    changing.start()
    for _ in range(50):
        run.log(values)
    stop.set()
    changing.join()
    assert read(run).metrics["m0"] == 1.0


def test_a_warning_is_shown_with_no_lock_held(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever shows warnings may take locks (a handler of ``logging``) that another thread holds while it records."""
    lock, showing = threading.Lock(), threading.Event()

    def show(*args: object, **kwargs: object) -> None:
        showing.set()
        assert lock.acquire(timeout=1)
        lock.release()

    def record() -> None:
        with lock:
            complaining.start()
            assert showing.wait(5)
            run.log({"recorded": 1.0})
            done.set()

    done = threading.Event()
    complaining = threading.Thread(target=run.log, args=[{"loss": "low"}])
    recording = threading.Thread(target=record)
    with warnings.catch_warnings():
        warnings.simplefilter("always")
        monkeypatch.setattr(warnings, "showwarning", show)
        recording.start()
        in_time = done.wait(0.5)
        recording.join()
        complaining.join()
    assert in_time


# ---- params, tags, notes ---------------------------------------------------------------------------------------------


class Colour(enum.Enum):
    """A choice."""

    RED = 1


def test_parameters_keep_their_type(run: Run) -> None:
    given = {"n": None, "b": True, "i": 3, "f": 1e-3, "s": "x", "l": [1, "a", None, [2.5]], "nan": math.nan}
    run.log_params(given)
    found = read(run).params
    assert math.isnan(found.pop("nan"))
    assert found == {name: value for name, value in given.items() if name != "nan"}
    assert {name: type(value) for name, value in found.items()} == {
        name: type(value) for name, value in given.items() if name != "nan"
    }


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ((1, 2), [1, 2]),
        ({3, 1, 2}, [1, 2, 3]),
        (range(3), [0, 1, 2]),
        (2**70, str(2**70)),
        (math.inf, math.inf),
        (np.float64(0.5), 0.5),
        (np.int32(3), 3),
        (np.array([1, 2]), [1, 2]),
        (np.array(2.5), 2.5),
        (np.zeros((100, 100)), "array of shape (100, 100) and type float64"),
        (np.float64, "numpy.float64"),
        (np.mean, "numpy.mean"),
        (Path("data/x.csv"), "data/x.csv"),
        (Colour.RED, "Colour.RED"),
        (datetime.date(2026, 1, 2), "2026-01-02"),
        (b"x", "b'x'"),
        ("caf\ud800", "caf?"),
        ({}, "{}"),
        (OrderedDict, "collections.OrderedDict"),
    ],
    ids=lambda value: type(value).__name__,
)
def test_parameters_of_every_kind(run: Run, value: Any, expected: Any) -> None:
    run.log_params({"x": value})
    assert read(run).params == {"x": expected}


def test_nested_parameters_are_flattened(run: Run) -> None:
    run.log_params({"optimizer": {"name": "adam", "betas": (0.9, 0.99), "deep": {"er": {1: "one"}}}, "lr": 0.1})
    assert read(run).params == {
        "optimizer.name": "adam", "optimizer.betas": [0.9, 0.99], "optimizer.deep.er.1": "one", "lr": 0.1,
    }  # fmt: skip


def test_parameters_that_go_round_in_circles(run: Run) -> None:
    circle: dict[str, Any] = {"a": 1}
    circle["self"] = circle
    endless: list[Any] = [1]
    endless.append(endless)
    run.log_params({"circle": circle, "endless": endless})
    assert read(run).params["circle.a"] == 1


def test_the_last_value_of_a_parameter_counts(run: Run) -> None:
    run.log_params({"lr": 0.1, "kept": 1})
    run.log_params({"lr": 0.2})
    assert read(run).params == {"lr": 0.2, "kept": 1}


HUGGING_FACE = "hf_" + "AbCdEfGhIj" * 4


def test_no_secret_is_recorded(run: Run, root: Path) -> None:
    secret = "swordfish-4711"
    run.log_params({"api_key": secret, "db": {"password": secret, "user": "me"}, "credentials": {"a": {"b": secret}}})
    run.log_params({"api_key": {"value": secret}, "tokens": [HUGGING_FACE], "url": f"https://me:{secret}@host/x"})
    run.log_params({"config": [{"password": secret}], "text": f"token={secret}"})
    run.set_tags({"password": secret, "command": f"--api-key {secret}", "hub": HUGGING_FACE})
    run.log_note(f"password: {secret}, and {HUGGING_FACE}")
    with pytest.warns(tachograph.TachographWarning):
        run.log_artifact(f"nowhere/password={secret}")
    run.log_params({"max_tokens": 100, "pad_token": "<pad>"})
    written = "".join(path.read_text() for path in root.rglob("*.jsonl"))
    assert secret not in written
    assert HUGGING_FACE not in written
    found = read(run).params
    assert found["api_key"] == "[redacted]"
    assert found["db.user"] == "me"
    assert (found["max_tokens"], found["pad_token"]) == (100, "<pad>")


def test_tags_are_text(run: Run) -> None:
    run.set_tags({"purpose": "baseline", "n": 3, 4: None, "odd": "caf\ud800"})  # type: ignore[dict-item]
    run.set_tags({"purpose": "final"})
    assert read(run).tags == {"purpose": "final", "n": "3", "4": "None", "odd": "caf?"}


def test_notes(run: Run) -> None:
    for text in ["changed the sampler", 3, None, "two\nlines", "caf\ud800", "x" * 100_000]:
        run.log_note(text)  # type: ignore[arg-type]
    notes = [note.text for note in read(run).notes]
    assert notes[:5] == ["changed the sampler", "3", "None", "two\nlines", "caf?"]
    assert len(notes[5]) < 11_000


MISUSES: list[Callable[[Run, Any], object]] = [
    lambda run, wrong: run.log(wrong),
    lambda run, wrong: run.log_params(wrong),
    lambda run, wrong: run.log_params({"": wrong, "x": wrong}),
    lambda run, wrong: run.set_tags(wrong),
    lambda run, wrong: run.set_tags({"": wrong, "x": wrong}),
    lambda run, wrong: run.log_note(wrong),
    lambda run, wrong: run.log_artifact(wrong),
    lambda run, wrong: run.log_artifact(__file__, name=wrong),
    lambda run, wrong: run.log_artifact(__file__, kind=wrong),
    lambda run, wrong: run.log_artifact(__file__, step=wrong),
    lambda run, wrong: run.log_figure(wrong, wrong),
    lambda run, wrong: run.log_table(wrong, wrong),
    lambda run, wrong: run.log_table("t", [{"a": wrong}], step=wrong),
    lambda run, wrong: run.log_dataset([[1.0]], name=wrong, role=wrong, source=wrong, version=wrong),
    lambda run, wrong: run.finish(wrong),
    lambda run, wrong: run.finish("failed", wrong),
]
ANYTHING = [None, 3, 1.5, "", "text", b"bytes", [], [1], {}, {1: 2}, object(), Ellipsis, "caf\ud800", "\0", type, print]


@pytest.mark.slow
@pytest.mark.parametrize("number", range(len(MISUSES)))
@pytest.mark.filterwarnings("ignore::tachograph.TachographWarning")
def test_no_verb_raises_and_none_damages(root: Path, number: int) -> None:
    from tachograph import journal

    for wrong in [*ANYTHING, RaisesError()]:
        run = tachograph.start_run()
        MISUSES[number](run, wrong)
        run.log({"loss": 0.5})
        run.finish()
        assert read(run).metrics["loss"] == 0.5
        (writer,) = journal.writers(root / "runs" / run.id)
        assert not [item for item in journal.read_writer(writer) if isinstance(item, journal.Damage)]


def test_a_misuse_where_warnings_are_errors(run: Run) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        run.log({"loss": "low"})  # type: ignore[dict-item]
        run.log({"loss": np.array([0.5])})  # type: ignore[dict-item]
        run.log_artifact("/nowhere/at/all")
        run.log_figure("roc", 3)
        run.log_table("confusion", 3)
    assert len(complaints(run)) == 4
    assert read(run).metrics == {"loss": 0.5}


def test_our_own_faults_are_raised_in_strict_mode_only(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*args: object) -> None:
        raise ZeroDivisionError

    monkeypatch.setattr(run._journal, "append", broken)
    with pytest.raises(ZeroDivisionError):
        run.log_note("x")
    monkeypatch.setenv("TACHOGRAPH_STRICT", "0")
    with pytest.warns(TachographWarning, match=r"Run.log_note failed .*ZeroDivisionError"):
        run.log_note("x")
    with pytest.warns(TachographWarning, match=r"finish failed .*ZeroDivisionError"):
        run.finish()
    assert tachograph.active_run() is None
    assert id(run) not in console._runs


# ---- artifacts -------------------------------------------------------------------------------------------------------


def test_an_artifact_is_what_it_was_when_it_was_logged(run: Run, tmp_path: Path) -> None:
    path = tmp_path / "model.pt"
    for step in range(3):
        path.write_bytes(b"version %d" % step)
        run.log_artifact(path, step=step)
        run.log_artifact(str(path), "first" if step == 0 else "later", kind="model")
    path.unlink()
    found = {artifact.name: artifact for artifact in read(run).artifacts}
    assert found["model.pt"].path().read_bytes() == b"version 2"
    assert found["model.pt"].step == 2
    assert found["first"].path().read_bytes() == b"version 0"
    assert found["first"].path().name == "model.pt"
    assert found["later"].path().read_bytes() == b"version 2"
    assert (found["first"].kind, found["model.pt"].kind) == ("model", "file")


def test_a_folder_is_what_it_was_when_it_was_logged(run: Run, tmp_path: Path) -> None:
    folder = tmp_path / "checkpoint"
    (folder / "deep" / "er").mkdir(parents=True)
    (folder / "weights").write_bytes(b"w")
    (folder / "deep" / "er" / "state").write_bytes(b"")
    (folder / "broken").symlink_to("nowhere")
    (folder / "linked").symlink_to("weights")
    (folder / "circle").symlink_to(folder)
    os.mkfifo(folder / "pipe")
    (folder / os.fsdecode(b"caf\xe9")).write_bytes(b"latin")
    with pytest.warns(TachographWarning, match="circle"):
        run.log_artifact(folder)
    shutil.rmtree(folder)
    copy = read(run).artifact("checkpoint").path()
    files = {str(path.relative_to(copy)): path.read_bytes() for path in copy.rglob("*") if path.is_file()}
    assert files == {"weights": b"w", "deep/er/state": b"", "linked": b"w", "caf\\udce9": b"latin"}


def test_links_in_a_folder_are_followed(run: Run, tmp_path: Path) -> None:
    (tmp_path / "real" / "deep").mkdir(parents=True)
    (tmp_path / "real" / "in.txt").write_text("x")
    (tmp_path / "real" / "deep" / "er.txt").write_text("y")
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "train").symlink_to("../real")
    (tmp_path / "data" / "test").symlink_to("../real/deep")
    run.log_artifact(tmp_path / "data")
    members = read(run).artifact("data").members
    assert [member.path for member in members or ()] == ["test/er.txt", "train/in.txt", "train/deep/er.txt"]
    assert not complaints(run)


@pytest.mark.skipif(sys.platform != "linux", reason="needs a file that can be opened, and not be read")
def test_what_can_not_be_kept_of_a_folder_is_named_and_the_rest_is_kept(run: Run, tmp_path: Path) -> None:
    folder = tmp_path / "data"
    (folder / "deep").mkdir(parents=True)
    (folder / "a.txt").write_text("a")
    (folder / "unreadable").symlink_to("/proc/self/mem")
    (folder / "broken").symlink_to("nowhere")
    (folder / "itself").symlink_to("itself")
    os.mkfifo(folder / "deep" / "pipe")
    (folder / "deep" / "up").symlink_to(folder)
    (folder / "deep" / "z.txt").write_text("z")
    with pytest.warns(TachographWarning, match="was kept without"):
        run.log_artifact(folder)
    members = read(run).artifact("data").members
    assert [member.path for member in members or ()] == ["a.txt", "deep/z.txt"]
    (complaint,) = complaints(run)
    for reason in [
        "unreadable (Input/output error)",
        "broken (No such file or directory)",
        "itself (Too many levels of symbolic links)",
        "deep/pipe (it is no regular file)",
        "deep/up (it leads back to a folder around it)",
    ]:
        assert reason in complaint


def test_of_many_parts_that_can_not_be_kept_the_first_are_named(run: Run, tmp_path: Path) -> None:
    for number in range(30):
        (tmp_path / "data" / f"{number:02}").mkdir(parents=True)
        (tmp_path / "data" / f"{number:02}" / "link").symlink_to("nowhere")
    with pytest.warns(TachographWarning, match="00/link .*09/link .* and 20 more$"):
        run.log_artifact(tmp_path / "data")


@pytest.mark.skipif(sys.platform != "linux", reason="limits the size of files")
def test_a_folder_that_can_not_be_written_is_not_kept_in_part(
    script: Callable[..., Any], root: Path, tmp_path: Path
) -> None:
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "large").write_bytes(bytes(1 << 20))
    (tmp_path / "data" / "small").write_text("x")
    done = script(f"""
        import resource, signal, tachograph
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        with tachograph.start_run() as run:
            resource.setrlimit(resource.RLIMIT_FSIZE, (1 << 19, resource.RLIM_INFINITY))
            run.log_artifact({str(tmp_path / "data")!r})
    """)
    (run,) = tachograph.open_store(root).runs()
    assert not run.artifacts, done
    assert any("data was not kept: File too large" in note.text for note in run.notes)


def test_what_is_the_same_is_stored_once(run: Run, root: Path, tmp_path: Path) -> None:
    for name in ["a", "b"]:
        (tmp_path / name).write_bytes(b"same")
        run.log_artifact(tmp_path / name)
    run.log_artifact(tmp_path / "a")
    blobs = [path for path in (root / "blobs").rglob("*") if path.is_file()]
    assert len(blobs) == 1
    assert blobs[0].name.startswith(blobs[0].parent.name)
    assert not os.access(blobs[0], os.X_OK)


def test_a_file_that_can_not_be_kept(run: Run, tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "dangling").symlink_to("nowhere")
    started = time.monotonic()
    for path in [tmp_path / "missing", tmp_path / "pipe", "/dev/zero", tmp_path / "dangling", "", "\0", 3, None]:
        guard.forget()
        with pytest.warns(TachographWarning, match="was not kept"):
            run.log_artifact(path)  # type: ignore[arg-type]
    assert time.monotonic() - started < 5
    assert not read(run).artifacts
    assert not list(tmp_path.rglob(".draft*"))


@pytest.mark.parametrize("name", ["a/b", "../../escape", "/absolute", "..", ".", "a\\b", "caf\ud800", "x" * 5000, " "])
def test_names_that_are_no_file_names(run: Run, name: str) -> None:
    table = [{"a": 1}]
    run.log_table(name, table)
    run.log_artifact(__file__, name=name)
    found = read(run).artifacts
    assert found
    for artifact in found:
        path = artifact.path()
        assert path.is_file()
        assert path.parent.name == artifact.digest.removeprefix("sha256:")
        assert len(os.fsencode(path.name)) <= 255


def test_figures_and_tables(run: Run) -> None:
    figure = pytest.importorskip("matplotlib.figure").Figure()
    figure.subplots().plot([1, 2])
    run.log_figure("roc", figure, step=3)
    run.log_table("confusion", {"true": ["cat", "dog"], "n": [3, math.nan]})
    found = {artifact.name: artifact for artifact in read(run).artifacts}
    assert (found["roc"].kind, found["roc"].step, found["roc"].path().suffix) == ("figure", 3, ".svg")
    assert read(run).table("confusion")[0] == {"true": "cat", "n": 3}
    with pytest.warns(TachographWarning, match="a figure is one of matplotlib or plotly, got str"):
        run.log_figure("roc", "roc.png")
    with pytest.warns(TachographWarning, match="a table is a list of dicts"):
        run.log_table("confusion", "x")


def test_a_store_that_can_not_be_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").write_text("in the place of a folder")
    monkeypatch.setenv("TACHOGRAPH_DIR", str(tmp_path / "file" / "store"))
    (tmp_path / "model").write_text("x")
    with pytest.warns(TachographWarning) as caught, tachograph.start_run() as run:  # noqa: PT031
        run.log({"loss": 0.5})
        run.log_artifact(tmp_path / "model")
        assert tachograph.flush(5)
        run.log_note("a remark")
        run.log_artifact(tmp_path / "model", name="again")
    assert background.drain(5)
    (warning,) = caught  # one line that says it all
    assert "cannot write" in str(warning.message)
    assert "TACHOGRAPH_DIR names another folder" in str(warning.message)
    (tmp_path / "file").unlink()
    lifecycle.write_what_is_left()
    assert any("model was not kept" in note.text for note in read(run).notes)


# ---- data sets -------------------------------------------------------------------------------------------------------


def test_a_data_set_is_described_and_not_kept(run: Run, root: Path) -> None:
    X, y = np.arange(12.0).reshape(4, 3), np.array([0, 1, 0, 1])
    run.log_dataset(X, name="X", role="train", source="s3://bucket/x.csv", version="3", target=y)
    (found,) = read(run).datasets
    assert (found.name, found.role, found.rows, found.columns) == ("X", "train", 4, 3)
    assert (found.source, found.version) == ("s3://bucket/x.csv", "3")
    assert found.digest.startswith("sha256:")
    assert not (root / "blobs").exists()


# ---- runs ------------------------------------------------------------------------------------------------------------


def test_what_start_run_is_given(root: Path) -> None:
    with tachograph.start_run("first", experiment="trial", params={"lr": 0.1}, tags={"a": "b"}) as run:
        pass
    found = read(run)
    assert (found.name, found.experiment, found.params, found.tags) == ("first", "trial", {"lr": 0.1}, {"a": "b"})
    assert found.status == "finished"
    assert found.opener == "user"


def test_an_experiment_is_inherited(monkeypatch: pytest.MonkeyPatch) -> None:
    with tachograph.start_run() as run:
        assert run.experiment == "default"
    monkeypatch.setenv("TACHOGRAPH_EXPERIMENT", "environment")
    with tachograph.start_run() as run:
        assert run.experiment == "environment"
    with tachograph.start_run(experiment="own") as run, run.child() as child, tachograph.start_run() as inner:
        assert (run.experiment, child.experiment, inner.experiment) == ("own", "own", "own")


def test_sinks_are_inherited(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    everywhere, one, two = (f"{tmp_path.as_uri()}/{name}" for name in ("everywhere", "one", "two"))
    monkeypatch.setenv("TACHOGRAPH_SINKS", everywhere)
    with tachograph.start_run() as run:
        assert run.sinks == (everywhere,)
    with tachograph.start_run(sinks=[]) as run, run.child() as child, tachograph.start_run() as inner:
        assert (run.sinks, child.sinks, inner.sinks) == ((), (), ())
    with tachograph.start_run(sinks=[one]) as run, tachograph.start_run(sinks=[two]) as inner:
        assert (run.sinks, inner.sinks) == ((one,), (two,))


@pytest.mark.parametrize(
    "wrong",
    [
        {"name": 3},
        {"name": ""},
        {"name": " "},
        {"experiment": ["a"]},
        {"params": [("a", 1)]},
        {"tags": "a=b"},
        {"sinks": "https://host"},
        {"sinks": ["host"]},
        {"sinks": [3]},
        {"parent": 3},
        {"parent": ""},
        {"resume": 1.5},
        {"resume": ""},
    ],
    ids=repr,
)
def test_arguments_that_can_not_be_right(root: Path, wrong: dict[str, Any]) -> None:
    (argument,) = wrong
    with pytest.raises(ValueError, match=argument):
        tachograph.start_run(**wrong)
    assert not root.exists()
    assert tachograph.active_run() is None


@pytest.mark.parametrize("argument", ["parent", "resume"])
def test_a_run_that_is_not_there(root: Path, argument: str) -> None:
    with pytest.raises(tachograph.NotFound):
        tachograph.start_run(**{argument: "nowhere"})  # type: ignore[arg-type]
    assert not root.exists()


def test_parents() -> None:
    with tachograph.start_run("outer") as outer:
        other = outer.child("child")
        other.finish()
        with tachograph.start_run("inner") as inner:
            assert inner.parent_id == outer.id
        with tachograph.start_run("elsewhere", parent=other) as elsewhere:
            assert elsewhere.parent_id == other.id
    with tachograph.start_run("late", parent=outer.id[:-1]) as late:
        assert late.parent_id == outer.id
    assert {child.name for child in read(outer).children} == {"child", "inner", "late"}
    assert len(tachograph.open_store(outer.root).runs()) == 1


def test_resuming_goes_on_with_steps_and_the_next_attempt(root: Path) -> None:
    run = tachograph.start_run("first", experiment="trial")
    repeat(3, lambda _: run.log({"loss": 0.5}))
    run.finish("failed")
    assert read(run).status == "failed"
    with tachograph.start_run(resume=run.id) as again:
        assert (again.id, again.name, again.experiment) == (run.id, "first", "trial")
        again.log({"loss": 0.25, "new": 1.0})
    assert [step for step, _ in points(run, "loss")] == [0, 1, 2, 3]
    assert points(run, "new") == [(0, 1.0)]
    found = read(run)
    assert found.status == "finished"
    assert [writer.attempt for writer in found.writers] == [0, 1]
    with tachograph.start_run(resume=again) as third:
        assert tachograph.start_run(resume=third) is third
    assert len(tachograph.open_store(root).runs()) == 1


def test_a_run_ends_once(run: Run) -> None:
    run.finish("failed", "by hand")
    run.finish()
    found = read(run)
    assert found.status == "failed"
    assert found.error is not None
    assert found.error.message == "by hand"


@pytest.mark.parametrize("wrong", ["done", None, 3, "FINISHED"])
def test_a_status_that_is_none(run: Run, wrong: Any) -> None:
    with pytest.warns(TachographWarning, match="a run ends finished, failed, interrupted"):
        run.finish(wrong)
    assert read(run).status == "failed"


def test_what_comes_after_the_end_is_kept(run: Run) -> None:
    run.log({"loss": 0.5})
    run.finish()
    run.log({"loss": 0.25})
    run.log_params({"late": True})
    run.log_note("late")
    found = read(run)
    assert found.status == "finished"
    assert found.metrics == {"loss": 0.25}
    assert found.params == {"late": True}


def test_a_removed_working_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "gone").mkdir()
    monkeypatch.chdir(tmp_path / "gone")
    monkeypatch.setenv("PWD", str(tmp_path / "gone"))
    monkeypatch.delenv("TACHOGRAPH_DIR")
    monkeypatch.delenv("TACHOGRAPH_STRICT")
    (tmp_path / "gone").rmdir()
    with tachograph.start_run() as run:
        run.log({"loss": 0.5})
    assert read(run).metrics == {"loss": 0.5}


def test_a_run_shows_itself(run: Run) -> None:
    assert run.id in repr(run)
    assert PurePosixPath(str(run.dir)).name == run.id
    with tachograph.start_run("red \x1b[31m\nline") as odd:
        assert repr(odd) == f"<tachograph run red  [31m line ({odd.id})>"


def test_the_random_state_is_the_users(root: Path) -> None:
    import random

    before = random.getstate(), np.random.get_state()[1].tolist()  # type: ignore[index]
    with tachograph.start_run() as run, run.child():
        run.log({"loss": 0.5})
    assert (random.getstate(), np.random.get_state()[1].tolist()) == before  # type: ignore[index]


def test_many_runs_at_once_have_ids_of_their_own(root: Path) -> None:
    runs = [tachograph.start_run(f"n{number}") for number in range(50)]
    assert len({run.id for run in runs}) == 50
    for run in reversed(runs):
        run.finish()


# ---- the verbs without a run, and switched off -----------------------------------------------------------------------


def test_a_verb_without_a_run_warns_once(root: Path) -> None:
    with pytest.warns(TachographWarning, match="log: no run is open here.*start_run") as caught:
        repeat(5, lambda _: tachograph.log({"loss": 0.5}))
    assert len(caught) == 1
    assert not root.exists()


def test_the_verbs_reach_the_active_run(run: Run, tmp_path: Path) -> None:
    tachograph.log({"loss": 0.5}, step=7)
    tachograph.log_params({"lr": 0.1})
    tachograph.set_tags({"a": "b"})
    tachograph.log_note("hello")
    tachograph.log_artifact(__file__, "me", kind="code", step=1)
    tachograph.log_table("t", [{"a": 1}])
    tachograph.log_dataset([[1.0, 2.0]], "X")
    found = read(run)
    assert points(run, "loss") == [(7, 0.5)]
    assert (found.params, found.tags) == ({"lr": 0.1}, {"a": "b"})
    assert [note.text for note in found.notes] == ["hello"]
    assert [artifact.name for artifact in found.artifacts] == ["me", "t"]
    assert [dataset.name for dataset in found.datasets] == ["X"]


def test_switched_off_everything_works_and_nothing_appears(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TACHOGRAPH_OFF", "1")
    before, threads = (sys.exit, sys.stdout.write), set(threading.enumerate())
    with tachograph.autolog(), tachograph.start_run("x", params={"a": 1}, tags={"b": "c"}) as run:
        assert run.id == ""
        run.log({"loss": 0.5})
        run.log_params({"a": 1})
        run.log_artifact("/nowhere")
        run.log_figure("x", None)
        run.log_table("x", None)
        run.log_dataset(None)
        with run.child("y") as child:
            child.log({"loss": 0.5})
        with tachograph.start_run(parent=run), tachograph.start_run(resume=run):
            tachograph.log({"loss": 0.5})
        assert tachograph.active_run() is None
        assert tachograph.flush(1)
        run.finish("nonsense")
    assert (sys.exit, sys.stdout.write) == before
    assert not set(threading.enumerate()) - threads  # one of a test before this may have ended
    assert not root.exists()


def test_a_ctrl_c_while_a_run_is_being_ended_ends_it_all_the_same(root: Path) -> None:
    def interrupted() -> None:
        raise KeyboardInterrupt

    run = tachograph.start_run("interrupted")
    run.recorder.before_end(interrupted)
    with pytest.raises(KeyboardInterrupt):
        run.finish()
    assert run.ended
    assert tachograph.active_run() is None
    assert tachograph.open_store(root).run("interrupted").status == "finished"


def test_switched_off_no_verb_of_a_run_is_forgotten(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TACHOGRAPH_OFF", "1")
    off = type(tachograph.start_run())
    verbs = {name: verb for name, verb in vars(tachograph.Run).items() if isfunction(verb)}
    shielded = {name for name, verb in verbs.items() if hasattr(verb, "__wrapped__")}
    assert shielded - {"_log_unusual"} <= vars(off).keys()


def test_switched_off_the_arguments_are_checked_all_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TACHOGRAPH_OFF", "1")
    with pytest.raises(ValueError):
        tachograph.start_run(name="")
    with pytest.raises(ValueError):
        tachograph.autolog("no such framework")


class Grumbling:
    """It warns when it is shown."""

    def __repr__(self) -> str:
        warnings.warn("shown", FutureWarning, stacklevel=1)
        return "grumbling"


def test_what_verbs_ask_of_what_they_are_given_warns_nobody(run: Run) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        run.log_params({"odd": Grumbling()})
        run.set_tags({"odd": Grumbling()})  # type: ignore[dict-item]
        run.log_table("odd", [{"a": Grumbling()}])
        run.log_dataset(np.array([[np.inf, -np.inf], [1e308, -1e308]]), "odd")
    record = read(run)
    assert (record.params["odd"], record.tags["odd"], record.notes) == ("grumbling", "grumbling", [])
    assert [artifact.name for artifact in record.artifacts] == ["odd"]


def test_a_figure_without_a_glyph_is_kept_without_a_word(run: Run) -> None:
    figure = pytest.importorskip("matplotlib.figure").Figure()
    figure.suptitle("\N{CJK UNIFIED IDEOGRAPH-4E2D}")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        run.log_figure("odd", figure)
    assert [artifact.name for artifact in read(run).artifacts] == ["odd"]
