"""The verbs that say what a run uses."""

from __future__ import annotations

import warnings
from pathlib import Path

import numpy as np
import pytest
from tests.parts.files import file

import tachograph
from tachograph.store.store import Store
from tachograph.store.version_record import VersionRecord

X = np.arange(6.0).reshape(3, 2)


@pytest.fixture
def version(root: Path, tmp_path: Path) -> VersionRecord:
    with tachograph.start_run("maker") as run:
        run.log_artifact(file(tmp_path / "model.bin", "weights"), name="model", kind="model")
        made = run.register_model("base")
    assert made is not None
    return made


def used(store: Store, run: tachograph.Run) -> list[tuple[str, dict[str, object]]]:
    return [(link.target, link.meta) for link in store.run(run.id).links if link.relation == "used"]


def test_data_is_recorded_as_used(root):
    with tachograph.start_run() as run:
        assert run.use_dataset(X, "lookup") is None
        assert run.use_dataset(X) is None
        run.log_dataset(X, "lookup")
    datasets = tachograph.open_store().run(run.id).datasets
    assert [(data.name, data.role) for data in datasets] == [("lookup", "used"), ("data", "used"), ("lookup", "train")]
    assert len({data.digest for data in datasets}) == 1
    assert datasets[0].profile == datasets[2].profile


@pytest.mark.parametrize("key", ["base@1.0.0", "base@latest", "base@champion", "base@v1.0.0"])
def test_a_version_is_recorded_with_the_digest_of_its_files(version, key):
    version.alias("champion")
    with tachograph.start_run() as run:
        assert run.use_model(key) is None
    assert used(tachograph.open_store(), run) == [("base@1.0.0", {"digest": version.artifact.digest})]


def test_a_version_that_was_read_may_be_given(version):
    with tachograph.start_run() as run:
        run.use_model(version)
    assert used(tachograph.open_store(), run) == [("base@1.0.0", {"digest": version.artifact.digest})]


def test_a_version_of_another_store_may_be_given(version, monkeypatch, tmp_path):
    monkeypatch.setenv("TACHOGRAPH_DIR", str(tmp_path / "elsewhere"))
    with tachograph.start_run() as run:
        run.use_model(version)
    assert used(tachograph.open_store(), run) == [("base@1.0.0", {"digest": version.artifact.digest})]


@pytest.mark.parametrize("wrong", ["base", "base@7.0.0", "nobody@1.0.0", "", "@", "base@\x1b[2J", None, 5, object(), X])
def test_a_misuse_warns_once_and_is_noted(version, wrong):
    with tachograph.start_run() as run, warnings.catch_warnings(record=True) as warned:
        warnings.simplefilter("always")
        run.use_model(wrong)
        run.use_model(wrong)
    assert len(warned) == 1
    store = tachograph.open_store()
    assert used(store, run) == []
    assert len(store.run(run.id).notes) == 1


def test_odd_data_and_names_never_raise(root):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        with tachograph.start_run() as run:
            for data, name in ((None, None), (object(), 5), ([], "\x1b[2J"), (X, "")):
                run.use_dataset(data, name)
    assert len(tachograph.open_store().run(run.id).datasets) == 4


def test_the_verbs_on_the_active_run(version):
    with tachograph.start_run() as run:
        tachograph.use_dataset(X, "x")
        tachograph.use_model("base@latest")
    assert [link.target for link in tachograph.open_store().run(run.id).links] == ["base@1.0.0"]
    assert [data.role for data in tachograph.open_store().run(run.id).datasets] == ["used"]
    with pytest.warns(tachograph.TachographWarning, match="no run is open"):
        tachograph.use_model("base@latest")
    with pytest.warns(tachograph.TachographWarning, match="no run is open"):
        tachograph.use_dataset(X)


def test_switched_off_they_do_nothing(root, monkeypatch):
    monkeypatch.setenv("TACHOGRAPH_OFF", "1")
    with tachograph.start_run() as run:
        run.use_dataset(X)
        run.use_model("nobody@1.0.0")
        tachograph.use_dataset(X)
        tachograph.use_model(5)
    assert not root.exists()
