"""Tables of every usual shape become strict JSON Lines."""

from __future__ import annotations

import datetime
import json
import math
from decimal import Decimal
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tachograph.data import rows


def read(table: Any) -> list[dict[str, Any]]:
    content, meta = rows.render(table)
    found = [json.loads(line, parse_constant=pytest.fail) for line in content.splitlines()]
    assert meta["format"] == "jsonl-table"
    assert meta["rows"] == len(found)
    assert {name for row in found for name in row} <= set(meta["columns"])
    return found


TABLE = [{"class": "a", "f1": 0.5, "n": 3}, {"class": "b", "f1": 0.25, "n": 4}]
COLUMNS = {"class": ["a", "b"], "f1": [0.5, 0.25], "n": [3, 4]}


def test_a_list_of_dicts_and_a_dict_of_lists() -> None:
    assert read(TABLE) == TABLE
    assert read(iter(TABLE)) == TABLE
    assert read(COLUMNS) == TABLE
    assert read({name: np.array(values) for name, values in COLUMNS.items()}) == TABLE
    assert rows.render(TABLE)[1]["columns"] == ["class", "f1", "n"]


def test_frames() -> None:
    pandas, polars, pyarrow = map(pytest.importorskip, ["pandas", "polars", "pyarrow"])
    assert read(pandas.DataFrame(COLUMNS)) == TABLE
    assert read(polars.DataFrame(COLUMNS)) == TABLE
    assert read(pyarrow.table(COLUMNS)) == TABLE
    assert read(pyarrow.record_batch(COLUMNS)) == TABLE
    for empty in [pandas.DataFrame({"x": []}), polars.DataFrame({"x": []}), pyarrow.table({"x": []}), {"x": []}]:
        assert rows.render(empty) == (b"", {"format": "jsonl-table", "rows": 0, "columns": ["x"]})


def test_an_index_that_says_something_is_kept() -> None:
    pandas = pytest.importorskip("pandas")
    confusion = pandas.DataFrame([[5, 1], [2, 7]], index=["cat", "dog"], columns=["cat", "dog"])
    assert read(confusion) == [{"index": "cat", "cat": 5, "dog": 1}, {"index": "dog", "cat": 2, "dog": 7}]
    grouped = confusion.rename_axis("true").groupby("true").agg(["min"])
    assert read(grouped)[0] == {"true": "cat", "cat.min": 5, "dog.min": 1}


def test_no_column_is_lost_to_another_of_its_name() -> None:
    pandas = pytest.importorskip("pandas")
    assert read(pandas.DataFrame([[1, 2, 3]], columns=["x", "x", "x"])) == [{"x": 1, "x.1": 2, "x.2": 3}]


def test_rows_that_differ_keep_what_they_have() -> None:
    table = [{"a": 1}, {"b": 2}, {}]
    assert read(table) == table
    assert rows.render(table)[1] == {"format": "jsonl-table", "rows": 3, "columns": ["a", "b"]}


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (None, None),
        (True, True),
        (math.nan, "NaN"),
        (-math.inf, "-Infinity"),
        (2**70, str(2**70)),
        ("ümlaut \ud800", "ümlaut ?"),
        (datetime.datetime(2026, 1, 2, 3, 4, tzinfo=datetime.UTC), "2026-01-02T03:04:00+00:00"),
        (datetime.date(2026, 1, 2), "2026-01-02"),
        (Decimal("0.1"), "0.1"),
        (b"x", "b'x'"),
        ([1, {"a": math.inf}], [1, {"a": "Infinity"}]),
        (np.float32(0.5), 0.5),
        (np.float64("nan"), "NaN"),
        (np.int8(3), 3),
        (np.bool_(True), True),
        (np.array([1, 2]), [1, 2]),
        (np.datetime64("2026-01-02T03:04", "ns"), "2026-01-02T03:04:00.000000000"),
        (np.datetime64("NaT"), None),
        (1 + 2j, "(1+2j)"),
    ],
    ids=repr,
)
def test_values(value: Any, expected: Any) -> None:
    assert read([{"x": value}]) == [{"x": expected}]


def test_missing_values_and_dates_of_pandas() -> None:
    pandas = pytest.importorskip("pandas")
    frame = pandas.DataFrame(
        {
            "n": pandas.array([1, None], dtype="Int64"),
            "at": pandas.to_datetime(["2026-01-02", None]),
            "text": ["a", None],
            "f": [1.5, None],
        }
    )
    first, second = read(frame)
    assert first == {"n": 1, "at": "2026-01-02T00:00:00", "text": "a", "f": 1.5}
    assert second["n"] is None
    assert second["at"] is None
    assert second["f"] == "NaN"


@pytest.mark.slow
@given(st.lists(st.dictionaries(st.text(), st.text() | st.floats() | st.integers() | st.none() | st.binary())))
def test_any_rows_become_strict_json(table: list[dict[str, Any]]) -> None:
    assert len(read(table)) == len(table)


@pytest.mark.parametrize("table", [None, 3, "text", [1, 2], {"a": 1}, {"a": "text"}, {"a": [1], "b": [1, 2]}], ids=repr)
def test_what_is_no_table_is_refused_with_one_line(table: Any) -> None:
    with pytest.raises(TypeError, match=r"^a table.* got .*$"):
        rows.render(table)
