"""Recording, and reading it back."""

from __future__ import annotations

import hashlib
import json
import math
import os
import pickle
import stat
import subprocess
import sys
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import tachograph
from tachograph import events
from tachograph.index import chunks
from tachograph.record.run import Run
from tachograph.store import artifacts, history
from tachograph.store.local import FolderFiles
from tachograph.store.run_record import RunRecord
from tachograph.store.store import open_store


@pytest.fixture
def recorded(tmp_path: Path) -> RunRecord:
    """A run with something of everything."""
    before = datetime.now(UTC)
    with tachograph.start_run("full", experiment="e", params={"lr": 0.1, "net": {"width": 8}}, tags={"k": "v"}) as run:
        for step, value in enumerate([0.5, math.nan, 0.1, 0.9]):
            run.log({"loss": value, "acc": 1 - value}, step=step * 10)
        run.log_note("a remark")
        run.log_note("another")
        run.log_table("confusion", [{"a": 1, "b": [math.nan, "x"]}, {"a": 2, "b": None}])
        run.log_dataset([[1, 2], [3, 4]], name="train", role="train", source="here", version="7")
        run.log_artifact(_file(tmp_path / "data.txt", "hello"), kind="data", step=3)
        run.log_artifact(_file(tmp_path / "folder" / "inner" / "x.json", "[1, 2]").parent.parent)
        print("printed\nlines")
        with run.child("inner") as child:
            child.log({"z": 1})
    found = open_store().run(run.id)
    assert found.ended
    assert before - timedelta(seconds=1) < found.started <= found.ended <= datetime.now(UTC)
    return found


def _file(path: Path, content: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(content)
    return path


# -- a run --


def test_what_was_recorded_is_read_back(recorded: RunRecord, root: Path) -> None:
    run = recorded
    assert (run.name, run.experiment, run.status, run.opener) == ("full", "e", "finished", "user")
    assert run.params == {"lr": 0.1, "net.width": 8}
    assert run.tags == {"k": "v"}
    assert run.metrics == {"loss": 0.9, "acc": pytest.approx(0.1)}
    assert run.dir == root / "runs" / run.id
    assert run.error is None
    assert [(note.text, note.source) for note in run.notes] == [("a remark", "user"), ("another", "user")]
    assert all(note.at.tzinfo is UTC for note in run.notes)
    assert run.console[:2] == ["printed", "lines"]
    assert run.environment["python"]
    assert [child.name for child in run.children] == ["inner"]
    assert run.children[0].parent is not None
    assert run.children[0].parent.id == run.id == run.children[0].parent_id
    assert run.parent is None
    assert [(writer.rank, writer.role, writer.status, writer.pid) for writer in run.writers] == [
        (0, "owner", "finished", os.getpid())
    ]
    assert run.next_steps()["loss"] == 31
    assert repr(run) == f"<tachograph run full ({run.id}), finished>"


def test_history(recorded: RunRecord) -> None:
    found = recorded.history("loss")
    assert len(found) == 4
    assert found.steps.tolist() == [0, 10, 20, 30]
    assert found.steps.dtype == np.int64
    assert np.array_equal(found.values, [0.5, math.nan, 0.1, 0.9], equal_nan=True)
    assert (np.diff(found.times) >= 0).all()
    assert abs(found.times[0] - recorded.started.timestamp()) < 60
    frame = found.to_pandas()
    assert list(frame.columns) == ["step", "time", "value"]
    assert str(frame.time.dt.tz) == "UTC"
    with pytest.raises(tachograph.NotFound, match=r"^run .* has no metric 'nope'; it has acc, loss") as caught:
        recorded.history("nope")
    assert isinstance(caught.value, LookupError)


def test_summary_leaves_nan_out_but_counts_it(recorded: RunRecord) -> None:
    found = recorded.summary("loss")
    assert (found.count, found.first, found.last, found.min, found.max) == (4, 0.5, 0.9, 0.1, 0.9)
    assert (found.min_step, found.max_step) == (20, 30)
    assert found.mean == pytest.approx(0.5)
    with pytest.raises(tachograph.NotFound):
        recorded.summary("nope")


def test_a_metric_that_is_always_nan(root: Path) -> None:
    with tachograph.start_run() as run:
        run.log({"x": math.nan})
    found = open_store().run(run.id).summary("x")
    assert found.count == 1
    assert all(math.isnan(value) for value in (found.first, found.last, found.min, found.max, found.mean))
    assert (found.min_step, found.max_step) == (None, None)


VALUES = st.lists(st.floats(width=32) | st.sampled_from([math.nan, math.inf, -math.inf]), min_size=1, max_size=30)


@given(VALUES)
@settings(max_examples=200, deadline=None)
def test_a_summary_is_that_of_the_history(values: list[float]) -> None:
    steps = np.arange(len(values)) % 7
    points = chunks.Points(np.arange(len(values)), steps, np.zeros(len(values)), np.array(values))
    cuts = [points[:3], points[3:4], points[4:]]
    with np.errstate(invalid="ignore"):
        found = history.summarize([[part.digest(0.0) for part in cuts if len(part)]])
        numbers = points.values[~np.isnan(points.values)]
        assert np.isclose(found.mean, numbers.mean() if len(numbers) else math.nan, equal_nan=True)
    assert (found.count, repr(found.first), repr(found.last)) == (len(values), repr(values[0]), repr(values[-1]))
    if len(numbers):
        assert (found.min, found.max) == (numbers.min(), numbers.max())
        assert found.min_step == steps[points.values == found.min].min()
        assert found.max_step == steps[points.values == found.max].min()


def test_an_exception_is_told(root: Path) -> None:
    with pytest.raises(ValueError, match="oh"), tachograph.start_run() as run:
        raise ValueError("oh")
    found = open_store().run(run.id)
    assert found.status == "failed"
    assert found.error is not None
    assert (found.error.type, found.error.message) == ("ValueError", "oh")
    assert 'raise ValueError("oh")' in found.error.traceback


def test_the_first_failure_of_a_job_is_the_runs_whatever_comes_first(root: Path, tmp_path: Path) -> None:
    ranks = [Run(root, "job", role="worker" if rank else "owner", rank=rank) for rank in range(3)]
    for rank in ranks:
        rank.log({"loss": 0.5})
    for rank, error in [(2, ValueError("boom")), (0, RuntimeError("Connection closed by peer")), (1, OSError("reset"))]:
        ranks[rank].finish("failed", error)
    cause = root / "runs" / "job" / ranks[2].writer
    cause.rename(tmp_path / "late")
    assert open_store().run("job").error.message == "Connection closed by peer"
    (tmp_path / "late").rename(cause)
    found = open_store().run("job")
    assert (found.status, found.error.type, found.error.message) == ("failed", "ValueError", "boom")
    assert found.failure is not None
    assert found.failure.rank == 2
    errors = sorted((writer.rank, writer.error.message) for writer in found.writers if writer.error)
    assert errors == [(0, "Connection closed by peer"), (1, "reset"), (2, "boom")]


def test_a_run_that_finished_has_no_error_of_another_rank(root: Path) -> None:
    ranks = [Run(root, "job", role="worker" if rank else "owner", rank=rank) for rank in range(2)]
    for rank, error in zip(ranks, [None, ValueError("boom")], strict=True):
        rank.log({"loss": 0.5})
        rank.finish("failed" if error else "finished", error)
    assert open_store().run("job").error is None


def test_a_run_that_is_open_is_running(root: Path) -> None:
    run = tachograph.start_run()
    run.log({"x": 1})
    found = open_store().run(run.id)
    assert (found.status, found.ended, found.metrics) == ("running", None, {"x": 1})
    run.finish("interrupted")
    assert found.status == "running"  # what was read stays what it was
    assert open_store().run(run.id).status == "interrupted"


def test_a_resumed_run_goes_on(root: Path) -> None:
    with tachograph.start_run("n") as run:
        run.log({"x": 1})
    with tachograph.start_run(resume=run.id) as again:
        assert open_store().run(run.id).status == "running"
        again.log({"x": 2})
    found = open_store().run(run.id)
    assert found.status == "finished"
    assert found.history("x").steps.tolist() == [0, 1]
    assert [writer.attempt for writer in found.writers] == [0, 1]


def test_the_last_values_of_the_hardware_stand_apart(root: Path) -> None:
    with tachograph.start_run() as run:
        run.log({"system/mine": 12.0, "loss": 1.0})
    found = open_store().run(run.id)
    assert found.metrics == {"loss": 1.0}
    assert found.system["system/mine"] == 12.0
    assert found.history("system/mine").values[0] == 12.0


def test_datasets(recorded: RunRecord) -> None:
    (found,) = recorded.datasets
    assert (found.name, found.role, found.rows, found.columns) == ("train", "train", 2, 2)
    assert (found.source, found.version) == ("here", "7")
    assert found.digest
    assert found.profile


# -- artifacts --


def test_artifacts(recorded: RunRecord) -> None:
    assert [(each.name, each.kind) for each in recorded.artifacts] == [
        ("confusion", "table"), ("data.txt", "data"), ("folder", "file"),
    ]  # fmt: skip
    found = recorded.artifact("data.txt")
    assert (found.size, found.step, found.filename) == (5, 3, "data.txt")
    assert found.digest == "sha256:" + hashlib.sha256(b"hello").hexdigest()
    assert found.path().name == "data.txt"
    assert found.path().read_text() == "hello"
    assert not stat.S_IMODE(found.path().stat().st_mode) & 0o222
    assert found.load() == "hello"
    folder = recorded.artifact("folder")
    assert folder.members is not None
    assert [member.path for member in folder.members] == ["inner/x.json"]
    assert folder.path().name == "folder"
    assert (folder.path() / "inner" / "x.json").read_text() == "[1, 2]"
    with pytest.raises(tachograph.NotFound, match=r"has no artifact 'nope'; it has confusion, data.txt, folder$"):
        recorded.artifact("nope")


def test_the_newest_of_a_name_counts(root: Path, tmp_path: Path) -> None:
    with tachograph.start_run() as run:
        for content in ("old", "new"):
            run.log_artifact(_file(tmp_path / "a.txt", content), name="a")
        run.log_table("a", [{"x": 1}])
        run.log_artifact(_file(tmp_path / "b.txt", "newest"), name="a")
    found = open_store().run(run.id)
    assert found.artifact("a").load() == "newest"
    assert found.table("a") == [{"x": 1}]
    assert [each.filename for each in found.artifacts] == ["b.txt", "a.jsonl"]


def test_tables(recorded: RunRecord) -> None:
    rows = recorded.table("confusion")
    assert repr(rows) == "[{'a': 1, 'b': [nan, 'x']}, {'a': 2, 'b': None}]"
    with pytest.raises(tachograph.NotFound, match=r"has no table 'data\.txt'; it has confusion"):
        recorded.table("data.txt")


def test_a_table_whose_name_has_a_slash(root: Path) -> None:
    with tachograph.start_run() as run:
        run.log_table("val/confusion", [{"x": 1}])
    assert open_store().run(run.id).table("val/confusion") == [{"x": 1}]


def test_a_blob_that_was_changed_or_lost_is_damage(recorded: RunRecord, root: Path) -> None:
    found = recorded.artifact("data.txt")
    found.path()
    blob = root / "blobs" / found.digest[7:9] / found.digest[7:]
    blob.chmod(0o644)
    blob.write_text("other")
    for path in (root / "cache").rglob("data.txt"):
        path.unlink()
    with pytest.raises(tachograph.Damaged, match=r"^artifact data.txt: .* does not match its digest; restore it from"):
        found.path()
    blob.unlink()
    with pytest.raises(tachograph.Damaged, match=r"is missing; restore it"):
        found.load()


def test_a_copy_that_was_changed_is_made_again(recorded: RunRecord) -> None:
    found = recorded.artifact("folder")
    for path in [found.path() / "inner" / "x.json", found.path() / "inner" / "more.txt"]:
        path.unlink(missing_ok=True)
        path.write_text("changed")
    assert (found.path() / "inner" / "x.json").read_text() == "[1, 2]"
    assert [path.name for path in found.path().rglob("*")] == ["inner", "x.json"]


HOSTILE = ["../../evil", "/etc/evil", "a/../../evil", "..", "", ".", "a\0b"]


@pytest.mark.parametrize("name", HOSTILE)
def test_paths_that_lead_elsewhere_are_refused(root: Path, name: str) -> None:
    content = b"evil"
    digest = "sha256:" + hashlib.sha256(content).hexdigest()
    blob = root / "blobs" / digest[7:9] / digest[7:]
    blob.parent.mkdir(parents=True)
    blob.write_bytes(content)
    members = [events.Member(name, digest, 4)]
    listed = "sha256:" + hashlib.sha256(events.encode(members)).hexdigest()
    for event in (
        events.Artifact(name="x", type="file", digest=listed, size=4, filename="folder", members=members),
        events.Artifact(name="x", type="file", digest=digest, size=4, filename=name),
    ):
        with pytest.raises(tachograph.Damaged, match="is no file name that can be trusted"):
            artifacts.Artifact(FolderFiles(root), event).path()
    assert not list(root.parent.rglob("evil"))


def test_a_list_of_members_that_was_changed_is_damage(root: Path) -> None:
    event = events.Artifact(name="x", type="file", digest="sha256:00", size=0, filename="f", members=[])
    with pytest.raises(tachograph.Damaged, match="its list of files does not match its digest"):
        artifacts.Artifact(FolderFiles(root), event).path()


def test_what_can_run_code_is_loaded_only_when_trusted(root: Path, tmp_path: Path) -> None:
    import joblib

    joblib.dump({"a": 1}, tmp_path / "m.joblib")
    (tmp_path / "m.pkl").write_bytes(pickle.dumps({"b": 2}))
    with tachograph.start_run() as run:
        run.log_artifact(tmp_path / "m.joblib")
        run.log_artifact(tmp_path / "m.pkl")
    found = open_store().run(run.id)
    for name, content in (("m.joblib", {"a": 1}), ("m.pkl", {"b": 2})):
        with pytest.raises(tachograph.Error, match=r"if you trust its origin, load\(trusted=True\)$"):
            found.artifact(name).load()
        assert found.artifact(name).load(trusted=True) == content


def test_what_is_safe_is_loaded_by_its_suffix(root: Path, tmp_path: Path) -> None:
    with tachograph.start_run() as run:
        run.log_artifact(_file(tmp_path / "a.json", '{"x": [1]}'))
        run.log_artifact(_file(tmp_path / "a.jsonl", '{"x": 1}\n\n{"x": 2}\n'))
        run.log_artifact(_file(tmp_path / "a.csv", 'x,y\n1,"a,b"\n'))
        run.log_artifact(_file(tmp_path / "a.MD", "# é"))
        run.log_artifact(_file(tmp_path / "a.bin", "?"))
    found = open_store().run(run.id)
    assert found.artifact("a.json").load() == {"x": [1]}
    assert found.artifact("a.jsonl").load() == [{"x": 1}, {"x": 2}]
    assert found.artifact("a.csv").load() == [{"x": "1", "y": "a,b"}]
    assert found.artifact("a.MD").load() == "# é"
    with pytest.raises(tachograph.Error, match=r"there is no loader for 'a.bin'; read the file at .path\(\) yourself"):
        found.artifact("a.bin").load()


@pytest.fixture
def plugged(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A distribution with two loaders, as pip would install it."""
    site = tmp_path / "site"
    _file(site / "their_loaders.py", (
        "def load(path, meta):\n    return path.name, meta['format']\n"
        "def run(path, meta):\n    return 'ran'\n"
        "run.unsafe = True\n"
    ))  # fmt: skip
    info = site / "their_loaders-1.0.dist-info"
    _file(info / "METADATA", "Metadata-Version: 2.1\nName: their-loaders\nVersion: 1.0\n")
    _file(info / "entry_points.txt", "[tachograph.loaders]\ntheirs = their_loaders:load\nodd = their_loaders:run\n")
    monkeypatch.syspath_prepend(site)
    yield
    sys.modules.pop("their_loaders", None)


def test_loaders_from_elsewhere(plugged: None, root: Path) -> None:
    with tachograph.start_run() as run:
        run.recorder.keep_bytes(b"1", "model", "model", "model.theirs", None, {"format": "theirs"})
        run.recorder.keep_bytes(b"2", "odd", "model", "model.odd", None, {"format": "odd"})
    found = open_store().run(run.id)
    assert found.artifact("model").load() == ("model.theirs", "theirs")
    with pytest.raises(tachograph.Error, match="can run code"):
        found.artifact("odd").load()
    assert found.artifact("odd").load(trusted=True) == "ran"


# -- finding runs --


def test_open_store_takes_folders_and_urls(root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert open_store().root == root
    assert open_store(str(root)).root == open_store(root).root == open_store(root.as_uri()).root == root
    monkeypatch.chdir(tmp_path)
    assert open_store("some").root == tmp_path / "some"
    monkeypatch.setenv("HOME", str(tmp_path))
    assert open_store("~/some").root == tmp_path / "some"
    assert repr(open_store("https://host/")) == "<tachograph store https://host>"
    for url in ("ftp://host/x", "file://host/share"):
        with pytest.raises(tachograph.NotFound, match=f"^can't open {url}: a store is a folder, or behind"):
            open_store(url)


def test_a_run_is_found_by_id_beginning_name_or_as_the_latest(root: Path) -> None:
    ids = []
    for name in ("first", "second", "twin", "twin"):
        with tachograph.start_run(name) as run, run.child("child of " + name):
            ids.append(run.id)
    store = open_store()
    assert store.run("latest").id == ids[3]
    assert store.run(ids[1]).name == "second"
    assert store.run("second").id == ids[1]
    assert store.run("child of first").parent_id == ids[0]
    every = [run.id for run in store.runs(children=True)]
    starts = [ids[0][:length] for length in range(1, len(ids[0]))]
    unique = next(start for start in starts if sum(id.startswith(start) for id in every) == 1)
    assert store.run(unique).id == ids[0]
    with pytest.raises(tachograph.NotFound, match=r"^'twin' is the name of 2 runs \(.*, .*\): use more of the id$"):
        store.run("twin")
    with pytest.raises(tachograph.NotFound, match=r"^'20' is the beginning of 8 runs \(.*, \.\.\.\): use"):
        store.run("20")
    with pytest.raises(tachograph.NotFound, match=r"^no run 'nope' in .*: `tachograph runs` .* lists them$"):
        store.run("nope")
    assert store.run(store.run("second")).id == ids[1]
    with pytest.raises(tachograph.NotFound, match="not by a int"):
        store.run(3)  # type: ignore[arg-type]
    with pytest.raises(tachograph.NotFound):
        store.run("")
    with pytest.raises(tachograph.NotFound):
        store.run("%")


def test_runs_newest_first_with_a_limit_by_experiment_with_or_without_children(root: Path) -> None:
    for name, experiment in (("a", "x"), ("b", "y"), ("c", "x")):
        with tachograph.start_run(name, experiment=experiment) as run, run.child(name + name):
            pass
    store = open_store()
    assert [run.name for run in store.runs()] == ["c", "b", "a"]
    assert [run.name for run in store.runs(experiment="x", limit=1)] == ["c"]
    assert store.runs(limit=0) == []
    assert [run.name for run in store.runs(children=True, order_by="name")] == ["a", "aa", "b", "bb", "c", "cc"]
    assert [run.name for run in store.runs("y", "status = 'finished'", "name", 5, True)] == ["b", "bb"]
    assert store.experiments() == ["x", "y"]
    for limit in (-1, True, "3"):
        with pytest.raises(ValueError, match="limit is a number of runs"):
            store.runs(limit=limit)  # type: ignore[arg-type]


def test_a_child_whose_parent_was_deleted_is_listed(root: Path) -> None:
    with tachograph.start_run("parent") as run, run.child("child"):
        pass
    store = open_store()
    assert [each.name for each in store.runs()] == ["parent"]
    assert run.dir
    subprocess.run(["rm", "-r", str(run.dir)], check=True)
    assert [each.name for each in store.runs()] == ["child"]
    assert store.run("latest").name == "child"
    assert store.run("child").parent is None


def test_opening_a_store_brings_in_nothing_heavy() -> None:
    code = (
        "import sys, tachograph; tachograph.open_store().runs();"
        "print([name for name in ('numpy', 'pandas', 'polars', 'torch', 'sqlalchemy') if name in sys.modules])"
    )
    told = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert told.stdout.strip() == "[]"


def test_the_values_that_an_experiment_can_hold_survive(root: Path) -> None:
    params: dict[str, Any] = {
        "none": None, "true": True, "int": 2**62, "big": 2**80, "float": 0.1, "inf": -math.inf, "text": "é\n\"'",
        "list": [1, [2.5, None, "x"]], "NaN": "NaN",
    }  # fmt: skip
    with tachograph.start_run(params=params):
        pass
    found = open_store().run("latest").params
    assert found == params | {"big": str(2**80)}
    assert {name: type(value) for name, value in found.items()} == {
        name: type(value) for name, value in (params | {"big": ""}).items()
    }
    assert json.dumps(found, sort_keys=True) == json.dumps(params | {"big": str(2**80)}, sort_keys=True)
