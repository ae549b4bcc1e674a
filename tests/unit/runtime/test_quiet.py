"""A block that warns nobody, and leaves no trace."""

from __future__ import annotations

import pickle
import re
import threading
import warnings
from typing import cast

import pytest

from tachograph import guard
from tachograph.errors import TachographWarning
from tachograph.runtime.quiet import quietly


def give(text: str = "one") -> None:
    warnings.warn(text, UserWarning, stacklevel=1)


@pytest.mark.parametrize("action", ["always", "error", "default", "once"])
def test_nothing_is_warned_of_whatever_the_filters_say(action: str) -> None:
    with warnings.catch_warnings(record=True) as shown:
        warnings.simplefilter(action)  # type: ignore[arg-type]
        before = list(warnings.filters)
        with quietly(), quietly():
            give()
        assert (shown, list(warnings.filters)) == ([], before)


def test_what_was_not_shown_is_shown_to_the_user_and_what_was_shown_is_not_again() -> None:
    with warnings.catch_warnings(record=True) as shown:
        warnings.simplefilter("default")
        with quietly():
            give("not yet")
        give("not yet")
        for _ in range(3):
            give("again and again")
            with quietly():
                give("again and again")
    assert [str(each.message) for each in shown] == ["not yet", "again and again"]


def test_other_threads_warn_meanwhile() -> None:
    with warnings.catch_warnings(record=True) as shown:
        warnings.simplefilter("always")
        with quietly():
            other = threading.Thread(target=give)
            other.start()
            other.join()
    assert len(shown) == 1


def test_filters_that_the_block_sets_stay() -> None:
    with warnings.catch_warnings(record=True) as shown:
        warnings.simplefilter("always")
        with quietly():
            warnings.resetwarnings()
            warnings.simplefilter("error")
        with pytest.raises(UserWarning, match="one"):
            give()
        assert [action for action, *_ in warnings.filters] == ["error"]
    assert not shown


def test_an_exception_ends_the_quiet() -> None:
    with pytest.raises(KeyError), quietly():
        raise KeyError
    with pytest.warns(UserWarning, match="one"):
        give()


def test_filters_that_are_handed_to_another_process_are_quiet_as_the_block_was() -> None:
    with quietly():
        inside = pickle.loads(pickle.dumps(warnings.filters[0]))
        kept = warnings.filters[0]
    outside = pickle.loads(pickle.dumps(kept))
    assert (bool(inside[1].match("any")), bool(outside[1].match("any"))) == (True, False)


def test_filters_that_are_made_anew_from_their_patterns_are_too() -> None:
    """As scikit-learn does, also while another thread is quiet."""
    with quietly():
        inside = cast("re.Pattern[str]", warnings.filters[0][1]).pattern
        kept = cast("re.Pattern[str]", warnings.filters[0][1])
    assert (bool(re.match(inside, "any")), bool(re.match(kept.pattern, "any"))) == (True, False)


def test_numpy_neither_warns_nor_raises_and_keeps_its_state() -> None:
    numpy = pytest.importorskip("numpy")
    with numpy.errstate(all="raise"):
        with quietly():
            numpy.float64(1e300) * numpy.float64(1e300)
        assert set(numpy.geterr().values()) == {"raise"}


def test_warnings_of_ours_come_through() -> None:
    with pytest.warns(TachographWarning, match="what the user should know"), quietly():
        guard.misuse("what the user should know")


def test_a_function_can_be_quiet() -> None:
    @quietly()
    def again(times: int) -> str:
        give()
        return again(times - 1) if times else "done"

    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert again(3) == "done"
