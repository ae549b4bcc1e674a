"""How long a sink is waited for."""

from __future__ import annotations

from tachograph.errors import Retry
from tachograph.runtime.backoff import FIRST_DELAY, LONGEST_DELAY, Backoff, requested_delay


def test_the_bound_doubles_up_to_a_longest() -> None:
    bounds = [FIRST_DELAY * 2**number for number in range(7)]
    for number, bound in enumerate([*bounds, LONGEST_DELAY, LONGEST_DELAY]):
        delays = [after(number) for _ in range(200)]
        assert all(0 <= delay <= min(bound, LONGEST_DELAY) for delay in delays)
        assert max(delays) > min(bound, LONGEST_DELAY) / 2
        assert min(delays) < min(bound, LONGEST_DELAY) / 2


def after(failures: int) -> float:
    backoff = Backoff()
    for _ in range(failures):
        backoff.failed(0)
    return backoff.failed(0)


def test_what_gets_through_begins_it_anew() -> None:
    backoff = Backoff()
    for _ in range(5):
        backoff.failed(0)
    assert backoff.failures == 5
    assert backoff.failed(1) <= FIRST_DELAY
    assert backoff.failures == 1
    backoff.failed(1)
    assert backoff.failures == 2


def test_a_sink_is_left_alone_for_as_long_as_it_asks() -> None:
    assert [requested_delay(error) for error in (Retry(7.5), Retry(), OSError("no route"))] == [7.5, 0.0, 0.0]
    assert Backoff().failed(0, at_least=100.0) == 100.0
