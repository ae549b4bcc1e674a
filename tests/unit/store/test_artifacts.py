"""Verified copies of what was kept."""

from __future__ import annotations

import hashlib
import stat
from pathlib import Path

import pytest

import tachograph
from tachograph import events
from tachograph.store import artifacts
from tachograph.store.local import FolderFiles
from tachograph.store.run_record import RunRecord


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
