"""The query language means in PostgreSQL what it means in SQLite: the same tests, and where they differ."""

# ruff: noqa: F401

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from tests.integrations.postgres.serving import prepared
from tests.parts import postgres
from tests.unit.store.test_query import (
    RUNS,
    moment,
    test_a_fault_in_the_middle_of_a_long_text_is_shown_with_what_is_around_it,
    test_conditions_mean_what_they_mean_in_python,
    test_faults_of_order_by,
    test_faults_point_at_the_spot,
    test_limits_that_are_allowed_work,
    test_meaning,
    test_order,
)

from tachograph import events
from tachograph.events import Event, Metrics, Params, RunEnd, RunStart, Tags
from tachograph.server.api import batch
from tachograph.server.blobs import FolderBlobs
from tachograph.server.postgres.storage import PostgresStorage
from tachograph.store.store import Store


@pytest.fixture(scope="module")
def kept(tmp_path_factory: pytest.TempPathFactory) -> Iterator[PostgresStorage]:
    pool = prepared(postgres.running().new_database())
    yield PostgresStorage(pool, FolderBlobs(tmp_path_factory.mktemp("blobs")))
    pool.close()


@pytest.fixture(scope="module")
def store(kept: PostgresStorage) -> Store:
    for id, run in RUNS.items():
        record(kept, id, run)
    return kept.ask(lambda store: store)


def record(kept: PostgresStorage, id: str, run: dict[str, Any]) -> None:
    happened: list[Event] = [
        RunStart(run=id, writer="0-w", role="owner", host="elsewhere", boot="b", pid=1, born=1,
                 name=f"run {id}", experiment=run["experiment"]),
        Params(values={name: events.written_param(value) for name, value in run["params"].items()}),
        Metrics(values={name: events.written_number(value) for name, value in run["metrics"].items()}),
        Tags(values=run["tags"]),
    ]  # fmt: skip
    if run["status"] != "running":
        happened.append(RunEnd(status=run["status"]))
    lines = []
    for seq, event in enumerate(happened, start=1):
        event.v, event.seq, event.at = 1, seq, moment(run["started"]) + seq - 1
        lines.append(events.encode(event))
    kept.append(id, "0-w", 0, batch.read(id, "0-w", b"\n".join(lines) + b"\n", 1 << 20))
