"""A pipe or a socket in the place of a store's file is waited for by nobody, costs itself alone and is named."""

from __future__ import annotations

import os
import socket
from collections.abc import Callable
from pathlib import Path

import pytest

import tachograph
from tachograph.runtime import plain_files
from tachograph.upkeep import upkeep_of
from tachograph.upkeep.verify import check

pytestmark = [
    pytest.mark.timeout(60),
    pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="pipes have no names here"),
]


def a_socket(path: Path) -> None:
    here = os.getcwd()
    os.chdir(path.parent)  # a longer name is refused
    try:
        with socket.socket(socket.AF_UNIX) as made:
            made.bind(path.name)
    finally:
        os.chdir(here)


KINDS = pytest.mark.parametrize("make", [os.mkfifo, a_socket], ids=["pipe", "socket"])


@KINDS
def test_what_is_no_plain_file_is_not_opened(tmp_path: Path, make: Callable[[Path], None]) -> None:
    odd = tmp_path / "odd"
    make(odd)
    for use in (plain_files.opened, plain_files.content):
        with pytest.raises(plain_files.NotPlain, match="it is no plain file"):
            use(odd)
    for flags in (os.O_RDONLY, os.O_WRONLY | os.O_APPEND, os.O_RDWR | os.O_CREAT):
        with pytest.raises(plain_files.NotPlain):
            plain_files.descriptor(odd, flags)


@KINDS
@pytest.mark.parametrize(
    "place", ["news", "removed.jsonl", "1.jsonl", "1.sums", "blob", "runs/odd", "sinks/odd/run.json", "blobs/odd"]
)
def test_each_place_in_a_store(root: Path, tmp_path: Path, place: str, make: Callable[[Path], None]) -> None:
    with tachograph.start_run("whole"), tachograph.start_run("odd") as run:
        run.log({"loss": 1.0})
        (tmp_path / "kept.txt").write_text("kept")
        run.log_artifact(tmp_path / "kept.txt")
    [writer] = (root / "runs" / run.id).iterdir()
    path = {"1.jsonl": writer / place, "1.sums": writer / place}.get(place, root / place)
    if place == "blob":
        [path] = (root / "blobs").glob("*/*")
    path.parent.mkdir(parents=True, exist_ok=True)
    path.unlink(missing_ok=True)
    make(path)
    assert {"is no plain file", "is no file"} & {each.reason for each in check(root).damage if each.path == path}
    store = tachograph.open_store(root)
    assert store.run("whole").status == "finished"
    upkeep_of(root).collect(dry=False, days=0)
    with tachograph.start_run("after") as after:
        after.log({"loss": 2.0})
    assert store.run("after").metrics == {"loss": 2.0}
    if place == "blob":
        with pytest.raises(tachograph.Damaged, match="is missing"):
            store.run("odd").artifact("kept.txt").path()
