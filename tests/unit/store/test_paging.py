"""A list of runs that is read page by page is the list that is read at once."""

from __future__ import annotations

import base64
import math
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest

import tachograph
from tachograph import events
from tachograph.events import Event, Metrics, Params, RunEnd, RunStart
from tachograph.store.questions import Query
from tachograph.store.store import Store, open_store

SCORES = [0.5, None, math.nan, math.inf, 0.5, -1.0, None, 0.5, 2.0, -math.inf, 0.5]
KINDS = [1, "one", None, 1.0, True, "two", math.nan, 2**60, "One", -3, "one"]


def write(root: Path, number: int) -> None:
    run = f"r{number:02}"
    start = RunStart(
        run=run, writer="0-w", role="owner", host="elsewhere", boot="b", pid=1, born=1, name=f"n{number % 3}",
        experiment="e", parent="r00" if number % 4 == 3 else None,
    )  # fmt: skip
    happened: list[Event] = [start]
    if SCORES[number] is not None:
        happened.append(Metrics(step=0, values={"score": events.written_number(SCORES[number])}))
    happened += [Params(values={"kind": events.written_param(KINDS[number])}), RunEnd(status="finished")]
    folder = root / "runs" / run / "0-w"
    folder.mkdir(parents=True)
    with open(folder / "1.jsonl", "wb") as file:
        for seq, event in enumerate(happened, start=1):
            event.v, event.seq, event.at = events.VERSION, seq, 1.7e9 + number // 2
            file.write(events.encode(event) + b"\n")


@pytest.fixture
def store(root: Path) -> Store:
    for number in range(len(SCORES)):
        write(root, number)
    return open_store()


def ids(store: Store, query: Query, limit: int) -> Iterator[str]:
    after = None
    while True:
        rows, after = store.questions.runs(query, after, limit)
        assert len(rows) <= limit
        yield from (row.id for row in rows)
        if after is None:
            return


@pytest.mark.parametrize("limit", [1, 2, 5, 100])
@pytest.mark.parametrize(
    "order_by",
    [
        None, "started", "id desc", "name, started", "metrics.score", "metrics.score desc", "params.kind",
        "params.kind desc, metrics.score", "name desc, params.kind, metrics.score desc", "ended, metrics.nothing",
    ],
)  # fmt: skip
@pytest.mark.parametrize("where", [None, "metrics.score > 0 or params.kind = 'one'"])
def test_pages_are_the_whole(store: Store, order_by: str | None, where: str | None, limit: int) -> None:
    whole = [run.id for run in store.runs(where=where, order_by=order_by, children=True)]
    assert len(whole) == len(set(whole)) > 5
    assert list(ids(store, Query(where=where, order_by=order_by, children=True), limit)) == whole


def test_what_comes_meanwhile_neither_repeats_nor_skips_anything(root: Path) -> None:
    for number in range(0, len(SCORES) - 1, 2):
        write(root, number)
    store, query = open_store(), Query(order_by="metrics.score desc", children=True)
    store.refresh()
    before = list(ids(store, query, 100))
    found = []
    for number, id in zip(range(1, len(SCORES), 2), ids(store, query, 1), strict=False):
        found.append(id)
        write(root, number)
        store.refresh()
    rows, _ = store.questions.runs(query, None, 100)
    assert len(rows) > len(before)
    assert [id for id in found if id in before] == before[: len([id for id in found if id in before])]
    assert len(found) == len(set(found))


@pytest.mark.parametrize(
    "after",
    ["", "nonsense", "é", base64.urlsafe_b64encode(b"\x93").decode(),
     base64.urlsafe_b64encode(msgspec.msgpack.encode([1])).decode(),
     base64.urlsafe_b64encode(msgspec.msgpack.encode([[], 1.0, "r"])).decode(),
     *(base64.urlsafe_b64encode(msgspec.msgpack.encode(last)).decode()
       for last in ([2**64 - 1, "r"], [math.nan, "r"], ["x", "r"], [1.0, 2], [None, "r"], [1.0, None]))],
)  # fmt: skip
def test_what_is_no_place_in_the_list_is_refused(store: Store, after: str) -> None:
    with pytest.raises(tachograph.QueryError, match="begin anew"):
        store.questions.runs(Query(), after, 10)


def test_an_order_that_is_too_long_is_refused(store: Store) -> None:
    order = ", ".join(["params.kind"] * 26)
    assert len(store.runs(order_by=order, children=True)) == len(SCORES)
    with pytest.raises(tachograph.QueryError, match="more than 25 fields"):
        store.questions.runs(Query(order_by=order), None, 10)
    assert len(list(ids(store, Query(order_by=", ".join(["params.kind"] * 25), children=True), 2))) == len(SCORES)
