"""Wherever runs are kept, a store tells the same of them: what ``open_store`` gives for each kind of place, beside the
folder in which the runs were recorded.

A place is a function that makes the runs of a folder readable under another address; those in ``SENT`` get them by
``tachograph sync``, which leaves out what is damaged or was removed. A new kind of place is an entry in ``PLACES``.
"""

from __future__ import annotations

import math
import os
import struct
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from functools import cache
from pathlib import Path
from typing import Any

import msgspec
import pytest
from tests.integrations.postgres.serving import DatabaseServer
from tests.integrations.server.serving import Server
from tests.parts import postgres, seaweedfs
from tests.parts.recorded import Recorded

import tachograph
from tachograph.lineage.graph import Direction
from tachograph.store import wire_format
from tachograph.store.document import of_everything, plain
from tachograph.store.history import Summary
from tachograph.store.run_record import RunRecord
from tachograph.store.store import Store, open_store

# -- places: of a folder with runs, and an empty one for whatever is needed, they give the address --

Place = Callable[[Path, Path], AbstractContextManager[str]]


@contextmanager
def folder(recorded: Path, own: Path) -> Iterator[str]:
    yield str(recorded)


@contextmanager
def file_url(recorded: Path, own: Path) -> Iterator[str]:
    yield recorded.as_uri()


@contextmanager
def server(recorded: Path, own: Path) -> Iterator[str]:
    """A server on the same folder."""
    running = Server(recorded)
    yield running.url
    running.kill()


@contextmanager
def other_server(recorded: Path, own: Path) -> Iterator[str]:
    """A server that was sent the runs."""
    running = Server(own / "served")
    sync(recorded, running.url)
    yield running.url
    running.kill()


@contextmanager
def bucket(recorded: Path, own: Path) -> Iterator[str]:
    """A bucket that was sent the runs."""
    running = seaweedfs.running()
    with pytest.MonkeyPatch.context() as patch:
        for name, value in running.environment.items():
            patch.setenv(name, value)
        url = running.new_bucket()
        sync(recorded, url)
        yield url


@contextmanager
def database(recorded: Path, own: Path) -> Iterator[str]:
    """A server that keeps its runs in PostgreSQL, and was sent them."""
    running = DatabaseServer(own / "served", postgres.running().new_database())
    sync(recorded, running.url)
    yield running.url
    running.kill()
    running.pool.close()


PLACES: dict[str, Place] = {
    "folder": folder, "file": file_url, "server": server, "other server": other_server, "bucket": bucket,
    "database": database,
}  # fmt: skip
SENT = {"other server", "bucket", "database"}


def sync(recorded: Path, url: str) -> None:
    """Send all runs, and files."""
    from tachograph.cli import main

    before = os.environ.get("TACHOGRAPH_DIR", "")
    os.environ["TACHOGRAPH_DIR"] = str(recorded)
    try:
        main(["sync", "--to", url])
    finally:
        os.environ["TACHOGRAPH_DIR"] = before


@pytest.fixture(scope="module")
def recorded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    made = Recorded(tmp_path_factory.mktemp("recorded"))
    yield made.root
    made.close()


@pytest.fixture(scope="module", params=PLACES)
def place(request: pytest.FixtureRequest, recorded: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The name of the place, and its address."""
    cache = tmp_path_factory.mktemp("cache")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CACHE_HOME", str(cache))
        with PLACES[request.param](recorded, tmp_path_factory.mktemp("place")) as url:
            yield f"{request.param} {url}"


@pytest.fixture
def here(recorded: Path) -> Iterator[Store]:
    """The folder's own store."""
    store = open_store(recorded)
    yield store
    store.close()


@pytest.fixture
def store(place: str) -> Iterator[Store]:
    """The same runs, where they are kept."""
    store = open_store(place.rpartition(" ")[2])
    yield store
    store.close()


@pytest.fixture
def is_whole(place: str) -> bool:
    """Whether damage and removals are known there, too."""
    return place.rpartition(" ")[0] not in SENT


# -- what is told of each run --


def curves(run: RunRecord) -> dict[str, Any]:
    """Every point to the bit."""
    found = {name: run.history(name) for name in [*run.metrics, *run.system]}
    return {name: (one.steps.tobytes(), one.times.tobytes(), one.values.tobytes()) for name, one in found.items()}


def files(run: RunRecord) -> list[Any]:
    return [
        (one.name, one.kind, one.digest, one.size, one.step, one.filename, one.members, one.meta, one.released)
        for one in run.artifacts
    ]


FACTS: dict[str, Callable[[RunRecord], Any]] = {
    "itself": lambda run: (run.id, run.name, run.experiment, run.status, run.opener, run.parent_id, repr(run)),
    "times": lambda run: (run.started, run.ended, run.seconds, run.overhead),
    "params": lambda run: run.params,
    "tags": lambda run: run.tags,
    "metrics": lambda run: run.metrics,
    "system": lambda run: run.system,
    "histories": curves,
    "summaries": lambda run: {name: rounded(run.summary(name)) for name in [*run.metrics, *run.system]},
    "environment": lambda run: run.environment,
    "artifacts": files,
    "datasets": lambda run: run.datasets,
    "links": lambda run: run.links,
    "notes": lambda run: run.notes,
    "console": lambda run: run.console,
    "error": lambda run: run.error,
    "writers": lambda run: run.writers,
    "parent": lambda run: run.parent and run.parent.id,
    "children": lambda run: [child.id for child in run.children],
    "keepers": lambda run: [keeper.id for one in run.artifacts for keeper in run.keepers(one.digest)],
    "next steps": lambda run: run.next_steps(),
    "html": lambda run: run._repr_html_(),
}


def exact(value: Any) -> Any:
    """A value that is equal to another one where they are the same in every bit, and of one type."""
    if isinstance(value, float):
        return struct.pack("<d", value) if not math.isnan(value) else "NaN"
    if isinstance(value, bool | int):
        return type(value).__name__, value
    if isinstance(value, dict):
        return {key: exact(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [exact(item) for item in value]
    if isinstance(value, msgspec.Struct):
        return exact(msgspec.structs.asdict(value))
    return value


def rounded(summary: Summary) -> Summary:
    return msgspec.structs.replace(summary, mean=round_off(summary.mean))


def round_off(mean: Any) -> Any:
    """The last digits depend on the pieces that came together, in which it was added up."""
    return float(f"{mean:.12g}") if isinstance(mean, float) else mean


def told(store: Store, fact: str) -> dict[str, Any]:
    return {run.id: exact(FACTS[fact](run)) for run in store.runs(children=True)}


@cache
def told_here(recorded: Path, fact: str) -> dict[str, Any]:
    """What the folder says, asked once."""
    store = open_store(recorded)
    return told(store, fact)


@pytest.mark.parametrize("fact", FACTS)
def test_each_fact(store: Store, recorded: Path, fact: str) -> None:
    assert told(store, fact) == told_here(recorded, fact)


@pytest.mark.parametrize("fact", FACTS)
def test_each_fact_in_small_parts(store: Store, recorded: Path, fact: str, monkeypatch: pytest.MonkeyPatch) -> None:
    for question, most in wire_format.MOST.items():
        monkeypatch.setitem(wire_format.MOST, question, most and 2)
    wire_format.form.cache_clear()
    try:
        assert told(store, fact) == told_here(recorded, fact)
    finally:
        wire_format.form.cache_clear()


@pytest.mark.parametrize("direction", ["up", "down"])
def test_lineage(store: Store, here: Store, direction: Direction) -> None:
    for run in here.runs(children=True):
        assert store.lineage(run.id, direction).plain() == here.lineage(run.id, direction).plain()


def test_there_is_something_of_everything(here: Store) -> None:
    """Else the tests above would have said little."""
    for fact, read in FACTS.items():
        assert any(read(run) for run in here.runs(children=True)), fact
    assert {run.status for run in here.runs(children=True)} == {"running", "finished", "failed", "crashed"}


def test_what_is_set_on_a_server_is_what_was_set(store: Store) -> None:
    """Beside what was recorded, not beside another reader."""
    run = store.run("rich")
    assert run.params["layers"] == [64, 32]
    assert math.isnan(run.params["nan"])
    assert (run.params["inf"], run.params["on"], run.params["none"]) == (math.inf, True, None)
    assert run.history("odd").values[2:].tolist() == [math.inf, -math.inf, 5e-324, -0.0, 1.7976931348623157e308]
    assert run.summary("loss").count == len(run.history("loss")) == 9000
    assert run.history("backwards").steps.tolist() == [5, 3, 1]
    assert run.console[-2:] == ["lines", "on standard error"]
    assert [note.text for note in run.notes] == ["a note", "another"]
    assert store.run("failed").error.message == "it was 'wrong' all along"


# -- which runs --

QUERIES: list[dict[str, Any]] = [
    {}, {"children": True}, {"experiment": "second"}, {"experiment": "second", "children": True},
    {"experiment": "nothing"}, {"limit": 0}, {"limit": 3}, {"limit": 1000, "order_by": "name"},
    {"where": "metrics.score > 0.4", "children": True}, {"where": "metrics.score = nan"},
    {"where": "params.lr = 'high' or params.kind = 1", "children": True},
    {"where": "tags.\"a'b\" = 'c'"}, {"where": "metrics.\"acc'uracy/größe 🦊\" is not null"},
    {"where": "status in ('failed', 'crashed')"}, {"where": "name like 'T%'"},
    {"where": "parent is not null", "children": True},
    {"where": "started > '2020-01-01' and ended is not null"}, {"where": "not params.lr >= 0", "children": True},
    {"order_by": "metrics.score desc, name", "children": True}, {"order_by": "params.lr", "children": True},
    {"order_by": "params.kind desc, started", "children": True, "limit": 5}, {"order_by": "started"},
]  # fmt: skip


@pytest.mark.parametrize("query", QUERIES, ids=str)
def test_queries(store: Store, here: Store, query: dict[str, Any]) -> None:
    expected = [run.id for run in here.runs(**query)]
    assert [run.id for run in store.runs(**query)] == expected
    assert [run.id for run in store.scan(**query)] == expected


@pytest.mark.parametrize(
    "query", [{"where": "metrics.loss <"}, {"where": "sorted = 1"}, {"order_by": "metrics."}, {"where": "'"}], ids=str
)
def test_queries_that_cannot_be_read(store: Store, here: Store, query: dict[str, Any]) -> None:
    with pytest.raises(tachograph.QueryError) as expected:
        here.runs(**query)
    with pytest.raises(tachograph.QueryError) as raised:
        store.runs(**query)
    assert str(raised.value) == str(expected.value)
    with pytest.raises(tachograph.QueryError):
        store.scan(**query)


@pytest.mark.parametrize("limit", [-1, True, 1.5, "3"])
def test_limits_that_are_none(store: Store, limit: Any) -> None:
    with pytest.raises(ValueError, match="limit is a number of runs"):
        store.runs(limit=limit)


def test_a_run_is_found_by_all_that_means_it(store: Store, here: Store) -> None:
    for run in here.runs(children=True):
        assert store.run(run.id).id == store.run(run).id == run.id
    assert store.run("latest").id == here.run("latest").id
    assert store.run("rich").name == "rich"
    assert store.run("letting").id == "letting-go"


@pytest.mark.parametrize("key", ["nope", "twin", "2", "", "'; DROP TABLE run", "rich\0", "größe 🦊", 3, None])
def test_a_run_that_is_not_found(store: Store, here: Store, key: Any) -> None:
    with pytest.raises(tachograph.NotFound) as expected:
        here.run(key)
    with pytest.raises(tachograph.NotFound) as raised:
        store.run(key)
    assert str(raised.value).replace(store.name, here.name) == str(expected.value)


def test_a_metric_or_file_that_a_run_does_not_have(store: Store, here: Store) -> None:
    for name, ask in {
        "metric": lambda run: run.history("no\0thing"), "metric too": lambda run: run.summary("nothing"),
        "artifact": lambda run: run.artifact("nothing"), "table": lambda run: run.table("model"),
    }.items():  # fmt: skip
        errors = []
        for place in (here, store):
            with pytest.raises(tachograph.NotFound) as raised:
                ask(place.run("rich"))
            errors.append(str(raised.value))
        assert errors[0] == errors[1], name


@pytest.mark.parametrize("odd", [5, None, b"loss", ["loss"], {}], ids=str)
def test_a_name_that_is_no_text(store: Store, odd: Any) -> None:
    run = store.run("rich")
    asked: list[Callable[[Any], object]] = [run.history, run.summary, run.artifact, run.table, run.keepers, store.run]
    for ask in [*asked, lambda name: run.summaries([name]), store.keepers]:
        with pytest.raises(tachograph.NotFound, match=f"not by a value of type {type(odd).__name__}"):
            ask(odd)


@pytest.mark.parametrize("odd", [5, 0, b"loss", ["loss"], {}], ids=str)
@pytest.mark.parametrize("argument", ["experiment", "where", "order_by"])
def test_a_query_of_what_is_no_text(store: Store, argument: str, odd: Any) -> None:
    with pytest.raises(tachograph.QueryError, match=f"{argument} is .*, not {type(odd).__name__}"):
        store.runs(**{argument: odd})


def test_experiments(store: Store, here: Store) -> None:
    assert store.experiments() == here.experiments() == ["first", "ranks", "second"]


# -- files --


def test_files_are_handed_out_under_their_names_and_loaded(store: Store) -> None:
    run = store.run("rich")
    assert run.artifact("model").path().name == "model.bin"
    assert run.artifact("model").path().read_bytes() == bytes(range(256)) * 5000
    assert run.artifact("notes.txt").load() == "newer"
    folder = run.artifact("folder").path()
    assert [path.read_text() for path in (folder / "one.txt", folder / "deep" / "two.txt")] == ["one", "two"]
    [first, second] = run.table("confusion")
    assert first["a"] == 1
    assert math.isnan(first["b"])
    assert second == {"a": 2, "b": 0.5, "c": None}
    with pytest.raises(tachograph.Error, match="no loader"):
        run.artifact("model").load()


def test_files_that_were_let_go_of_or_are_missing(store: Store) -> None:
    first, second = store.run("letting-go").artifacts
    assert (first.released, second.released) == (True, False)
    with pytest.raises(tachograph.NotFound, match="artifact epoch of step 0: its bytes were let go of, because of a b"):
        first.path()
    with pytest.raises(tachograph.Damaged, match="is missing"):
        second.path()


# -- as tables, as documents, as they are shown --


def test_frames(store: Store, here: Store) -> None:
    pandas, polars = pytest.importorskip("pandas"), pytest.importorskip("polars")
    runs, expected = store.runs(children=True), here.runs(children=True)
    pandas.testing.assert_frame_equal(runs.to_pandas(), expected.to_pandas())
    assert runs.to_polars().equals(expected.to_polars(), null_equal=True)
    assert polars.DataFrame().equals(polars.DataFrame())
    assert runs._repr_html_() == expected._repr_html_()
    history = store.run("rich").history("loss").to_pandas()
    pandas.testing.assert_frame_equal(history, here.run("rich").history("loss").to_pandas())


def test_documents(store: Store, here: Store) -> None:
    for run in here.runs(children=True):
        expected, found = (plain(of_everything(one)) for one in (run, store.run(run.id)))
        del expected["dir"], found["dir"]
        for summary in (*expected["summary"].values(), *found["summary"].values()):
            summary["mean"] = round_off(summary["mean"])
        assert found == expected


def test_a_runs_folder_is_told_where_its_journals_lie_on_this_machine(store: Store, recorded: Path) -> None:
    """And not elsewhere: what is kept here of a bucket is a copy, which comes and goes."""
    run = store.run("rich")
    if store.questions.root is not None:
        assert run.dir == recorded / "runs" / run.id
        return
    with pytest.raises(tachograph.NotFound, match="is no folder: this works where the journals lie"):
        print(run.dir)
    assert plain(of_everything(run))["dir"] is None


# -- what is wrong --


def test_damage(store: Store, here: Store, is_whole: bool) -> None:
    def placed(store: Store, what: str) -> list[Any]:
        root = str(store.questions.root or "")
        return [
            (str(one.path).removeprefix(root).lstrip("/"), one.line, one.reason, one.torn)
            for one in getattr(store, what)
        ]

    for what in ("damage", "torn"):
        expected = placed(here, what)
        assert len(expected) == 1
        assert placed(store, what) == (expected if is_whole else [])


def test_removed_runs(store: Store, here: Store, is_whole: bool) -> None:
    with pytest.raises(tachograph.NotFound, match="was removed on" if is_whole else "no run 'gone' in"):
        store.run("gone")
    assert store.runs(where="name = 'gone'") == []
