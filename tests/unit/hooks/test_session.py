"""The rules of autolog, with a toy framework: the outermost call owns the run, inner ones pass through."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

import tachograph
from tachograph.errors import TachographWarning
from tachograph.hooks import Call, Hooks, Watcher, session
from tachograph.hooks.session import Session
from tachograph.store.run_record import RunRecord


class Toy:
    """A model of a framework."""

    def __init__(self, work: Callable[[], Any] = lambda: None) -> None:
        self.work = work

    def fit(self) -> Toy:
        self.work()
        return self


class Better(Toy):
    """One whose fit calls that of its base."""

    def fit(self) -> Better:
        super().fit()
        return self


class Meta(Toy):
    """One that fits others inside."""

    def __init__(self, *inner: Toy) -> None:
        super().__init__(lambda: [each.fit() for each in inner])


class Scaler(Toy):
    """Preprocessing."""


class Search(Meta):
    """Many trainings."""


def note(call: Call, open_session: Session) -> Watcher:
    run = open_session.run
    assert run is not None
    run.log({"before": 1.0})
    yield
    run.log({"after": 2.0})


def install(plugin: str = "toy", watch: Callable[[Call, Session], Watcher] = note, **rules: Any) -> Hooks:
    hooks = Hooks(plugin, session.enabled)
    wrapper = session.training(
        watch,
        plugin=plugin,
        name=lambda call: type(call.instance).__name__,
        records=lambda call: not isinstance(call.instance, Scaler),
        many=lambda call: isinstance(call.instance, Search),
        **rules,
    )
    for owner in [Toy, Better]:
        hooks.around(owner, "fit", wrapper)
    python = Hooks("python")  # which listens also where a plug-in does not
    session.follow_threads(python)
    hooks.native(python.undo)
    return hooks


@pytest.fixture
def hooks() -> Iterator[Hooks]:
    installed = install()
    yield installed
    installed.undo()


@pytest.fixture
def lenient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TACHOGRAPH_STRICT", "0")


def runs(root: Path) -> list[RunRecord]:
    """All runs, oldest first."""
    return tachograph.open_store(root).runs(children=True)[::-1]


BOTH = {"before": 1.0, "after": 2.0}


# ---- one call, one run -----------------------------------------------------------------------------------------------


@pytest.mark.usefixtures("hooks")
class TestOneCall:
    def test_makes_one_run_that_is_ended(self, root: Path) -> None:
        model = Toy()
        assert model.fit() is model
        (run,) = runs(root)
        assert (run.name, run.status, run.opener, run.metrics) == ("Toy", "finished", "toy", BOTH)
        assert tachograph.active_run() is None

    def test_sees_its_run_inside_and_none_after(self) -> None:
        seen = []
        Toy(lambda: seen.append(tachograph.active_run())).fit()
        assert seen[0] is not None
        assert tachograph.active_run() is None

    @pytest.mark.parametrize("model", [Better(), Meta(Toy(), Toy()), Meta(Meta(Better())), Search(Toy(), Toy())])
    def test_counts_once_whatever_it_calls_inside(self, root: Path, model: Toy) -> None:
        model.fit()
        (run,) = runs(root)
        assert (run.name, run.metrics) == (type(model).__name__, BOTH)

    def test_again_makes_another_run(self, root: Path) -> None:
        model = Toy()
        model.fit().fit()
        assert [run.status for run in runs(root)] == ["finished", "finished"]

    @pytest.mark.parametrize(
        ("error", "status"),
        [(ValueError("x"), "failed"), (KeyboardInterrupt(), "interrupted"), (SystemExit(0), "finished")],
    )
    def test_ends_its_run_as_it_ends(self, root: Path, error: BaseException, status: str) -> None:
        def fail() -> None:
            raise error

        with pytest.raises(type(error)) as caught:
            Meta(Toy(fail)).fit()
        assert caught.value is error
        (run,) = runs(root)
        assert run.status == status
        assert run.metrics == {"before": 1.0}
        Toy().fit()
        assert len(runs(root)) == 2

    def test_that_only_prepares_makes_none(self, root: Path) -> None:
        Scaler(lambda: Toy().fit()).fit()
        assert not root.exists()
        Toy().fit()
        assert len(runs(root)) == 1

    def test_says_that_it_holds_many(self) -> None:
        seen = []
        Search(Toy(lambda: seen.append(session.current()))).fit()
        Meta(Toy(lambda: seen.append(session.current()))).fit()
        assert [found.many for found in seen if found] == [True, False]


# ---- the user's run --------------------------------------------------------------------------------------------------


@pytest.mark.usefixtures("hooks")
class TestTheUsersRun:
    def test_is_added_to_and_left_open(self, root: Path) -> None:
        with tachograph.start_run("mine") as mine:
            Toy().fit()
            Meta(Toy()).fit()
            assert not mine.ended
            assert tachograph.active_run() is mine
        (run,) = runs(root)
        assert (run.name, run.status) == ("mine", "finished")
        assert run.history("after").steps.tolist() == [0, 1]

    def test_is_left_open_by_a_call_that_fails(self, root: Path) -> None:
        mine = tachograph.start_run("mine")
        with pytest.raises(ZeroDivisionError):
            Toy(lambda: 1 / 0).fit()
        assert not mine.ended
        mine.finish()
        assert [run.status for run in runs(root)] == ["finished"]

    def test_that_was_opened_inside_a_call_is_a_child(self, root: Path) -> None:
        def work() -> None:
            with tachograph.start_run("inner") as inner:
                inner.log({"inner": 1.0})
                Toy().fit()

        Toy(work).fit()
        outer, inner = runs(root)
        assert inner.parent_id == outer.id
        assert (outer.metrics, inner.metrics) == (BOTH, {"inner": 1.0})

    def test_takes_the_fits_of_its_threads(self, root: Path) -> None:
        with tachograph.start_run("mine"), ThreadPoolExecutor(4) as pool:
            list(pool.map(lambda _: Toy().fit(), range(8)))
        (run,) = runs(root)
        assert run.summary("after").count == 8


# ---- threads ---------------------------------------------------------------------------------------------------------


@pytest.mark.usefixtures("hooks")
class TestThreads:
    def test_parallel_fits_keep_their_own_runs(self, root: Path) -> None:
        ready = threading.Barrier(4)

        def work(number: int) -> None:
            ready.wait()
            for step in range(20):
                tachograph.log({f"m{number}": float(step)})
            ready.wait()

        with ThreadPoolExecutor(4) as pool:
            list(pool.map(lambda number: Toy(lambda: work(number)).fit(), range(4)))
        found = [set(run.metrics) - set(BOTH) for run in runs(root)]
        assert sorted(map(sorted, found)) == [["m0"], ["m1"], ["m2"], ["m3"]]
        assert all(run.metrics.items() >= BOTH.items() for run in runs(root))

    def test_workers_of_a_fit_are_inner(self, root: Path) -> None:
        def work() -> None:
            with ThreadPoolExecutor(3) as pool:
                list(pool.map(lambda _: Toy().fit(), range(6)))
            thread = threading.Thread(target=Toy().fit)
            thread.start()
            thread.join()
            timer = threading.Timer(0, lambda: Toy().fit())
            timer.start()
            timer.join()

        Toy(work).fit()
        assert len(runs(root)) == 1

    def test_parallel_fits_with_workers_of_their_own(self, root: Path) -> None:
        ready = threading.Barrier(3)

        def work() -> None:
            ready.wait()
            with ThreadPoolExecutor(2) as pool:
                list(pool.map(lambda _: Toy().fit(), range(4)))
            ready.wait()

        with ThreadPoolExecutor(3) as pool:
            list(pool.map(lambda _: Meta(Toy(work)).fit(), range(3)))
        assert [run.metrics for run in runs(root)] == [BOTH] * 3

    def test_a_thread_that_outlives_the_fit_in_which_it_began(self, root: Path) -> None:
        with ThreadPoolExecutor(1) as pool:
            Toy(lambda: pool.submit(Toy().fit).result()).fit()
            assert len(runs(root)) == 1
            pool.submit(Toy().fit).result()
            assert len(runs(root)) == 2

    def test_a_thread_in_which_logging_goes_to_its_fit(self, root: Path) -> None:
        ready = threading.Barrier(2)

        def work(number: int) -> None:
            ready.wait()
            Meta(Toy(lambda: tachograph.log({f"m{number}": 1.0}))).fit()

        with ThreadPoolExecutor(2) as pool:
            list(pool.map(work, range(2)))
        assert len(runs(root)) == 2


# ---- quiet -----------------------------------------------------------------------------------------------------------


@pytest.mark.usefixtures("hooks")
class TestSuppress:
    def test_nothing_is_recorded_inside(self, root: Path) -> None:
        with tachograph.suppress():
            Meta(Toy()).fit()
        assert not root.exists()
        Toy().fit()
        assert len(runs(root)) == 1

    def test_what_is_logged_by_name_still_is(self, root: Path) -> None:
        with tachograph.start_run(), tachograph.suppress():
            Toy().fit()
            tachograph.log({"mine": 1.0})
        assert [run.metrics for run in runs(root)] == [{"mine": 1.0}]

    def test_it_nests_and_ends_with_an_exception(self, root: Path) -> None:
        def work() -> None:
            with tachograph.suppress():
                Toy().fit()
            Toy(lambda: 1 / 0).fit()

        with pytest.raises(ZeroDivisionError), tachograph.suppress():
            work()
        assert not root.exists()
        Toy().fit()
        assert len(runs(root)) == 1

    def test_its_threads_are_quiet_until_it_ends(self, root: Path) -> None:
        with ThreadPoolExecutor(1) as pool:
            with tachograph.suppress():
                with tachograph.suppress():
                    pool.submit(Toy().fit).result()
                pool.submit(Toy().fit).result()
            assert not root.exists()
            pool.submit(Toy().fit).result()
        assert len(runs(root)) == 1

    def test_another_thread_is_not_quiet(self, root: Path) -> None:
        with ThreadPoolExecutor(1) as pool:
            pool.submit(int).result()
            with tachograph.suppress():
                pool.submit(Toy().fit).result()
        assert len(runs(root)) == 1

    def test_part_of_a_fit(self, root: Path) -> None:
        def work() -> None:
            with tachograph.suppress():
                Toy().fit()

        Toy(work).fit()
        assert [run.metrics for run in runs(root)] == [BOTH]


def test_a_higher_framework_keeps_a_lower_one_quiet(root: Path) -> None:
    heard = []

    class Lower:
        def step(self) -> None: ...

    def hear(call: Call) -> Watcher:
        heard.append(session.current())
        yield

    higher, lower = install("higher", silences=("lower",)), Hooks("lower", session.enabled)
    lower.around(Lower, "step", hear)
    Lower().step()
    assert heard == [None]
    Toy(Lower().step).fit()
    assert heard == [None]
    with ThreadPoolExecutor(1) as pool:
        Toy(lambda: pool.submit(Lower().step).result()).fit()
        assert heard == [None]
        pool.submit(Lower().step).result()
    assert heard == [None, None]
    higher.undo()
    lower.undo()


# ---- faults of ours --------------------------------------------------------------------------------------------------


def fails_before(call: Call, open_session: Session) -> Watcher:
    raise ZeroDivisionError
    yield


def fails_after(call: Call, open_session: Session) -> Watcher:
    yield
    raise ZeroDivisionError


def fails_on_failure(call: Call, open_session: Session) -> Watcher:
    try:
        yield
    except ValueError:
        raise ZeroDivisionError from None


@pytest.mark.usefixtures("lenient")
@pytest.mark.parametrize("watch", [fails_before, fails_after])
def test_a_plugin_that_fails_costs_nothing_but_its_notes(root: Path, watch: Any) -> None:
    hooks = install(watch=watch)
    model = Toy()
    with pytest.warns(TachographWarning, match="toy: Toy failed.*ZeroDivisionError"):
        assert model.fit() is model
    (run,) = runs(root)
    assert run.status == "finished"
    assert "ZeroDivisionError" in run.notes[0].text
    hooks.undo()


@pytest.mark.usefixtures("lenient")
def test_a_plugin_that_fails_on_a_failure(root: Path) -> None:
    hooks = install(watch=fails_on_failure)
    error = ValueError("the user's")

    def fail() -> None:
        raise error

    with pytest.warns(TachographWarning), pytest.raises(ValueError) as caught:
        Toy(fail).fit()
    assert caught.value is error
    (run,) = runs(root)
    assert run.status == "failed"
    assert run.error is not None
    assert run.error.message == "the user's"
    hooks.undo()


@pytest.mark.usefixtures("lenient")
@pytest.mark.parametrize("rule", ["name", "records", "many"])
def test_a_rule_that_fails(root: Path, rule: str) -> None:
    calls = []

    def fail_once(call: Call) -> Any:
        calls.append(call)
        if len(calls) == 1:
            raise ZeroDivisionError
        return "Toy"

    hooks = Hooks("toy", session.enabled)
    rules: dict[str, Any] = {"plugin": "toy", "name": lambda call: "Toy", rule: fail_once}
    hooks.around(Toy, "fit", session.training(note, **rules))
    with pytest.warns(TachographWarning, match="toy: Toy.fit failed"):
        Toy().fit()
    assert not root.exists()
    Toy().fit()
    assert [run.metrics for run in runs(root)] == [BOTH]
    hooks.undo()


@pytest.mark.parametrize("when", ["before", "after"])
def test_ctrl_c_while_we_are_at_work_leaves_no_call_open(root: Path, when: str) -> None:
    def interrupted(call: Call, open_session: Session) -> Watcher:
        if when == "before":
            raise KeyboardInterrupt
        yield
        raise KeyboardInterrupt

    hooks = install(watch=interrupted)
    with pytest.raises(KeyboardInterrupt):
        Toy().fit()
    assert session.current() is None
    assert tachograph.active_run() is None
    (run,) = runs(root)
    assert run.status == ("interrupted" if when == "before" else "finished")
    hooks.undo()
    again = install()
    Toy().fit()
    assert len(runs(root)) == 2
    again.undo()


# ---- options ---------------------------------------------------------------------------------------------------------


def test_what_autolog_was_asked_for(hooks: Hooks, root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(session.options, "experiment", "trial")
    monkeypatch.setattr(session.options, "tags", {"a": "b"})
    monkeypatch.setattr(session.options, "name", "chosen")
    monkeypatch.setattr(session.options, "sinks", [f"{root.as_uri()}-there"])
    seen = []
    Toy(lambda: seen.append(tachograph.active_run())).fit()
    (run,) = runs(root)
    assert (run.name, run.experiment, run.tags) == ("chosen", "trial", {"a": "b"})
    assert seen[0] is not None
    assert seen[0].sinks == (f"{root.as_uri()}-there",)


def test_ranks_that_leave_the_metrics_to_rank_0(hooks: Hooks, root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    variables = {"PMI_RANK": "1", "PMI_SIZE": "2", "MPI_LOCALNRANKS": "2"}
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    Toy().fit()
    with pytest.raises(ZeroDivisionError):
        Toy(lambda: 1 / 0).fit()
    found = runs(root)
    assert [[(writer.rank, writer.status) for writer in run.writers] for run in found] == [
        [(1, "finished")], [(1, "failed")],
    ]  # fmt: skip
    assert all(not run.metrics for run in found)


# ---- children --------------------------------------------------------------------------------------------------------


def in_fork(work: Callable[[], Any]) -> None:
    if (pid := os.fork()) == 0:
        try:
            work()
        finally:
            os._exit(0)
    os.waitpid(pid, 0)


def test_a_fork_in_a_call_is_inner(hooks: Hooks, root: Path) -> None:
    def child() -> None:
        Toy().fit()
        tachograph.log({"child": 1.0})

    def work() -> None:
        in_fork(child)
        tachograph.log({"parent": 1.0})

    Toy(work).fit()
    (run,) = runs(root)
    assert run.metrics == {**BOTH, "child": 1.0, "parent": 1.0}
    assert len(run.writers) == 2


def test_a_fork_beside_a_call_has_runs_of_its_own(hooks: Hooks, root: Path) -> None:
    in_fork(lambda: Toy().fit())
    Toy().fit()
    assert len(runs(root)) == 2
    assert all(len(run.writers) == 1 for run in runs(root))


def test_a_call_costs_little_where_nothing_is_recorded(hooks: Hooks) -> None:
    with tachograph.suppress():
        model = Toy()
        started = time.perf_counter()
        for _ in range(1000):
            model.fit()
        assert time.perf_counter() - started < 0.1  # 100 µs each


def test_calls_that_go_on_are_steps_of_one_run(root: Path) -> None:
    begun: dict[int, tachograph.Run] = {}
    further: list[bool] = []

    def step(call: Call, at: Session) -> Watcher:
        assert at.run is not None
        further.append(at.further)
        begun.setdefault(id(call.instance), at.run)
        yield
        at.run.log({"loss": 1.0})

    hooks = install(watch=step, goes_on=lambda call: begun.get(id(call.instance)))
    model = Toy()
    try:
        for _ in range(3):
            model.fit()
        with tachograph.start_run("the user's") as mine:
            model.fit()  # this one belongs to the run that is open, whatever came before
    finally:
        hooks.undo()
    assert further == [False, True, True, False]
    other, first = tachograph.open_store(root).runs()
    assert (other.id, other.history("loss").steps.tolist()) == (mine.id, [0])
    assert (first.status, first.history("loss").steps.tolist()) == ("finished", [0, 1, 2])
