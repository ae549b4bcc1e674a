"""What is remembered of training data: the digest, the statistics, and that nothing is harmed by looking."""

from __future__ import annotations

import copy
import datetime
import decimal
import json
import os
import random
import re
import subprocess
import sys
import warnings
from typing import Any

import msgspec
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from tachograph.data import describe
from tachograph.data.describe import fingerprint
from tachograph.data.fingerprint import Column, Fingerprint

pd, pl = pytest.importorskip("pandas"), pytest.importorskip("polars")
sp = pytest.importorskip("scipy.sparse")
hpd = pytest.importorskip("hypothesis.extra.pandas")

RELAXED = settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))


def look(dataset: object, target: object | None = None) -> Fingerprint:
    """A fingerprint, with every rule checked that holds for any data: no warning, strict JSON, random state alone."""
    state = np.random.get_state()[1].tolist(), random.getstate()  # type: ignore[index]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        found = fingerprint(dataset, target=target)
    assert (np.random.get_state()[1].tolist(), random.getstate()) == state  # type: ignore[index]
    describe._statistics.clear()  # what was known of equal data from before is what would be found of these
    assert msgspec.json.encode(fingerprint(dataset, target=target)) == msgspec.json.encode(found)
    describe._statistics.clear()
    known, complete = describe.begin(dataset, target=target)
    assert (known.digest, known.rows, known.bytes) == (found.digest, found.rows, found.bytes)
    assert msgspec.json.encode(complete() if complete else known) == msgspec.json.encode(found)
    json.loads(msgspec.json.encode(found), parse_constant=pytest.fail)
    assert msgspec.json.decode(msgspec.json.encode(found), type=Fingerprint) == found
    return found


def digest(dataset: object, target: object | None = None) -> str:
    found = look(dataset, target).digest
    assert found.startswith("sha256:")
    return found


# -- any data --------------------------------------------------------------------------------------------------------

DTYPES = st.one_of(
    hnp.boolean_dtypes(),
    hnp.integer_dtypes(endianness="?"),
    hnp.floating_dtypes(endianness="?", sizes=(16, 32, 64)),
    hnp.complex_number_dtypes(),
    hnp.datetime64_dtypes(),
    hnp.timedelta64_dtypes(),
    hnp.byte_string_dtypes(),
    hnp.unicode_string_dtypes(),
    hnp.array_dtypes(),
)
ARRAYS = hnp.arrays(DTYPES, hnp.array_shapes(min_dims=0, max_dims=4, min_side=0, max_side=6))
ODD = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.complex_numbers()
    | st.text(st.characters())  # lone surrogates among them
    | st.binary()
    | st.decimals()
    | st.dates()
    | st.datetimes()
    | st.sampled_from([pd.NA, pd.NaT, np.float32("nan"), np.int8(3), np.datetime64("NaT"), object, object(), ...]),
    lambda inner: (
        st.lists(inner)
        | st.tuples(inner, inner)
        | st.dictionaries(st.text() | st.integers(), inner)
        | st.frozensets(st.integers() | st.text())
    ),
    max_leaves=20,
)
FRAMES = hpd.data_frames(
    [
        hpd.column("float", dtype=float),
        hpd.column("int", dtype=np.int16),
        hpd.column("bool", dtype=bool),
        hpd.column("when", dtype="datetime64[ns]"),
        hpd.column("text", elements=st.text() | st.none()),
        hpd.column("odd", elements=st.floats() | st.integers() | st.text() | st.none() | st.dates()),
    ]
)


@RELAXED
@given(ARRAYS)
def test_any_array_is_described_and_left_as_it_was(array: np.ndarray[Any, Any]) -> None:
    before = array.tobytes()
    found = look(array)
    assert array.tobytes() == before
    assert found.shape == list(array.shape)
    assert found.digest == digest(array.copy())


@pytest.mark.slow
@RELAXED
@given(st.lists(ODD))
def test_any_list_is_described(values: list[Any]) -> None:
    found = look(values)
    assert (found.format, found.rows) == ("list", len(values))
    assert look(tuple(values)).rows == len(values)
    assert look(copy.copy(values)).digest == found.digest
    look(pd.DataFrame({"a": pd.Series(values, dtype=object)}), target=values)


@RELAXED
@given(ODD)
def test_anything_at_all_is_described(value: object) -> None:
    assert look(value).format
    assert look([[1.0]], target=value).rows == 1


@pytest.mark.slow
@RELAXED
@given(FRAMES)
def test_any_frame_is_described_and_left_as_it_was(frame: pd.DataFrame) -> None:
    before = frame.copy(deep=True)
    found = look(frame)
    pd.testing.assert_frame_equal(frame, before)
    assert [column.name for column in found.schema] == list(frame.columns)
    assert found.digest == look(before).digest


@RELAXED
@given(hnp.arrays(np.float64, hnp.array_shapes(min_dims=1, max_dims=2, max_side=50)))
def test_statistics_are_those_of_numpy(array: np.ndarray[Any, Any]) -> None:
    table = array.reshape(len(array), -1)
    for column, values in zip(look(array).schema, table.T, strict=True):
        finite = values[np.isfinite(values)]
        assert column.missing == np.isnan(values).sum()
        assert column.infinite == np.isinf(values).sum()
        if not len(finite):
            assert column.min is column.mean is column.zeros is None
            continue
        assert (column.min, column.max) == (finite.min(), finite.max())
        assert sum(column.counts) == len(finite)
        assert column.edges == sorted(column.edges)
        size = np.abs(finite).max()
        if 1e-300 < size < 1e300:
            np.testing.assert_allclose(column.mean, finite.mean(), rtol=1e-9, atol=1e-12 * size)
            wanted = np.quantile(finite, [0.05, 0.25, 0.5, 0.75, 0.95])
            np.testing.assert_allclose(list(column.quantiles.values()), wanted, rtol=1e-9, atol=1e-12 * size)
        if 1e-100 < size < 1e100:
            np.testing.assert_allclose(column.std, finite.std(), rtol=1e-9, atol=1e-7 * size)


# -- the digest ------------------------------------------------------------------------------------------------------


@RELAXED
@given(ARRAYS)
def test_digest_does_not_depend_on_memory_layout(array: np.ndarray[Any, Any]) -> None:
    wanted = look(array).digest
    assert look(array.copy(order="F")).digest == wanted
    swapped = array.astype(array.dtype.newbyteorder())
    assert look(swapped).digest == wanted
    if array.ndim:
        spaced = np.zeros((2 * len(array), *array.shape[1:]), array.dtype)
        spaced[::2] = array
        assert look(spaced[::2]).digest == wanted
        assert look(array[::-1].copy()[::-1]).digest == wanted


@RELAXED
@given(hnp.arrays(np.int32, hnp.array_shapes(max_dims=3)), st.data())
def test_one_changed_value_changes_the_digest(array: np.ndarray[Any, Any], draw: st.DataObject) -> None:
    place = draw.draw(st.integers(0, array.size - 1))
    changed = array.copy()
    changed.reshape(-1)[place] ^= 1
    assert digest(changed) != digest(array)
    assert digest([[1]], target=changed) != digest([[1]], target=array)


def test_digest_depends_on_dtype_and_shape() -> None:
    zeros = [
        np.zeros(6),
        np.zeros((2, 3)),
        np.zeros((3, 2)),
        np.zeros(6, int),
        np.zeros(6, "M8[s]"),
        np.zeros(12, "f4"),
    ]
    assert len({digest(array) for array in zeros}) == len(zeros)


def test_digest_depends_on_the_target() -> None:
    X = np.zeros((4, 2))
    assert len({digest(X), digest(X, [0, 0, 1, 1]), digest(X, [0, 1, 0, 1]), digest(X, X)}) == 4


def test_digest_of_a_frame_is_of_names_values_and_order_but_not_of_the_index() -> None:
    frame = pd.DataFrame({"a": [1.0, 2.0], "b": ["x", None], "c": [1, 2]})
    same = [
        frame.copy(),
        frame[["a", "b", "c"]],
        frame.set_axis([7, 8]),
        pd.concat([frame[["a"]], frame[["b", "c"]]], axis=1),
    ]
    other = [
        frame.rename(columns={"a": "A"}),
        frame[["c", "b", "a"]],
        frame[::-1],
        frame.astype({"c": "int32"}),
        frame.assign(b=["x", "None"]),
        frame.assign(a=[1.0, np.nan]),
    ]
    assert {digest(one) for one in same} == {digest(frame)}
    assert len({digest(one) for one in [frame, *other]}) == 1 + len(other)


def test_digest_does_not_see_what_is_under_a_mask() -> None:
    first = np.ma.masked_array([1.0, 2.0], mask=[False, True])
    second = np.ma.masked_array([1.0, 99.0], mask=[False, True])
    assert digest(first) == digest(second)
    assert digest(first) != digest(np.ma.masked_array([1.0, 2.0], mask=[False, False]))


def test_digest_does_not_see_the_padding_of_extended_precision() -> None:
    values = np.array([0.1, 2, np.inf, np.nan], np.longdouble)
    dirty = np.frombuffer(bytes([255]) * values.nbytes, np.uint8).copy().view(np.longdouble)
    dirty[:] = values
    assert digest(values) == digest(dirty)
    assert digest(values) != digest(np.nextafter(values, np.longdouble(0)))


def test_digest_is_the_same_in_another_process() -> None:
    script = """if True:
        from tachograph.data.describe import fingerprint
        print(fingerprint([{'b', 'a', 'c'}, {'y': 1, 'x': 'z'}]).digest)"""
    found = {
        subprocess.run(
            [sys.executable, "-c", script], env={**os.environ, "PYTHONHASHSEED": seed}, capture_output=True, check=True
        ).stdout
        for seed in "12"
    }
    assert len(found) == 1


@pytest.mark.parametrize("dataset", [[object()], [2**70], [{1: 2}], ["\ud800"], pd.DataFrame({"a": [object()]})])
def test_what_has_no_lasting_bytes_has_no_digest(dataset: object) -> None:
    assert look(dataset).digest == ""


def test_endless_lists_end() -> None:
    endless: list[Any] = []
    endless.append(endless)
    assert look(endless).digest == ""


# -- kinds -----------------------------------------------------------------------------------------------------------


def test_table_with_target() -> None:
    X = np.array([[0.0, 1.0], [2.0, np.inf], [np.nan, -1.0], [0.0, 3.0]])
    found = look(X, target=np.array([1, 0, 1, 1]))
    first, second = found.schema
    assert (found.format, found.rows, found.columns, found.shape) == ("numpy.ndarray", 4, 2, [4, 2])
    assert (found.bytes, found.sampled, found.omitted) == (X.nbytes + 32, None, 0)
    assert (first.name, first.dtype, first.missing, first.infinite) == ("0", "float64", 1, 0)
    assert (first.min, first.max, first.zeros) == (0.0, 2.0, 2 / 3)
    assert (second.infinite, second.mean, second.min, second.max) == (1, 1.0, -1.0, 3.0)
    assert first.counts == [2, 0, 0, 0, 0, 0, 0, 0, 0, 1]
    assert len(first.edges) == 11
    assert found.classes == {"0": 1, "1": 3}
    assert [column.name for column in found.target] == ["target"]


@pytest.mark.parametrize(
    ("target", "classes"),
    [
        ([True, False, True], {"False": 1, "True": 2}),
        (["b", "a", "b", "b"], {"a": 1, "b": 3}),
        (np.array(["b", "a"] * 2), {"a": 2, "b": 2}),
        (np.array([b"b", b"a"] * 2), {"a": 2, "b": 2}),
        (pd.Series(["x", "y", "x", "x"], dtype="category"), {"x": 3, "y": 1}),
        (pd.Series([3, None, 3], dtype="Int64"), {"3": 2}),
        (pl.Series("y", [10, 2, None]), {"2": 1, "10": 1}),
        (np.array([1.0, 0.0, np.nan], np.float32), {"0": 1, "1": 1}),  # as DMatrix keeps labels
        (np.array([[1], [2]]), {"1": 1, "2": 1}),
        ([np.int64(4), 5, "z"] * 2, {"4": 2, "5": 2, "z": 2}),
        (["Ann Lee", "Bo Li", "Cy Ray"], None),  # these are no classes, but persons
        (["ann@x.org", "bo@x.org"] * 5, None),
        (pd.Series(["a", "b"] * 5, name="password"), None),
        ([61_250, 58_900, 47_310], None),
        ([0.5, 1.0], None),
        ([np.inf], None),
        (np.arange(101), None),
        (np.eye(3), None),
        (np.array(["2024-01-01"], "M8[ns]"), None),
        ([], None),
        ([[1, 2], [3]], None),
        ([None, None], None),
    ],
)
def test_class_balance(target: object, classes: dict[str, int] | None) -> None:
    found = look([[1.0]], target=target).classes
    assert found == classes
    assert found is None or list(found) == list(classes or ())


def test_arrays_of_other_dtypes() -> None:
    (column,) = look(np.array(["b", "a", "b" * 70, "b" * 70] * 2)).schema
    assert (column.distinct, column.top) == (3, {"b" * 64: 4, "b": 2, "a": 2})
    (column,) = look(np.array([True, False, True])).schema
    assert (column.dtype, column.top) == ("bool", {"True": 2, "False": 1})
    (column,) = look(np.array(["2024-02-03", "NaT", "2023-01-01"], "M8[D]")).schema
    assert (column.min, column.max, column.missing) == ("2023-01-01", "2024-02-03", 1)
    (column,) = look(np.array([60, 120], "m8[s]")).schema
    assert (column.min, column.max) == (60.0, 120.0)
    (column,) = look(np.array([1 + 1j, np.nan])).schema
    assert (column.dtype, column.missing, column.min) == ("complex128", 1, None)
    (column,) = look(np.array([b"\xff", b"a"] * 2)).schema
    assert column.top == {"\ufffd": 2, "a": 2}
    (column,) = look(np.array(3.0)).schema
    assert (column.min, look(np.array(3.0)).shape) == (3.0, [])
    (column,) = look(np.ma.masked_array([1, 2, 3], mask=[True, False, False])).schema
    assert (column.missing, column.min) == (1, 2.0)
    assert look(np.ma.masked_array([1, 2])).format == "numpy.ma.MaskedArray"
    assert look(np.array([b"12345678"], "V8")).schema[0].dtype == "|V8"


@pytest.mark.skipif(not hasattr(getattr(np, "dtypes", None), "StringDType"), reason="numpy 2")
def test_variable_width_strings() -> None:
    words = np.array(["b", "a", "b", "a", "b"], "T")
    found = look(words, target=words)
    assert (found.schema[0].dtype, found.schema[0].top, found.classes) == (
        "StringDType()",
        {"b": 3, "a": 2},
        {"a": 2, "b": 3},
    )
    assert found.digest != digest(words[[1, 0, 2, 3, 4]], target=words)


def test_images_are_one_column() -> None:
    images = np.arange(2 * 4 * 4 * 3, dtype=np.uint8).reshape(2, 4, 4, 3)
    found = look(images)
    (column,) = found.schema
    assert (found.rows, found.columns, found.omitted) == (2, 48, 0)
    assert (column.name, column.min, column.max, column.mean) == ("values", 0.0, 95.0, 47.5)


def test_structured_arrays_have_a_column_for_each_field() -> None:
    people = np.array([(1, 2.5, [1, 2]), (2, 3.5, [3, 4])], [("age", "<i4"), ("size", ">f8"), ("marks", "i2", 2)])
    found = look(people)
    assert [column.name for column in found.schema] == ["age", "size", "0", "1"]
    assert found.schema[1].max == 3.5
    assert found.digest == digest(people.astype([("age", ">i4"), ("size", "<f8"), ("marks", "i2", 2)]))


def test_pandas_dtypes() -> None:
    frame = pd.DataFrame(
        {
            "int": pd.array([1, None, 2**60], dtype="Int64"),
            "flag": pd.array([True, None, False], dtype="boolean"),
            "kind": pd.Categorical(["u", None, "u"], categories=["v", "u"]),
            "text": pd.array(["p", None, "q"], dtype="string"),
            "when": pd.to_datetime(["2024-01-01 12:00", None, "2024-06-01 12:00"]).tz_localize("Europe/Berlin"),
            "gap": pd.arrays.SparseArray([0.0, 0.0, 5.0]),
            "span": pd.interval_range(0, 3),
            "month": pd.period_range("2024-01", periods=3, freq="M"),
            "mix": pd.Series([1, "one", None], dtype=object),
            "exact": [decimal.Decimal("1.5"), decimal.Decimal(2), None],
            "day": [datetime.date(2024, 1, 2), None, datetime.date(2023, 1, 1)],
        }
    )
    found = look(frame)
    columns = {column.name: column for column in found.schema}
    assert list(columns) == list(frame.columns)
    assert (columns["int"].missing, columns["int"].max) == (1, float(2**60))
    assert columns["flag"].top == {"True": 1, "False": 1}
    assert (columns["kind"].dtype, columns["kind"].missing, columns["kind"].top) == ("category", 1, {"u": 2})
    assert (columns["text"].distinct, columns["text"].missing) == (2, 1)
    assert str(columns["when"].min).startswith("2024-01-01T11:00")
    assert (columns["gap"].zeros, columns["gap"].max) == (2 / 3, 5.0)
    assert columns["span"].distinct == 1  # known by its type alone
    assert (columns["mix"].missing, columns["mix"].distinct, columns["mix"].top) == (1, 2, {})
    assert (columns["exact"].max, columns["exact"].missing) == (2.0, 1)
    assert (columns["day"].min, columns["day"].max) == ("2023-01-01", "2024-01-02")
    assert found.digest == digest(frame.copy())
    assert len({found.digest, digest(frame.assign(span=frame.span.array[::-1])), digest(frame.assign(int=1))}) == 3


def test_pandas_names() -> None:
    twice = pd.DataFrame([[1, 2.0, 3]], columns=["a", "a", 7])
    assert [column.name for column in look(twice).schema] == ["a", "a", "7"]
    levels = pd.DataFrame([[1, 2]], columns=pd.MultiIndex.from_tuples([("a", 1), ("b", 2)]))
    assert [column.name for column in look(levels).schema] == ["a.1", "b.2"]
    assert look(pd.Series([1, 2], name="price")).schema[0].name == "price"
    assert look(pd.Series([1, 2])).schema[0].name == "values"
    assert look([[1]], target=pd.Series([1, 2])).target[0].name == "target"
    assert look(pd.Index([1, 2])).rows == 2
    assert look(pd.DataFrame()).shape == [0, 0]


def test_polars() -> None:
    frame = pl.DataFrame(
        {
            "int": [1, None, 2**60],
            "float": [0.5, float("nan"), None],
            "flag": [True, None, False],
            "text": ["p", None, "q"],
            "kind": pl.Series(["u", None, "u"], dtype=pl.Categorical),
            "enum": pl.Series(["u", None, "v"], dtype=pl.Enum(["v", "u"])),
            "day": [datetime.date(2024, 1, 2), None, datetime.date(2023, 1, 1)],
            "when": [datetime.datetime(2024, 1, 2, tzinfo=datetime.UTC)] * 3,
            "took": [datetime.timedelta(minutes=1)] * 3,
            "exact": pl.Series(["1.5", "2", None]).cast(pl.Decimal(10, 2)),
            "list": [[1, 2], [3], None],
            "struct": [{"a": 1}, {"a": 2}, None],
            "clock": [datetime.time(1, 2)] * 3,
            "raw": [b"1", b"2", None],
            "null": [None] * 3,
            "huge": pl.Series([1, 2, None], dtype=getattr(pl, "Int128", pl.Int64)),
        }
    )
    found = look(frame)
    columns = {column.name: column for column in found.schema}
    assert list(columns) == frame.columns
    assert (columns["int"].missing, columns["int"].max, columns["int"].dtype) == (1, float(2**60), "Int64")
    assert (columns["float"].missing, columns["float"].max) == (2, 0.5)
    assert columns["flag"].top == {"True": 1, "False": 1}
    assert columns["kind"].top == {"u": 2}
    assert (columns["day"].min, columns["day"].max, columns["day"].missing) == ("2023-01-01", "2024-01-02", 1)
    assert columns["took"].mean == 60.0
    assert (columns["exact"].max, columns["huge"].max, columns["null"].missing) == (2.0, 2.0, 3)
    assert found.digest == digest(frame.clone()) == digest(pl.concat([frame[:1], frame[1:]]))
    assert found.digest != digest(frame.with_columns(struct=frame["struct"].reverse()))
    assert found.digest != digest(frame.rename({"int": "Int"}))
    assert look(frame["int"]).format == "polars.Series"
    assert look(pl.Series([1, 2])).schema[0].name == "values"


def people(count: int = 40) -> dict[str, list[Any]]:
    """A table in which hardly any text is a category. What must not be seen again ends in a number below 1000."""
    rows = range(100, 100 + count)
    return {
        "email": [f"user{i}@corp.example" for i in rows],
        "password": [f"hunter{i % 3 + 100}" for i in rows],
        "pin_secret": [7_700_000 + i for i in rows],
        "patient_name": [f"Ann Lee {i % 4 + 100}" for i in rows],
        "date_of_birth": [datetime.datetime(1900 + i % 99, 1, 2) for i in rows],
        "remark": [f"called on day {i}, angry" for i in rows],
        "account": [f"DE89 3704 0044 0532 0130 {i % 2 + 10}" for i in rows],
        "contact": [f"bo{i % 2 + 100}@corp.example" for i in rows],
        "town": [("Bonn", "Köln", "Ulm", "Ulm")[i % 4] for i in rows],
        "age": [20.0 + i % 30 for i in rows],
    }


PRIVATE = re.compile(r"hunter|corp\.example|77001|Ann Lee|19\d\d-|called|DE89")


@pytest.mark.parametrize(
    "table", [pd.DataFrame, pl.DataFrame, lambda columns: pd.DataFrame(columns).astype({"email": "category"}),
    lambda columns: [dict(zip(columns, row, strict=True)) for row in zip(*columns.values(), strict=True)]],
    ids=["pandas", "polars", "categories", "dicts"]
)  # fmt: skip
def test_no_value_that_marks_a_person_is_kept(table: Any) -> None:
    found = look(table(people()), target=people()["email"])
    assert not PRIVATE.findall(msgspec.json.encode(found).decode())
    columns = {column.name: column for column in found.schema}
    assert columns["town"].top == {"Ulm": 20, "Bonn": 10, "Köln": 10}
    assert columns["password"] == Column("password", columns["password"].dtype)
    assert (columns["remark"].distinct, columns["remark"].lengths["max"], columns["remark"].forms) == (
        40,
        24.0,
        {"other": 40},
    )
    assert columns["age"].counts
    assert found.classes is None


def test_values_that_are_listed_in_a_dtype_are_left_out() -> None:
    frame = pl.DataFrame({"who": pl.Series(["ann lee"] * 3, dtype=pl.Enum(["ann lee", "bo li"]))})
    assert [column.dtype for column in look(frame).schema + look(frame.lazy()).schema] == ["Enum", "Enum"]


def test_a_category_that_is_rare_is_not_named() -> None:
    (column,) = look(["red"] * 990 + ["blue"] * 10 + ["of Ann Lee"]).schema
    assert (column.distinct, column.top) == (3, {"red": 990})


def test_lazy_frames_are_not_collected() -> None:
    touched: list[int] = []

    def touch(batch: pl.DataFrame) -> pl.DataFrame:
        touched.append(1)
        return batch

    lazy = pl.LazyFrame({"a": [1], "b": ["x"]}).map_batches(touch, schema={"a": pl.Int64, "b": pl.String})
    found = look(lazy)
    assert not touched
    assert (found.format, found.rows, found.columns, found.digest) == ("polars.LazyFrame", None, 2, "")
    assert [(column.name, column.dtype) for column in found.schema] == [("a", "Int64"), ("b", "String")]


@pytest.mark.parametrize("kind", ["csr", "csc", "coo", "bsr", "dia", "lil", "dok"])
@pytest.mark.parametrize("style", ["matrix", "array"])
def test_sparse_formats_describe_the_same_content(kind: str, style: str) -> None:
    dense = np.array([[0, 1.5, 0], [0, 0, 0], [2, 0, -1], [0, 0, 0]])
    matrix = getattr(sp, f"{kind}_{style}")(dense)
    found = look(matrix)
    assert found.format == f"scipy.sparse.{kind}_{style}"
    assert found.shape == [4, 3]
    assert found.density == matrix.nnz / 12
    assert found.schema == look(dense).schema
    assert found.digest == digest(sp.csr_matrix(dense)) != digest(sp.csr_matrix(-dense))


def test_sparse_matrices_keep_their_order_and_duplicates() -> None:
    messy = sp.csr_matrix((np.array([1.0, 2.0, 3.0]), np.array([2, 0, 0]), np.array([0, 3, 3])), shape=(2, 3))
    found = look(messy)
    assert messy.indices.tolist() == [2, 0, 0]
    assert messy.data.tolist() == [1.0, 2.0, 3.0]
    assert found.digest == digest(sp.csr_matrix(messy.toarray()))


def test_huge_sparse_matrices_are_not_made_dense() -> None:
    rows = np.arange(0, 5_000_000, 5)
    wide = sp.csr_matrix((np.ones(len(rows)), (rows, rows)), shape=(5_000_000, 5_000_000))
    found = look(wide)
    assert (found.columns, len(found.schema), found.omitted) == (5_000_000, 1_000, 4_999_000)
    assert found.sampled is not None
    assert found.sampled.rows == 2_000


@pytest.mark.slow
def test_large_sparse_matrices_are_hashed_as_stored() -> None:
    large = sp.random(3_000, 3_000, density=0.4, format="csr", random_state=0)
    columnwise = look(large.tocsc())
    assert look(large).schema[0].mean is not None
    assert (columnwise.schema, columnwise.omitted) == ([], 3_000)
    assert columnwise.digest
    assert columnwise.sampled is not None
    assert columnwise.sampled.bytes < columnwise.sampled.bytes_total


def test_lists() -> None:
    table = look([[1, "a", None], [2.5, "b", 3]])
    assert (table.format, table.shape, [column.dtype for column in table.schema]) == (
        "list",
        [2, 3],
        ["object", "str", "int"],
    )
    assert table.schema[2].missing == 1
    records = look([{"x": 1, "y": "a"}, {"x": 2, "z": True}])
    assert [column.name for column in records.schema] == ["x", "y", "z"]
    assert records.schema[1].missing == 1
    texts = look(["one", "two", "two", "two"])
    assert (texts.shape, texts.schema[0].distinct, texts.schema[0].top) == ([4], 2, {"two": 3})
    ragged = look([[1], [1, 2]])
    assert (ragged.shape, ragged.schema[0].top) == ([2], {"<list>": 2})
    arrays = look([np.zeros((3, 2)), np.ones(3)])
    assert arrays.digest == digest([np.zeros((3, 2), order="F"), np.ones(3)]) != digest([np.ones((3, 2)), np.ones(3)])
    assert digest([1, 2]) != digest([[1], [2]])


def test_objects_which_offer_an_array() -> None:
    class Wrapped:
        def __array__(self, dtype: Any = None) -> np.ndarray[Any, Any]:
            return np.ones((3, 2))

    class OnDevice(Wrapped):
        shape, dtype, device = (3, 2), "float32", "cuda:0"

        def __array__(self, dtype: Any = None) -> np.ndarray[Any, Any]:
            pytest.fail("moved from the device")

    assert look(Wrapped()).digest == digest(np.ones((3, 2)))
    found = look(OnDevice())
    assert (found.shape, found.digest, found.schema[0].dtype) == ([3, 2], "", "float32")


def test_unknown_objects() -> None:
    class Stream:
        def __len__(self) -> int:
            raise TypeError("no length")

    assert look(Stream()).rows is None
    assert look({"a": 1}).rows is None
    assert look(range(7)).rows == 7
    assert (look("train.csv").format, look("train.csv").rows) == ("str", None)
    assert look(None) == Fingerprint("NoneType")


def test_torch() -> None:
    torch = pytest.importorskip("torch")
    tensor = torch.arange(6, dtype=torch.float32, requires_grad=True).reshape(3, 2)
    found = look(tensor, target=torch.tensor([0, 1, 1]))
    assert (found.format, found.shape, found.classes) == ("torch.Tensor", [3, 2], {"0": 1, "1": 2})
    assert digest(tensor) == digest(np.arange(6, dtype=np.float32).reshape(3, 2)) == digest(tensor.T.contiguous().T)
    for odd in (tensor.to(torch.bfloat16), tensor.to("meta"), tensor.detach().to_sparse()):
        found = look(odd)
        assert (found.shape, found.digest, found.schema[0].name) == ([3, 2], "", "values")
    dataset = torch.utils.data.TensorDataset(torch.zeros(5))
    assert look(dataset).rows == 5


def test_arrow() -> None:
    pa = pytest.importorskip("pyarrow")
    found = look(pa.table({"a": [1, 2], "b": ["x", None]}))
    assert (found.format, found.shape, found.digest) == ("pyarrow.Table", [2, 2], "")
    assert [(column.name, column.dtype) for column in found.schema] == [("a", "int64"), ("b", "string")]
    frame = pd.DataFrame(
        {"n": pd.array([1, None], dtype="int64[pyarrow]"), "t": pd.array(["x", None], dtype="string[pyarrow]")}
    )
    assert [column.missing for column in look(frame).schema] == [1, 1]
    assert digest(frame) == digest(frame.copy())


# -- bounds ----------------------------------------------------------------------------------------------------------


def test_large_arrays_are_sampled() -> None:
    large = np.broadcast_to(np.float64(1.0), (10**9, 50))  # 400 GB, if it were written out
    found = look(large, target=np.broadcast_to(np.int8(3), (10**9,)))
    assert found.sampled is not None
    assert (found.sampled.rows, found.sampled.rows_total) == (10_000, 10**9)
    assert found.sampled.bytes_total == 401 * 10**9
    assert 30 * 2**20 < found.sampled.bytes <= 64 * 2**20
    assert found.classes == {"3": 10_000}
    assert look(np.broadcast_to(1.0, (3, 10**9))).omitted == 10**9 - 1_000
    assert look(np.broadcast_to(1.0, (3, 30_000, 30_000)).transpose(2, 0, 1)).schema[0].mean == 1.0


@pytest.mark.slow
def test_sampled_digest_does_not_depend_on_memory_layout_and_sees_both_ends(tmp_path: Any) -> None:
    large = np.memmap(tmp_path / "large", np.float64, "w+", shape=(10**6, 6))
    large[:] = np.arange(6)
    wanted = digest(large)
    assert digest(np.asfortranarray(large)) == wanted == digest(large.astype(">f8"))
    for place in (0, -1):
        changed = large.copy()
        changed[place, place] = 7.0
        assert digest(changed) != wanted
    assert digest(pd.DataFrame(large)) == digest(pd.DataFrame(np.asfortranarray(large)))


def test_up_to_the_limit_everything_is_hashed() -> None:
    array = np.zeros(2**22)
    wanted = look(array)
    array[-(2**21) + 12345] = 1.0
    assert look(array).digest != wanted.digest
    assert wanted.sampled is not None
    assert wanted.sampled.bytes == wanted.sampled.bytes_total
    assert wanted.sampled.rows == 10_000


def test_sampled_rows_see_classes_which_repeat_in_turn() -> None:
    counts = look([[1.0]], target=np.tile(np.arange(10), 100_000)).classes
    assert counts is not None
    assert all(900 < count < 1_100 for count in counts.values())


@pytest.mark.slow
def test_wide_data_is_described_up_to_a_limit_but_hashed() -> None:
    for wide in (np.zeros((3, 5_000)), pd.DataFrame(np.zeros((3, 5_000))), pl.DataFrame(np.zeros((3, 2_000)))):
        found = look(wide)
        assert (len(found.schema), found.omitted) == (1_000, found.columns - 1_000)  # type: ignore[operator]
    changed = np.zeros((3, 5_000))
    changed[2, 4_999] = 1
    assert digest(changed) != digest(np.zeros((3, 5_000)))
    assert digest(pd.DataFrame(changed)) != digest(pd.DataFrame(np.zeros((3, 5_000))))


@pytest.mark.slow
def test_columns_that_must_be_read_one_by_one_are_bounded() -> None:
    names = list(map(str, range(1_500)))
    for wide in (
        pl.DataFrame({name: [1, 2] for name in names}),
        pd.DataFrame({name: [1, 2] for name in names}, dtype="Int64"),
    ):
        found = look(wide)
        assert found.sampled is not None
        assert found.sampled.bytes == found.sampled.bytes_total * 2 // 3
        wide.columns = [*names[:-1], "last"]
        assert found.digest != digest(wide)


def test_long_lists_texts_and_giant_values_are_bounded() -> None:
    document = "word " * 2_000_000
    found = look([document] * 1_000)  # 10 GB of text, if it were copied
    assert found.sampled is not None
    assert found.sampled.bytes < 64 * 2**20
    assert found.schema[0].top == {document[:64]: 1_000}
    assert look([[1.0] * 3_000_000]).digest == ""
    giants = [np.broadcast_to(1.0, (10**6, 100)), np.broadcast_to(1.0, (10**6, 100))]
    assert look(giants).digest


def test_the_same_data_is_counted_once(monkeypatch: pytest.MonkeyPatch) -> None:
    from tachograph.data import profile

    counted: list[Any] = []
    count = profile.columns
    monkeypatch.setattr(profile, "columns", lambda parts: counted.append(parts) or count(parts))
    describe._statistics.clear()
    X = np.arange(20.0).reshape(10, 2)
    first = fingerprint(X)
    assert fingerprint(X.copy()) == fingerprint(np.asfortranarray(X)) == first
    assert len(counted) == 1
    X[0, 0] = 7.0
    assert fingerprint(X).schema[0].min == 2.0
    for i in range(1, 21):
        fingerprint(X + i)
    assert len(describe._statistics) <= 8
    assert len(counted) == 22


def test_of_sampled_data_nothing_is_remembered() -> None:
    describe._statistics.clear()
    fingerprint(np.zeros(5_000_000))
    assert not describe._statistics


def test_no_reference_is_kept() -> None:
    X = np.zeros((4, 2))
    before = sys.getrefcount(X)
    found = fingerprint(X)
    assert sys.getrefcount(X) == before
    first = msgspec.json.encode(found)
    X[:] = 5
    assert msgspec.json.encode(found) == first


def test_importing_brings_in_no_numpy() -> None:
    optional = "{'numpy', 'pandas', 'polars', 'scipy'}"
    script = f"import sys, tachograph.data.describe; sys.exit(bool({optional} & set(sys.modules)))"
    subprocess.run([sys.executable, "-c", script], check=True)


def test_looking_imports_no_framework() -> None:
    script = """if True:
        import sys, numpy
        from tachograph.data.describe import fingerprint
        fingerprint(numpy.zeros((3, 2)), target=[0, 1, 1])
        sys.exit(bool({'pandas', 'polars', 'scipy', 'torch'} & set(sys.modules)))"""
    subprocess.run([sys.executable, "-c", script], check=True)


@pytest.mark.parametrize(
    ("made", "change"),
    [
        (lambda: np.arange(40.0).reshape(20, 2), lambda X: X.fill(7.0)),
        (lambda: np.ma.masked_less(np.arange(20), 3), lambda X: X.fill(7)),
        (lambda: pd.DataFrame({"a": range(20), "b": ["x", "y"] * 10}), lambda X: X.drop(X.index, inplace=True)),
        (lambda: sp.random(20, 4, 0.5, "csr", random_state=0), lambda X: X.data.fill(0.0)),
        (lambda: [[1.0, 2.0]] * 20, lambda X: X.clear()),
    ],
)
def test_what_was_begun_is_of_the_data_as_it_was(made: Any, change: Any) -> None:
    describe._statistics.clear()
    X = made()
    known, complete = describe.begin(X)
    change(X)
    assert complete is not None
    found = complete()
    assert (known.digest, known.schema) == (found.digest, [])
    describe._statistics.clear()
    assert found == fingerprint(made())


def test_what_was_begun_of_known_data_is_of_it_as_it_was() -> None:
    describe._statistics.clear()
    X = np.arange(40.0).reshape(20, 2)
    first, begun = fingerprint(X), describe.begin(X)
    X.fill(7.0)
    assert begun == (first, None)


def test_a_dict_of_columns_is_a_table() -> None:
    found = fingerprint({"x": [1.0, 2.0, None], "y": np.arange(3), "z": np.zeros((3, 2))})
    assert (found.format, found.rows, found.columns, found.shape) == ("dict", 3, 4, [3, 4])
    assert [column.name for column in found.schema] == ["x", "y", "z.0", "z.1"]
    assert [column.missing for column in found.schema] == [1, 0, 0, 0]
    assert found.digest is not None
    assert found.digest != fingerprint({"x": [1.0, 2.0, None], "y": np.arange(1, 4), "z": np.zeros((3, 2))}).digest


def test_a_large_dict_of_arrays_is_looked_at_in_part() -> None:
    found = fingerprint({"X": np.ones((200_000, 30)), "y": np.arange(200_000)})
    assert (found.rows, found.columns, len(found.schema)) == (200_000, 31, 31)


@pytest.mark.parametrize("data", [{}, {"x": [1], "y": [1, 2]}, {"lr": 0.1}, {"a": {"b": [1]}, "c": [1]}, {"a": "text"}])
def test_a_dict_that_is_no_table(data: dict[str, object]) -> None:
    found = fingerprint(data)
    assert (found.rows, found.columns) == (None, None)


def test_a_dict_in_itself() -> None:
    data: dict[str, object] = {"x": [1]}
    data["self"] = data
    assert fingerprint(data).rows is None
