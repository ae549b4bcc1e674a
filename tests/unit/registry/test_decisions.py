"""Decisions as files: each whole, none changed, damage found and costing itself alone."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest
from tests.unit.registry.conftest import Trained

import tachograph
from tachograph.errors import Damaged, NotFound
from tachograph.registry import decisions
from tachograph.registry.decisions import UnknownDecision
from tachograph.runtime.locks import locked
from tachograph.upkeep.verify import check


@pytest.fixture
def folder(trained: Trained, root: Path) -> Path:
    """The decisions about a model that has two versions, one in production."""
    for accuracy in (0.8, 0.9):
        trained(val_acc=accuracy).register_model("m")
    model = tachograph.open_store().model("m")
    model.version("1.1.0").approve("good")
    model.version("1.1.0").promote("production")
    return root / "registry" / "m"


def reasons(root: Path) -> dict[str, str]:
    return {damage.path.name: damage.reason for damage in check(root).damage}


def test_they_are_plain_json(folder: Path, root: Path) -> None:
    read = [json.loads((folder / f"{number}.json").read_bytes()) for number in range(1, 5)]
    assert [each["kind"] for each in read] == ["registered", "registered", "approved", "staged"]
    assert [each["number"] for each in read] == [1, 2, 3, 4]
    assert "previous" not in read[0]
    for before, after in zip(range(1, 4), read[1:], strict=True):
        assert after["previous"] == decisions.digest((folder / f"{before}.json").read_bytes())
    assert reasons(root) == {}
    assert check(root).decisions == 4


def test_one_that_was_changed_shows(folder: Path, root: Path) -> None:
    path = folder / "3.json"
    path.write_bytes(path.read_bytes().replace(b'"good"', b'"fine"'))
    assert reasons(root) == {"3.json": "it is not what it was when the next decision was made"}


def test_one_that_is_gone_shows(folder: Path, root: Path) -> None:
    (folder / "3.json").unlink()
    assert reasons(root) == {"3.json": "it is missing"}


@pytest.mark.parametrize(
    "content", [b"", b"{", b"[]", b'{"kind": 5}', b"[" * 100_000, b'{"kind":"staged","version":"9.9.9","stage":"x"}']
)
def test_what_makes_no_sense_costs_itself_alone(folder: Path, root: Path, content: bytes) -> None:
    (folder / "5.json").write_bytes(content)
    model = tachograph.open_store().model("m")
    assert [version.version for version in model.versions] == ["1.0.0", "1.1.0"]
    assert model.version("1.1.0").stage == "production"
    assert "5.json" in reasons(root)


@pytest.mark.parametrize("what", ["gone", "torn", "changed", "unreadable"])
def test_where_one_is_lost_nothing_is_decided_and_nothing_guessed(folder: Path, root: Path, what: str) -> None:
    path = folder / "2.json"  # which has registered what is in production
    content = path.read_bytes()
    path.unlink()
    if what == "torn":
        path.write_bytes(content[:40])
    elif what == "changed":
        path.write_bytes(content.replace(b"0.9", b"0.1"))
    elif what == "unreadable":
        path.mkdir()
    model = tachograph.open_store().model("m")
    assert model.lost == [2]
    for key in ("production", "latest", "champion"):
        with pytest.raises(Damaged, match=r"decision 2 about model 'm' is lost, .*: restore its file"):
            model.version(key)
    version = model.version("1.0.0")
    for decide in (
        lambda: version.promote("production"), lambda: version.note("x"), lambda: version.unmet("production"),
        lambda: tachograph.open_store().run(version.run_id).register_model("m"),
        lambda: model.rollback("production"),
    ):  # fmt: skip
        with pytest.raises(Damaged, match="is lost"):
            decide()
    assert not (folder / "5.json").exists()
    assert model.acknowledge("the disk broke") == [2]
    with pytest.raises(NotFound, match="no decision about model 'm' is lost"):
        model.acknowledge()
    model = tachograph.open_store().model("m")
    assert model.lost == []
    assert "2.json" in reasons(root)
    model.version("1.0.0").promote("production")
    assert model.version("production").version == "1.0.0"


def test_one_that_is_restored_is_lost_no_more(folder: Path) -> None:
    path = folder / "3.json"
    content = path.read_bytes()
    path.write_bytes(b"")
    with pytest.raises(Damaged):
        tachograph.open_store().model("m").version("production")
    path.write_bytes(content)
    assert tachograph.open_store().model("m").version("production").version == "1.1.0"


def test_a_folder_without_decisions_is_no_model(folder: Path, root: Path) -> None:
    (root / "registry" / "empty").mkdir()
    (root / "registry" / "begun").mkdir()
    (root / "registry" / "begun" / ".lock").touch()
    store = tachograph.open_store()
    assert [model.name for model in store.models] == ["m"]
    assert len(store.versions()) == 2
    with pytest.raises(NotFound, match="there is no model 'empty'; there are: m"):
        store.model("empty")


def test_one_who_never_lets_go_is_not_waited_for(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tachograph.registry.folder.LOCK_SECONDS", 0.1)
    version = tachograph.open_store().model("m").version("1.0.0")
    with locked(folder / ".lock"), pytest.raises(tachograph.Error, match=r"another process has held .*lock"):
        version.note("x")


def test_what_is_no_digest_is_not_looked_for(folder: Path, root: Path) -> None:
    content = json.loads((folder / "4.json").read_bytes())
    made = json.loads((folder / "1.json").read_bytes())
    made |= {"number": 5, "version": "9.0.0", "previous": decisions.digest((folder / "4.json").read_bytes())}
    made["artifact"]["digest"] = "sha256:../../../../etc/passwd"
    (folder / "5.json").write_text(json.dumps(made))
    assert content["kind"] == "staged"
    assert reasons(root) == {"5.json": "version 9.0.0 has files without a proper digest"}
    assert "9.0.0" not in [version.version for version in tachograph.open_store().model("m").versions]


def test_a_pipe_in_the_place_of_one_is_not_waited_for(folder: Path, root: Path) -> None:
    os.mkfifo(folder / "5.json")
    assert tachograph.open_store().model("m").version("1.1.0").stage == "production"
    assert "5.json" in reasons(root)


def test_a_kind_that_came_later_is_kept(folder: Path, root: Path) -> None:
    last = decisions.digest((folder / "4.json").read_bytes())
    (folder / "5.json").write_text(
        json.dumps({"kind": "sworn", "number": 5, "by": "x", "previous": last, "on": "oath"})
    )
    model = tachograph.open_store().model("m")
    assert isinstance(model.history[-1], UnknownDecision)
    assert decisions.plain(model.history[-1])["decision"] == "sworn"
    model.version("1.0.0").note("and on")
    assert reasons(root) == {}


def test_a_file_of_a_version_that_is_gone_shows(folder: Path, root: Path) -> None:
    from tachograph.upkeep import upkeep_of

    version = tachograph.open_store().model("m").version("1.0.0")
    upkeep_of(str(root)).remove([(version.run_id, "")], True)
    assert reasons(root) == {}
    digest = version.artifact.digest.removeprefix("sha256:")
    next((root / "blobs").glob(f"*/{digest}")).unlink()
    assert "kept for m@1.0.0" in reasons(root)[digest]


def test_a_full_disk_loses_nothing(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: Any) -> None:
        raise OSError(28, "No space left on device")

    version = tachograph.open_store().model("m").version("1.0.0")
    with monkeypatch.context() as patched:
        patched.setattr(os, "fsync", full)
        with pytest.raises(OSError, match="No space left"):
            version.note("lost")
    assert sorted(path.name for path in folder.iterdir()) == [".lock", "1.json", "2.json", "3.json", "4.json"]
    version.note("kept")
    assert [note.text for note in tachograph.open_store().model("m").version("1.0.0").notes] == ["kept"]


def test_one_that_is_too_large_is_refused(folder: Path) -> None:
    version = tachograph.open_store().model("m").version("1.0.0")
    with pytest.raises(ValueError, match="is too large"):
        version.note("x" * (33 << 20))
    assert not (folder / "5.json").exists()
