"""Copies of kept files where people want them."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

import tachograph
from tachograph.errors import Damaged, NotAllowed
from tachograph.store.artifacts import Artifact


@pytest.fixture
def folder(tmp_path: Path) -> Artifact:
    """A folder of three files, as an artifact."""
    (tmp_path / "model" / "parts").mkdir(parents=True)
    for name in ("config.json", "parts/1.bin", "parts/2.bin"):
        (tmp_path / "model" / name).write_text(f"the content of {name}")
    with tachograph.start_run() as run:
        run.log_artifact(tmp_path / "model")
    return tachograph.open_store().run(run.id).artifact("model")


def contents(folder: Path) -> dict[str, str]:
    return {str(path.relative_to(folder)): path.read_text() for path in folder.rglob("*") if path.is_file()}


def test_a_folder_is_copied_whole_and_once(folder, tmp_path):
    pieces: list[int] = []
    path = folder.copy_to(tmp_path / "there", pieces.append)
    assert path == tmp_path / "there" / "model"
    assert contents(path) == contents(tmp_path / "model")
    assert sum(pieces) == folder.size
    (path / "parts" / "1.bin").unlink()
    pieces.clear()
    assert folder.copy_to(tmp_path / "there", pieces.append) == path
    assert pieces == [len("the content of parts/1.bin")]
    assert contents(path) == contents(tmp_path / "model")


def test_a_copy_can_be_changed_and_what_is_kept_stays(folder, tmp_path):
    path = folder.copy_to(tmp_path / "there")
    (path / "config.json").write_text("other")
    assert (folder.path() / "config.json").read_text() == "the content of config.json"


@pytest.mark.parametrize("what", ["content", "more", "folder", "link", "file"])
def test_what_else_is_there_stays(folder, tmp_path, what):
    there = tmp_path / "there" / "model"
    there.mkdir(parents=True)
    match what:
        case "content":
            (there / "config.json").write_text("mine")
        case "more":
            (there / "mine.txt").write_text("mine")
        case "folder":
            (there / "config.json").mkdir()
        case "link":
            (there / "config.json").symlink_to(tmp_path / "nowhere")
        case "file":
            there.rmdir()
            there.write_text("mine")
    before = sorted(tmp_path.joinpath("there").rglob("*"))
    with pytest.raises(NotAllowed, match="nothing was copied"):
        folder.copy_to(tmp_path / "there")
    assert sorted(tmp_path.joinpath("there").rglob("*")) == before


def test_what_is_damaged_is_not_there_afterwards(folder, tmp_path, root):
    digest = folder.members[-1].digest.removeprefix("sha256:")
    blob = root / "blobs" / digest[:2] / digest
    blob.chmod(0o644)
    blob.write_text("something else")
    with pytest.raises(Damaged, match="does not match its digest"):
        folder.copy_to(tmp_path / "there")
    assert "something else" not in contents(tmp_path / "there").values()


def test_what_a_killed_copying_left_is_removed(folder, tmp_path):
    ended = subprocess.run([sys.executable, "-c", "import os; print(os.getpid())"], capture_output=True, text=True)
    there = tmp_path / "there" / "model" / "parts"
    there.mkdir(parents=True)
    (there / f".draft-{ended.stdout.strip()}-abc").write_text("the con")
    (there / f".draft-{os.getpid()}-abc").write_text("somebody else's")
    path = folder.copy_to(tmp_path / "there")
    (there / f".draft-{os.getpid()}-abc").unlink()
    assert contents(path) == contents(tmp_path / "model")
