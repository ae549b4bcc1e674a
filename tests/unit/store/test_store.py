"""Stores, and runs found in them."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

import tachograph
from tachograph.store.store import open_store


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
    with pytest.raises(tachograph.NotFound, match="not by a value of type int"):
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
