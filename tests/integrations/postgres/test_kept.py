"""What PostgreSQL keeps: each line as it came, tables that say the same, one writer's batches one after another."""

from __future__ import annotations

import random
import threading
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import psycopg
import pytest
from tests.integrations.postgres.serving import prepared
from tests.integrations.server.serving import lines

from tachograph import events
from tachograph.errors import Error
from tachograph.events import Event, Metrics, Params, Tags
from tachograph.index.schema import SCHEMA_VERSION
from tachograph.server.api import batch
from tachograph.server.blobs import FolderBlobs
from tachograph.server.postgres.pool import Pool
from tachograph.server.postgres.schema import prepare
from tachograph.server.postgres.storage import PostgresStorage
from tachograph.server.storage import Gap
from tachograph.store.store import Store, open_store


@pytest.fixture
def kept(database: str, tmp_path: Path) -> Iterator[PostgresStorage]:
    pool = prepared(database)
    yield PostgresStorage(pool, FolderBlobs(tmp_path))
    pool.close()


def send(kept: PostgresStorage, run: str, writer: str, sent: list[bytes], after: int = 0) -> tuple[int, int]:
    return kept.append(run, writer, after, batch.read(run, writer, b"\n".join(sent) + b"\n", 1 << 24))


def store(kept: PostgresStorage) -> Store:
    return kept.ask(lambda store: store)


def start(run: str) -> bytes:
    return lines(run, "0-w", 0)[0]


def record(kept: PostgresStorage, root: Path, run: str, *happened: Event) -> None:
    """The same in PostgreSQL and in a store on a folder."""
    sent = [start(run)]
    for seq, event in enumerate(happened, start=2):
        event.v, event.seq, event.at = 1, seq, 1.7e9 + seq
        sent.append(events.encode(event))
    send(kept, run, "0-w", sent)
    folder = root / "runs" / run / "0-w"
    folder.mkdir(parents=True)
    (folder / "1.jsonl").write_bytes(b"\n".join(sent) + b"\n")


def test_lines_come_out_byte_for_byte(kept):
    odd = [
        start("r"),
        b'{ "kind": "note",\t"v":1 , "seq" :2, "at":3.0, "text": "a\\u0000b \xc3\xa9 \\ud83d\\ude00"}\r',
        b'{"kind":"telepathy","v":9,"seq":7,"at":4.0,"thought":[1e300,-0.0,12345678901234567890123]}',
        b'{"kind":"metrics","v":1,"seq":8,"at":4.5,"step":1,"values":{"loss":"NaN"}}',
        b'{"kind":"note","v":1,"seq":9,"at":5.0,"text":"' + b"long" * 500_000 + b'"}',
    ]
    assert send(kept, "r", "0-w", odd[:2]) == (2, 2)
    assert send(kept, "r", "0-w", odd[2:], after=2) == (9, 3)
    assert send(kept, "r", "0-w", odd[1:], after=2) == (9, 0)
    assert b"".join(kept.lines("r", "0-w")) == b"\n".join(odd) + b"\n"
    assert [heard.line for heard in kept.tail("r", {"0-w": 2}).new()] == odd[2:]
    assert store(kept).damage == []


def test_nothing_of_a_batch_is_there_where_a_part_of_it_is_refused(kept, monkeypatch):
    send(kept, "r", "0-w", lines("r", "0-w", 5, end=False))
    monkeypatch.setattr("tachograph.index.projection.fold_run", lambda db, run: db.execute("SELECT 1 / 0"))
    with pytest.raises(psycopg.errors.DivisionByZero):
        send(kept, "r", "0-w", lines("r", "0-w", 9)[6:], after=6)
    monkeypatch.undo()
    assert kept.positions("r") == {"0-w": 6}
    assert len(store(kept).run("r").history("m0")) == 5
    assert send(kept, "r", "0-w", lines("r", "0-w", 9)[6:], after=6) == (11, 5)
    with pytest.raises(Gap) as gap:
        send(kept, "r", "0-other", lines("r", "0-other", 9)[6:], after=6)
    assert gap.value.position == 0


@pytest.mark.parametrize(
    "where",
    [
        "params.seed = 9007199254740993",
        "params.seed = 9007199254740992",
        "params.seed > 9007199254740992",
        "params.big = 9223372036854775807",
        "params.third = 0.30000000000000004",
        "params.third = 0.3",
        "params.inf > 1e300",
        "params.inf = inf",
        "params.tiny > 0",
        "params.mixed in (1, 'a')",
        "params.mixed not in (2, 'b')",
        "params.mixed not in (nan, 'a')",
        "params.nan not in (nan)",
        "params.nan != nan",
        "params.true = 1 and params.true = true",
        "params.text = 'É'",
        "params.text like 'é'",
        "params.text like 'a\\%'",
        "params.text > 'Z'",
        "metrics.m = 1e400",
        "tags.t like '%\\_%'",
    ],
)
def test_numbers_and_texts_compare_as_in_sqlite(kept, root, where):
    values: list[dict[str, Any]] = [
        {"seed": 9007199254740993, "big": 2**63 - 1, "third": 0.1 + 0.2, "mixed": 1, "text": "É", "true": True},
        {"seed": 9007199254740992, "big": 2**70, "third": 0.3, "mixed": "a", "text": "a\\b", "true": "1"},
        {"seed": 9007199254740992.0, "inf": float("inf"), "tiny": 5e-324, "mixed": 1.0, "text": "a%", "true": 1},
        {"nan": float("nan"), "mixed": None, "text": "é", "inf": float("-inf"), "tiny": -5e-324},
        {"nan": 1.0, "mixed": [1, "a"], "text": "\x01"},
    ]
    for number, params in enumerate(values):
        written = {name: events.written_param(value) for name, value in params.items()}
        metric = Metrics(step=2**63 - 1, values={"m": "Infinity" if number else 1.0})
        record(kept, root, f"r{number}", Params(values=written), metric, Tags(values={"t": "a_b" if number else "ab"}))
    there, here = store(kept).runs(where=where), open_store(root).runs(where=where)
    assert [run.id for run in there] == [run.id for run in here]
    order = {"order_by": "params.mixed desc, params.text, params.third"}
    assert [run.id for run in store(kept).runs(**order)] == [run.id for run in open_store(root).runs(**order)]
    for run in here:
        assert repr(store(kept).run(run.id).params) == repr(run.params)
        assert store(kept).run(run.id).next_steps() == run.next_steps() == {"m": 2**63}


def test_a_metric_is_compared_with_the_nearest_floating_point_number(kept, root):
    """SQLite compares it with the exact number: here the two differ, beyond 2 to the power of 53."""
    record(kept, root, "r", Metrics(step=1, values={"m": 9007199254740992.0}))
    where = "metrics.m = 9007199254740993"
    assert (len(store(kept).runs(where=where)), len(open_store(root).runs(where=where))) == (1, 0)


def test_a_character_that_texts_can_not_have_is_pictured_where_it_is_compared(kept, root):
    """And where names have it; values are as they were recorded."""
    record(kept, root, "r", Params(values={"a\x00b": "x\x00y"}), Tags(values={"t": "x\x00y"}))
    run = store(kept).run("r")
    assert run.params == {"a\N{SYMBOL FOR NULL}b": "x\x00y"}
    assert run.tags == {"t": "x\N{SYMBOL FOR NULL}y"}


def text(length: int) -> str:
    """Something that can't be compressed."""
    chance = random.Random(7)
    return "".join(chr(chance.randrange(0x4E00, 0x9F00)) for _ in range(length))


@pytest.mark.parametrize("length", [800, 1000, 100_000])
def test_long_names_and_values(kept, root, length):
    name, long = text(length), text(100_000)
    record(kept, root, "r", Params(values={name: long}), Tags(values={name: long}), Metrics(step=1, values={name: 1.0}))
    run = store(kept).run("r")
    assert (run.params, run.tags, run.metrics) == ({name: long}, {name: long}, {name: 1.0})
    assert run.history(name).values.tolist() == [1.0]
    assert (run.summary(name).last, run.next_steps()) == (1.0, {name: 2})
    found = store(kept).runs(where=f'params."{name}" = \'{long}\' and metrics."{name}" = 1', order_by=f'tags."{name}"')
    assert [run.id for run in found] == ["r"]


def test_what_a_foreign_header_says_may_be_long(kept):
    long = text(50_000)
    header = events.decode(start("r"))
    header.parent = header.name = header.experiment = long
    send(kept, "r", "0-w", [events.encode(header)])
    (run,) = store(kept).runs(children=True)
    assert (run.parent_id, run.name, run.experiment) == (long, long, long)
    assert [run.id for run in store(kept).runs(long, where=f"parent = '{long}'", children=True)] == ["r"]


def test_one_writer_waits_for_itself_and_for_no_other(kept, database):
    sent = lines("r", "0-w", 20)
    send(kept, "r", "0-w", sent[:5])
    send(kept, "r", "1-w", lines("r", "1-w", 2))
    answers: list[tuple[int, int]] = []
    again = [threading.Thread(target=lambda: answers.append(send(kept, "r", "0-w", sent, after=0))) for _ in range(3)]
    with psycopg.connect(database) as other:
        other.execute("SELECT no FROM tachograph.writer WHERE id = '0-w' FOR UPDATE")
        for thread in again:
            thread.start()
        assert send(kept, "r", "1-w", lines("r", "1-w", 30), after=4) == (32, 28)
        assert send(kept, "other", "0-w", lines("other", "0-w", 30)) == (32, 32)
        assert answers == []
    for thread in again:
        thread.join(30)
    assert sorted(answers) == [(22, 0), (22, 0), (22, 17)]
    assert b"".join(kept.lines("r", "0-w")).splitlines() == sent


def test_writers_of_one_run_at_once_add_up_to_it(kept):
    def write(number: int) -> None:
        sent = lines("r", f"{number}-w", 100, names=5)
        for at in range(0, len(sent), 7):
            send(kept, "r", f"{number}-w", sent[at : at + 7], after=at)

    threads = [threading.Thread(target=write, args=(number,)) for number in range(12)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    run = store(kept).run("r")
    assert kept.positions("r") == {f"{number}-w": 102 for number in range(12)}
    assert (run.status, len(run.writers)) == ("finished", 12)
    assert [len(run.history(f"m{number}")) for number in range(5)] == [1200] * 5
    assert run.ended is not None
    assert run.ended.timestamp() == 1.7e9 + 102


def test_a_new_version_makes_its_tables_of_what_came(kept, database):
    sent = lines("r", "0-w", 3000, names=3)
    for at in range(0, len(sent), 500):
        send(kept, "r", "0-w", sent[at : at + 500], after=at)
    before = store(kept).run("r")
    expected = (before.metrics, before.summary("m1"), before.status)
    with psycopg.connect(database) as other:
        other.execute("UPDATE tachograph.version SET version = 1")
        other.execute("DROP TABLE tachograph.metric, tachograph.chunk")
    pool = prepared(database)
    after = store(PostgresStorage(pool, FolderBlobs(Path()))).run("r")
    assert (after.metrics, after.summary("m1"), after.status) == expected
    assert send(kept, "r", "0-w", sent) == (3002, 0)
    assert pool.rows("SELECT version FROM version") == [(SCHEMA_VERSION,)]
    pool.close()


def test_a_newer_version_is_left_alone(kept, database):
    with psycopg.connect(database) as other:
        other.execute("UPDATE tachograph.version SET version = 99")
    with closing(Pool(database)) as pool, pytest.raises(Error, match=r"newer tachograph \(version 99\)"):
        prepare(pool)


def test_several_that_prepare_it_at_once(database):
    faults: list[BaseException] = []

    def begin() -> None:
        try:
            prepared(database).close()
        except BaseException as fault:  # noqa: BLE001 - told by the test's own thread
            faults.append(fault)

    threads = [threading.Thread(target=begin) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not faults
    with closing(Pool(database)) as pool:
        assert pool.rows("SELECT version FROM version") == [(SCHEMA_VERSION,)]
