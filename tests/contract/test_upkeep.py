"""Wherever runs are kept, ``rm`` and ``gc`` do the same: a removed run is gone for every reader and stays so, whoever
sends it again, and its files go when nobody can need them any more."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from tests.contract.test_stores import PLACES, Place, sync
from tests.integrations.postgres.serving import DatabaseServer
from tests.parts import azurite, postgres, seaweedfs

import tachograph
from tachograph.bucket import blobs
from tachograph.bucket.objects import Objects
from tachograph.cli import main
from tachograph.errors import NotFound
from tachograph.journal import tombstones
from tachograph.store.store import open_store

pytest.importorskip("obstore")


@contextmanager
def database_and_bucket(recorded: Path, own: Path) -> Iterator[str]:
    """A server that keeps its runs in PostgreSQL, and files in a bucket."""
    bucket = seaweedfs.running()
    with pytest.MonkeyPatch.context() as patch:
        for name, value in bucket.environment.items():
            patch.setenv(name, value)
        running = DatabaseServer(own / "served", postgres.running().new_database(), "--blobs", bucket.new_bucket())
        sync(recorded, running.url)
        yield running.url
        running.kill()
        running.pool.close()


@contextmanager
def container(recorded: Path, own: Path) -> Iterator[str]:
    """A container on Azure that was sent the runs."""
    running = azurite.running()
    with pytest.MonkeyPatch.context() as patch:
        for name, value in running.environment.items():
            patch.setenv(name, value)
        url = running.new_bucket()
        sync(recorded, url)
        yield url


ALL: dict[str, Place] = {**PLACES, "container": container, "database and bucket": database_and_bucket}
OWN = {"folder", "file", "server"}  # the folder itself

Say = Callable[..., str]


@pytest.fixture
def family(root: Path, tmp_path: Path) -> dict[str, str]:
    """Runs, of which one is in another one, with a file each and one that they share; their ids by their names."""
    for name in ("one", "two", "both"):
        (tmp_path / name).write_text(name)
    with tachograph.start_run("search") as search, search.child("candidate") as candidate:
        candidate.log_artifact(tmp_path / "one")
        candidate.log_artifact(tmp_path / "both")
    with tachograph.start_run("other") as other:
        other.log({"loss": 1.0})
        other.log_artifact(tmp_path / "two")
        other.log_artifact(tmp_path / "both")
    assert tachograph.flush()
    return {run.name: run.id for run in (search, candidate, other)}


@pytest.fixture(params=ALL)
def place(
    request: pytest.FixtureRequest, family: dict[str, str], root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[str]:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    with ALL[request.param](root, tmp_path / "place") as url:
        yield url


@pytest.fixture
def say(capfd: pytest.CaptureFixture[str]) -> Say:
    """What a command that succeeds says."""

    def run(*arguments: str) -> str:
        capfd.readouterr()
        assert main(arguments) == 0
        return capfd.readouterr().out

    return run


def test_a_removed_run_is_gone_for_all_and_stays_so(
    place: str, family: dict[str, str], root: Path, say: Say, request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    reader = open_store(place)
    assert len(reader.runs(children=True)) == 3
    tables = str(tmp_path / "tables")
    assert "3 runs added" in say("compact", "--root", place, "--to", tables)

    assert json.loads(say("rm", "search", "--dry-run", "--json", "--root", place))["removed"] is False
    assert len(reader.runs(children=True)) == 3
    told = say("rm", "search", "--yes", "--root", place)
    name = place.removeprefix("file://")
    assert told == f"run search ({family['search']}) with 1 child removed from {name}\n"

    assert [run.name for run in reader.runs(children=True)] == ["other"]
    for key in ("search", family["search"], family["candidate"][:-2]):
        with pytest.raises(NotFound, match="was removed on 2"):
            reader.run(key)
    assert [run.name for run in open_store(place).runs(children=True)] == ["other"]
    assert "2 runs dropped" in say("compact", "--root", place, "--to", tables)
    assert main(["rm", "search", "--yes", "--root", place]) == 1

    if request.node.callspec.params["place"] not in OWN:
        assert main(["sync", "--again", "--to", place]) == 1  # it does not take what was removed
        assert [run.name for run in reader.runs(children=True)] == ["other"]
        resumed = tachograph.start_run("search", resume=family["search"])
        resumed.log({"loss": 2.0})
        resumed.finish()
        main(["sync", "--again", "--to", place])
        assert {run.name for run in reader.runs(children=True)} == {"search", "other"}  # what began later stays
        assert reader.run("search").metrics == {"loss": 2.0}
    reader.close()


def test_files_go_with_the_runs_that_needed_them(
    place: str, family: dict[str, str], root: Path, say: Say, request: pytest.FixtureRequest, tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    say("rm", "search", "--yes", "--root", place)
    kind = request.node.callspec.params["place"]
    fresh = json.loads(say("gc", "--json", "--root", place))
    assert (fresh["files"], fresh["later"]) == ([], 0)  # somebody may be about to say that he needs them
    for path in tmp_path.glob("*/**/blobs/*/*"):
        os.utime(path, (time.time() - 7200,) * 2)
    if kind in ("bucket", "container"):
        monkeypatch.setattr(blobs, "GRACE_SECONDS", -1.0)
        assert json.loads(say("gc", "--json", "--dry-run", "--root", place))["later"] == 1
        assert "1 file marked" in say("gc", "--root", place)
    if kind == "database and bucket":
        return  # an hour passes there in tests/integrations/postgres/test_upkeep.py
    would = json.loads(say("gc", "--json", "--dry-run", "--root", place))
    assert (len(would["files"]), would["bytes"], would["deleted"]) == (1, 3, False)
    assert say("gc", "--root", place).endswith(f"1 file (3 B) deleted in {place.removeprefix('file://')}\n")
    assert json.loads(say("gc", "--json", "--root", place))["files"] == []
    other = open_store(place).run("other")
    assert [other.artifact(name).path().read_text() for name in ("two", "both")] == ["two", "both"]


def test_where_a_bucket_has_it(family: dict[str, str], root: Path, say: Say, monkeypatch, tmp_path) -> None:
    """Nothing is left of a run but its tombstone."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    with ALL["bucket"](root, tmp_path) as url:
        say("rm", "search", "--yes", "--root", url)
        paths = [one.path for one in Objects(url).listed() if not one.path.startswith("blobs/")]
        runs = {path.split("/")[1] for path in paths if path.startswith("runs/")}
        stones = {path.split("/")[1]: path for path in paths if path.startswith("removed/")}
        assert runs == {family["other"]}
        assert stones.keys() == {family["search"], family["candidate"]}
        assert len(paths) == 2 + sum(path.startswith("runs/") for path in paths)
        stone = tombstones.read(Objects(url).read(stones[family["search"]]))
        assert (stone.id, stone.name) == (family["search"], "search")
