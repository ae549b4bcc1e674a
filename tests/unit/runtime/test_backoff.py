"""How long a sink is waited for."""

from __future__ import annotations

from tachograph.runtime.backoff import FIRST_DELAY, LONGEST_DELAY, Patience


def test_the_bound_doubles_up_to_a_longest() -> None:
    bounds = [FIRST_DELAY * 2**number for number in range(7)]
    for number, bound in enumerate([*bounds, LONGEST_DELAY, LONGEST_DELAY]):
        delays = [after(number) for _ in range(200)]
        assert all(0 <= delay <= min(bound, LONGEST_DELAY) for delay in delays)
        assert max(delays) > min(bound, LONGEST_DELAY) / 2
        assert min(delays) < min(bound, LONGEST_DELAY) / 2


def after(failures: int) -> float:
    patience = Patience()
    for _ in range(failures):
        patience.failed(0)
    return patience.failed(0)


def test_what_gets_through_begins_it_anew() -> None:
    patience = Patience()
    for _ in range(5):
        patience.failed(0)
    assert patience.failures == 5
    assert patience.failed(1) <= FIRST_DELAY
    assert patience.failures == 1
    patience.failed(1)
    assert patience.failures == 2
