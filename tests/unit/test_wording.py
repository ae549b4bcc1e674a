"""What people read: numbers, sizes, times."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from tachograph import wording


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0.0, "0"),
        (-0.0, "0"),
        (50.0, "50"),
        (0.5, "0.5"),
        (0.94024604569, "0.94025"),
        (0.000123456, "0.00012346"),
        (0.0000123456, "1.235e-05"),
        (-12.3456789, "-12.346"),
        (123456.789, "123456.8"),
        (123456789.5, "1.235e+08"),
        (1e300, "1.000e+300"),
        (5e-324, "4.941e-324"),
        (2**60, "1.153e+18"),
        (float("nan"), "NaN"),
        (float("inf"), "∞"),
        (float("-inf"), "-∞"),
        (0.99999999, "1"),
    ],
)
def test_numbers(value, text):
    assert wording.number(value) == text


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0, "0ms"),
        (0.0384, "38ms"),
        (0.9499, "950ms"),
        (1.34, "1.3s"),
        (9.96, "10s"),
        (59.4, "59s"),
        (59.6, "1m 00s"),
        (3599.7, "1h 00m"),
        (3660, "1h 01m"),
        (86399.9, "1d 00h"),
        (90000, "1d 01h"),
        (1e7, "115d 17h"),
    ],
)
def test_durations(seconds, text):
    assert wording.duration(seconds) == text


@pytest.mark.parametrize(
    ("count", "text"),
    [
        (0, "0 B"),
        (999, "999 B"),
        (1000, "1.0 kB"),
        (99_960, "100 kB"),
        (999_499, "999 kB"),
        (999_501, "1.0 MB"),
        (1.5e9, "1.5 GB"),
        (3e15, "3000 TB"),
    ],
)
def test_sizes(count, text):
    assert wording.size(count) == text


def test_how_long_ago():
    now = datetime(2026, 11, 23, 12, tzinfo=UTC)
    moments = (now - timedelta(seconds=seconds) for seconds in (-5, 0.5, 59, 60, 3599, 86_399, 86_400 * 400))
    told = [wording.ago(moment, now) for moment in moments]
    assert told == ["now", "now", "59s ago", "1m ago", "59m ago", "23h ago", "400d ago"]


def test_text_stays_on_its_line_and_leaves_the_terminal_alone():
    assert wording.line("a\nb\t c\x1b[31m\x07\u202e") == "a b c [31m  "


def test_parameters_keep_their_digits():
    assert wording.param([0.1234567891, True, None, "x", [1]]) == "[0.1234567891, True, None, x, [1]]"


def test_plurals():
    assert [wording.count(number, noun) for number, noun in ((1, "run"), (2000, "run"), (2, "entry"))] == [
        "1 run", "2,000 runs", "2 entries",
    ]  # fmt: skip
