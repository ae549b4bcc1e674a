"""The query language: what it means, by a second evaluator in Python, and how it fails."""

from __future__ import annotations

import operator
import re
from datetime import UTC, datetime
from math import inf, nan
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import tachograph
from tachograph import events
from tachograph.events import Event, Metrics, Params, RunEnd, RunStart, Tags
from tachograph.index.labels import digest
from tachograph.store import query
from tachograph.store.store import Store, open_store

RUNS: dict[str, dict[str, Any]] = {
    "a": {"experiment": "vision", "status": "finished", "started": "2026-11-01T10:00",
          "params": {"lr": 0.1, "model": "resnet", "deep": True, "layers": [64, 32], "model.width": 8},
          "metrics": {"acc": 0.9, "train-logloss": 0.5}, "tags": {"purpose": "debug", "version": "3"}},
    "b": {"experiment": "vision", "status": "failed", "started": "2026-11-05T00:00",
          "params": {"lr": 1, "model": "ResNet-50", "deep": False, "none": None},
          "metrics": {"acc": nan, "loss": -1.5e-3}, "tags": {"purpose": "it's"}},
    "c": {"experiment": "text", "status": "running", "started": "2026-11-05T23:59:59.5",
          "params": {"lr": "auto", "model": None}, "metrics": {"acc": 0.5, "loss": inf}, "tags": {}},
    "d": {"experiment": "text", "status": "finished", "started": "2026-11-06T00:00",
          "params": {"lr": nan}, "metrics": {}, "tags": {"purpose": "100%"}},
}  # fmt: skip


def moment(text: str) -> float:
    return datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp()


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Store:
    root = tmp_path_factory.mktemp("store")
    _record(root)
    return open_store(root)


def _record(root: Path) -> None:
    for id, run in RUNS.items():
        happened: list[Event] = [
            RunStart(run=id, writer="0-w", role="owner", host="elsewhere", boot="b", pid=1, born=1,
                     name=f"run {id}", experiment=run["experiment"]),
            Params(values={name: events.written_param(value) for name, value in run["params"].items()}),
            Metrics(values={name: events.written_number(value) for name, value in run["metrics"].items()}),
            Tags(values=run["tags"]),
        ]  # fmt: skip
        if run["status"] != "running":
            happened.append(RunEnd(status=run["status"]))
        folder = root / "runs" / id / "0-w"
        folder.mkdir(parents=True)
        with open(folder / "1.jsonl", "wb") as file:
            for seq, event in enumerate(happened, start=1):
                event.v, event.seq, event.at = 1, seq, moment(run["started"]) + seq - 1
                file.write(events.encode(event) + b"\n")


def found(store: Store, where: str) -> str:
    return "".join(run.id for run in store.runs(where=where, order_by="id"))


@pytest.mark.parametrize(
    ("where", "ids"),
    [
        ("metrics.acc > 0.5", "a"),
        ("metrics.acc >= 0.5", "ac"),
        ("metrics.acc = .9", "a"),
        ("metrics.acc = 9e-1", "a"),
        ('metrics."train-logloss" < 1', "a"),
        ("metrics.loss < -1e-3", "b"),
        ("metrics.loss <= -0.0015", "b"),
        ("metrics.loss = inf", "c"),
        ("metrics.loss > -inf", "bc"),
        ("metrics.acc = nan", "b"),
        ("metrics.acc != nan", "ac"),
        ("metrics.acc != 0.5", "a"),  # what is missing, or no number, compares false
        ("not metrics.acc = 0.5", "abd"),
        ("metrics.acc is null", "d"),
        ("metrics.acc is not null", "abc"),
        ("params.lr = 1", "b"),
        ("params.lr < 1e9", "ab"),
        ("params.lr = 'auto'", "c"),
        ("params.lr != 'auto'", ""),
        ("params.lr = nan", "d"),
        ("params.model = 'resnet'", "a"),
        ("params.model like 'resnet%'", "ab"),
        ("params.model like 'RES_ET'", "a"),
        ("params.model not like '%50'", "a"),
        ("params.model is null", "cd"),
        ("params.model > 'a'", "a"),
        ("params.model.width = 8", "a"),
        ('params."model"."width" = 8', "a"),
        ('params."model.width" = 8', "a"),
        ("params.deep = true", "a"),
        ("params.deep = 1", "a"),
        ("params.deep = false", "b"),
        ("params.layers = '[64,32]'", "a"),
        ("params.layers like '%64%'", "a"),
        ("params.none is null", "abcd"),
        ("params.lr in (1, 'auto')", "bc"),
        ("params.lr not in (1)", "a"),
        ("not params.lr in (1)", "acd"),
        ("tags.purpose = 'it''s'", "b"),
        ("tags.purpose in ('debug', '100%')", "ad"),
        ("tags.version = '3'", "a"),
        ("tags.version = 3", ""),
        ("name = 'run a'", "a"),
        ("name = 3", ""),
        ("id in ('a', 'd')", "ad"),
        ("experiment = 'text' and status = 'running'", "c"),
        ("status in ('failed', 'running')", "bc"),
        ("STATUS = 'failed' OR Metrics.acc > 0.5", "ab"),
        ("parent is null", "abcd"),
        ("ended is null", "c"),
        ("started >= '2026-11-05'", "bcd"),
        ("started > '2026-11-05'", "cd"),
        ("started < '2026-11-05T00:00:01Z'", "ab"),
        ("started < '2026-11-05 01:00:00+02:00'", "a"),
        ("started = '2026-11-05'", "bc"),
        ("started != '2026-11-05'", "ad"),
        ("started in ('2026-11-01', '2026-11-06')", "ad"),
        ("started not in ('2026-11-01', '2026-11-06')", "bc"),
        ("ended > '2026-11-01' and ended < 1e99", "abd"),
        ("not (status = 'finished' or metrics.acc > 0)", "b"),
        ("not not status = 'finished' and not metrics.acc > 0", "d"),
        ("status = 'finished' or status = 'failed' and experiment = 'text'", "ad"),
        ("  ", "abcd"),
        ("metrics.acc == 0.5 or metrics.acc <> 0.5", "ac"),
    ],
)
def test_meaning(store: Store, where: str, ids: str) -> None:
    assert found(store, where) == ids


@pytest.mark.parametrize(
    ("order_by", "ids"),
    [
        ("metrics.acc desc", "acdb"),
        ("metrics.acc", "cadb"),
        ("experiment, started desc", "dcba"),
        ("EXPERIMENT DESC, id ASC", "abcd"),
        ("params.lr, id", "abcd"),
        ('metrics."train-logloss", metrics.loss desc', "acbd"),
        ("ended", "abdc"),
        ("ended desc", "dbac"),
        ("", "dcba"),
    ],
)
def test_order(store: Store, order_by: str, ids: str) -> None:
    assert "".join(run.id for run in store.runs(order_by=order_by)) == ids


@pytest.mark.parametrize(
    ("where", "message"),
    [
        ("metrics.loss < and", "where: expected a value at column 16: metrics.loss < >>> and"),
        ("metrics.loss <", "where: expected a value at the end: metrics.loss < >>>"),
        ("lr < 1", "where: unknown field 'lr'"),
        ("metrics < 1", "where: expected a name after metrics. at column 8"),
        ("metrics. < 1", "where: unexpected '.'"),
        ("metrics.train-logloss < 1", "where: unexpected '-'"),
        ('status = "failed"', "where: a double quote, which is for names; text goes in single quotes, at column 10"),
        ("status = 'failed", "where: text without its closing quote at column 10"),
        ("(status = 'a'", "where: expected ')' at the end"),
        ("status = 'a')", "where: expected 'and', 'or' or nothing more at column 13"),
        ("status = 'a' status = 'b'", "where: expected 'and', 'or' or nothing more at column 14"),
        ("status", "where: expected one of = != < <= > >= in like is at the end"),
        ("and", "where: expected a field at column 1"),
        ("status in 'a'", "where: expected '(' at column 11"),
        ("status in ()", "where: expected a value at column 12"),
        ("status in ('a',", "where: expected a value at the end"),
        ("status is 'a'", "where: expected 'null' at column 11"),
        ("status like 3", "where: expected a pattern"),
        ("started like '2026%'", "where: expected a pattern"),
        ("started > 'yesterday'", "where: expected a date like '2026-11-05' or '2026-11-05 14:30' at column 11"),
        ("started > '2026-13-45'", "where: expected a date"),
        ("metrics.x < nan", "where: nan is neither less nor more than anything: use = or != at column 13"),
        ("metrics.a < metrics.b", "where: expected a value at column 13"),
        ("not " * 100 + "status = 'a'", "where: nested too deep"),
        ("(" * 5000, "where: nested too deep"),
        (" or ".join(["status = 'a'"] * 5000), "where: more than 400 conditions"),
        ("status in (" + "1, " * 50_000 + "1)", "where: more than 30000 values"),
        (f"name like '{'%' * 60_000}'", "where: a pattern of more than"),
        ("name = 'a\udcff'", "where has characters that are no text"),
        ("status = 'a'; drop table run", "where: unexpected ';'"),
        ("name = 'x' -- comment", "where: unexpected '-'"),
        ("name = ?", "where: unexpected '?'"),
        (42, "where is text, not int"),
    ],
)
def test_faults_point_at_the_spot(store: Store, where: Any, message: str) -> None:
    with pytest.raises(tachograph.QueryError, match=re.escape(message)) as caught:
        store.runs(where=where)
    assert isinstance(caught.value, ValueError)
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 300


@pytest.mark.parametrize(
    ("order_by", "message"),
    [
        ("metrics.acc down", "order_by: expected ',' or nothing more at column 13: metrics.acc >>> down"),
        ("metrics.acc,", "order_by: expected a field at the end"),
        ("acc", "order_by: unknown field 'acc'"),
        ("1", "order_by: expected a field at column 1"),
    ],
)
def test_faults_of_order_by(store: Store, order_by: str, message: str) -> None:
    with pytest.raises(tachograph.QueryError, match=re.escape(message)):
        store.runs(order_by=order_by)


def test_a_fault_in_the_middle_of_a_long_text_is_shown_with_what_is_around_it(store: Store) -> None:
    where = " and ".join(["status = 'a'"] * 100) + " and \n\n status == == " + " or ".join(["status = 'a'"] * 100)
    with pytest.raises(tachograph.QueryError, match=r"status == >>> == status = 'a' or") as caught:
        store.runs(where=where)
    assert len(str(caught.value)) < 200


def test_limits_that_are_allowed_work(store: Store) -> None:
    assert found(store, " or ".join(["status = 'failed'"] * 400)) == "b"
    assert found(store, " and ".join(["metrics.acc > 0.6"] * 400)) == "a"
    assert found(store, "id in (" + ", ".join(f"'{number}'" for number in range(29_000)) + ", 'a')") == "a"
    assert found(store, "(" * 50 + "status = 'failed'" + ")" * 50) == "b"


@given(st.text(max_size=40))
@settings(max_examples=300, deadline=None)
def test_no_text_does_anything_but_compile_or_raise_a_query_error(text: str) -> None:
    for compiled in (query.where, query.order_by):
        try:
            found = compiled(text)
        except tachograph.QueryError:
            continue
        parts = found if isinstance(found, list) else [found]
        assert all(part.text.count("?") == len(part.values) for part in parts)


ODD = st.text(alphabet=st.characters(exclude_categories=["Cs"]), min_size=1, max_size=8)


@given(name=ODD, value=ODD)
@settings(max_examples=200, deadline=None)
def test_no_text_of_the_callers_is_in_the_sql(name: str, value: str) -> None:
    quoted, text = name.replace('"', '""'), value.replace("'", "''")
    sql = query.where(f"params.\"{quoted}\" = '{text}' or tags.\"{quoted}\" like '{text}' and name in ('{text}')")
    assert sql.values == [digest(name), value, digest(name), value, value]
    assert set(sql.text) <= set("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ()'=,? ")


# -- against a second evaluator --

COMPARE = {
    "=": operator.eq, "!=": operator.ne, "<": operator.lt, "<=": operator.le, ">": operator.gt, ">=": operator.ge,
}  # fmt: skip
FIELDS = ["params.lr", "params.model", "metrics.acc", "metrics.loss", "tags.purpose", "experiment", "params.deep"]
LITERALS = ["0.5", "1", "true", "'resnet'", "'debug'", "'vision'", "'auto'", "-1.5e-3"]


def _value(id: str, field: str) -> Any:
    kind, _, name = field.partition(".")
    return RUNS[id][kind].get(name) if name else RUNS[id][kind]


def _literal(text: str) -> Any:
    return text[1:-1] if text.startswith("'") else text == "true" or float(text)


def _holds(id: str, field: str, sign: str, literal: str) -> bool:
    value, other = _value(id, field), _literal(literal)
    if value is None or isinstance(value, str) != isinstance(other, str) or value != value:
        return False
    return bool(COMPARE[sign](value, other))


Tree = tuple[str, set[str]]  # a condition as text, and the runs for which it holds
EVERY = set(RUNS)


def _leaf(field: str, sign: str, literal: str) -> Tree:
    return f"{field} {sign} {literal}", {id for id in EVERY if _holds(id, field, sign, literal)}


def _null(field: str, negated: bool) -> Tree:
    there = {id for id in EVERY if _value(id, field) is not None}
    return f"{field} is {'not ' * negated}null", there if negated else EVERY - there


LEAVES = st.one_of(
    st.builds(_leaf, st.sampled_from(FIELDS), st.sampled_from(list(COMPARE)), st.sampled_from(LITERALS)),
    st.builds(_null, st.sampled_from(FIELDS), st.booleans()),
)
TREES = st.recursive(
    LEAVES,
    lambda inner: st.one_of(
        st.builds(lambda one: (f"not ({one[0]})", EVERY - one[1]), inner),
        st.builds(lambda one, two: (f"({one[0]}) and ({two[0]})", one[1] & two[1]), inner, inner),
        st.builds(lambda one, two: (f"({one[0]}) or ({two[0]})", one[1] | two[1]), inner, inner),
    ),
    max_leaves=8,
)


@pytest.mark.slow
@given(tree=TREES)
@settings(max_examples=300, deadline=None)
def test_conditions_mean_what_they_mean_in_python(store: Store, tree: Tree) -> None:
    text, expected = tree
    assert set(found(store, text)) == expected
