"""A wrapper only watches: what the user gets is as without it, whatever the wrapper does."""

from __future__ import annotations

import contextlib
import traceback
import warnings
from collections.abc import Callable
from typing import Any

import pytest
from tests.parts.hooked import STOPS, Base, Seen, chatty

import tachograph
from tachograph.errors import TachographWarning
from tachograph.hooks import Call, Hooks, Watcher, shield

lenient = pytest.mark.usefixtures("faults_stay_inside")

# ---- exceptions ------------------------------------------------------------------------------------------------------


def swallow(call: Call) -> Watcher:
    with contextlib.suppress(BaseException):
        yield


def replace(call: Call) -> Watcher:
    try:
        yield
    except BaseException:  # noqa: BLE001
        raise ZeroDivisionError("ours") from None


def chain(call: Call) -> Watcher:
    try:
        yield
    except BaseException as error:
        raise ZeroDivisionError("ours") from error


def clean_up(call: Call) -> Watcher:
    try:
        yield
    finally:
        raise ZeroDivisionError("ours")


def go_on(call: Call) -> Watcher:
    try:
        yield
    except BaseException:  # noqa: BLE001
        yield


WRAPPERS = [chatty, swallow, replace, chain, clean_up, go_on]


@lenient
@pytest.mark.filterwarnings("ignore::tachograph.TachographWarning")
@pytest.mark.parametrize("wrapper", WRAPPERS)
@pytest.mark.parametrize("error", STOPS, ids=lambda error: type(error).__name__)
def test_the_users_exception_comes_through_untouched(
    hooks: Hooks, wrapper: Callable[[Call], Watcher], error: BaseException
) -> None:
    hooks.around(Base, "fail", wrapper)
    cause, context = KeyError("the user's cause"), KeyError("the user's context")
    error.__cause__, error.__context__, error.__suppress_context__ = cause, context, True
    error.__traceback__ = None
    with pytest.raises(type(error)) as caught:
        Base().fail(error)
    assert caught.value is error
    assert (error.__cause__, error.__context__, error.__suppress_context__) == (cause, context, True)
    frames = traceback.extract_tb(error.__traceback__)
    assert frames[-1].line == "raise error"
    assert wrapper.__name__ not in [frame.name for frame in frames]


@pytest.mark.parametrize("error", STOPS, ids=lambda error: type(error).__name__)
def test_an_exception_of_the_users_is_no_fault_of_ours(hooks: Hooks, error: BaseException) -> None:
    """In strict mode a fault would be raised in place of it."""
    seen = Seen()
    hooks.around(Base, "fail", chatty)
    hooks.around(Base, "fail", seen.watch)
    with pytest.raises(type(error)) as caught:
        Base().fail(error)
    assert caught.value is error
    assert seen[-1] == ("raised", error)


# ---- faults of ours --------------------------------------------------------------------------------------------------


def before(call: Call) -> Watcher:
    raise ZeroDivisionError("ours")
    yield


def after(call: Call) -> Watcher:
    yield
    raise ZeroDivisionError("ours")


def never(call: Call) -> Watcher:
    return
    yield


def twice(call: Call) -> Watcher:
    yield
    yield


def no_generator(call: Call) -> Any:
    return None


def of_the_wrong_kind() -> Any:
    yield


def one_that_stops(call: Call) -> Watcher:
    yield
    raise StopIteration


@lenient
@pytest.mark.parametrize("wrapper", [before, after, twice, never, no_generator, of_the_wrong_kind, one_that_stops])
def test_a_fault_of_ours_only_warns(hooks: Hooks, wrapper: Any) -> None:
    hooks.around(Base, "fit", wrapper)
    base = Base()
    with pytest.warns(TachographWarning, match="toy: Base.fit failed"):
        assert base.fit(3) == (base, 3, None, None, {})


@lenient
def test_ctrl_c_while_we_are_at_work_is_the_users(hooks: Hooks) -> None:
    def interrupted(call: Call) -> Watcher:
        raise KeyboardInterrupt
        yield

    hooks.around(Base, "fit", interrupted)
    with pytest.raises(KeyboardInterrupt):
        Base().fit(3)


@lenient
def test_a_fault_in_a_callback_is_noted_in_the_run_that_is_open() -> None:
    class Callback:
        @shield
        def on_epoch_end(self, loss: float) -> float:
            return 1 / loss

    with tachograph.start_run("r") as run:
        assert Callback().on_epoch_end(2.0) == 0.5
        with pytest.warns(TachographWarning, match="on_epoch_end"):
            assert Callback().on_epoch_end(0.0) is None
    assert ["ZeroDivisionError" in note.text for note in tachograph.open_store().run(run.id).notes] == [True]
    assert run.spent > 0


# ---- warnings --------------------------------------------------------------------------------------------------------


def test_the_call_warns_and_what_watches_it_does_not(hooks: Hooks) -> None:
    class Model:
        def fit(self) -> None:
            warnings.warn("of the call", UserWarning, stacklevel=1)

    @shield
    def callback() -> None:
        warnings.warn("of a callback", UserWarning, stacklevel=1)

    def grumble(call: Call) -> Watcher:
        warnings.warn("before", UserWarning, stacklevel=1)
        yield
        warnings.warn("after", UserWarning, stacklevel=1)

    hooks.around(Model, "fit", grumble)
    with warnings.catch_warnings(record=True) as shown:
        warnings.simplefilter("always")
        Model().fit()
        callback()
    assert [str(each.message) for each in shown] == ["of the call"]
