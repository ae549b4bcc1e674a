"""Numbers of versions: those of semver.org, chosen or bumped."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tachograph.registry import numbers


@pytest.mark.parametrize(
    ("taken", "bump", "next_one"),
    [
        ([], "minor", "1.0.0"),
        ([], "prerelease", "1.0.0-rc.1"),
        (["1.0.0"], "major", "2.0.0"),
        (["1.0.0", "1.9.0", "1.10.0"], "minor", "1.11.0"),
        (["1.0.0"], "patch", "1.0.1"),
        (["2.0.0-rc.1"], "minor", "2.0.0"),
        (["2.0.0-rc.1"], "prerelease", "2.0.0-rc.2"),
        (["1.0.0"], "prerelease", "1.0.1-rc.1"),
    ],
)
def test_the_next_one(taken: list[str], bump: str, next_one: str) -> None:
    assert numbers.following(taken, bump) == next_one


@given(st.lists(st.sampled_from(numbers.BUMPS), max_size=30))
def test_each_is_above_those_before(bumps: list[str]) -> None:
    taken: list[str] = []
    for bump in bumps:
        number = numbers.following(taken, bump)
        assert all(numbers.parse(number) > numbers.parse(other) for other in taken)
        taken.append(number)


@pytest.mark.parametrize("text", ["1", "1.2", "v1.2.3", "1.2.3.4", "01.2.3", "", "a", "1.2.3 ", "9" * 200, 1.0, None])
def test_what_is_none(text: object) -> None:
    with pytest.raises(ValueError, match=r"a version is like 1\.2\.3"):
        numbers.parse(text)


def test_the_latest_is_a_release_where_there_is_one() -> None:
    assert numbers.latest(["1.0.0", "1.2.0", "1.10.0", "2.0.0-rc.1"]) == "1.10.0"
    assert numbers.latest(["2.0.0-rc.1", "2.0.0-rc.2"]) == "2.0.0-rc.2"
    assert numbers.latest([]) is None


def test_what_follows_a_plus_tells_no_versions_apart() -> None:
    assert numbers.rank("1.0.0-rc.1+b") == numbers.rank("1.0.0-rc.1+a") != numbers.rank("1.0.0+b")
