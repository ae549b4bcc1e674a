"""What is kept of stores in the user's cache folder is told, and goes when it was not used for long."""

from __future__ import annotations

import json
import os
import time
from pathlib import Path

import pytest

import tachograph
from tachograph.cli import main
from tachograph.index.sqlite_file import cache_folder
from tachograph.store.store import open_store
from tachograph.upkeep import caches

LONG_AGO = time.time() - 40 * 86_400


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return tmp_path / "cache" / "tachograph"


def fill(name: str, used: float) -> Path:
    folder = cache_folder(name)
    (folder / "blobs").mkdir(parents=True)
    (folder / "blobs" / "x").write_bytes(b"x" * 1000)
    for path in (folder / "blobs" / "x", folder / "blobs", folder):
        os.utime(path, (used, used))
    return folder


@pytest.fixture
def store(root: Path) -> Path:
    tachograph.start_run("one").finish()
    return root


def test_doctor_says_how_large_they_are(store: Path, cache: Path, capsys: pytest.CaptureFixture[str]) -> None:
    fill("https://one", LONG_AGO)
    fill("https://two", time.time())
    capsys.readouterr()
    main(["doctor", "--json"])
    assert json.loads(capsys.readouterr().out)["caches"] == {
        "folder": str(cache), "count": 2, "bytes": 2000, "unused": 1000,
    }  # fmt: skip
    main(["doctor"])
    assert "2.0 kB of 2 stores" in capsys.readouterr().out.replace("\n", " ")


def test_gc_deletes_those_that_were_not_used_for_long(store: Path, cache: Path, capsys) -> None:
    old, new = fill("https://one", LONG_AGO), fill("https://two", time.time())
    (cache / "somebody's").mkdir()
    os.utime(cache / "somebody's", (LONG_AGO, LONG_AGO))
    capsys.readouterr()
    assert main(["gc", "--dry-run"]) == 0
    assert "1 cache folder (1.0 kB), unused for long, would be deleted" in capsys.readouterr().out
    assert old.is_dir()
    assert main(["gc", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["caches"] == [str(old)]
    assert sorted(cache.iterdir()) == sorted([new, cache / "somebody's"])
    assert main(["gc"]) == 0
    assert "cache" not in capsys.readouterr().out


def test_an_index_that_is_read_is_used(store: Path, cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Though nothing new came into it."""
    monkeypatch.setattr("tachograph.index.sqlite_file.ROOM", 1 << 60)  # so it can't lie in the store
    for _ in range(2):
        reader = open_store(store)
        assert len(reader.runs()) == 1
        reader.close()
        [known] = caches.existing()
        assert known.used > time.time() - 60
        for path in (*known.folder.iterdir(), known.folder):
            os.utime(path, (LONG_AGO, LONG_AGO))
        assert caches.unused()


def test_one_that_is_used_meanwhile_stays(cache: Path) -> None:
    fill("https://one", LONG_AGO)
    [one] = caches.unused()
    os.utime(one.folder)
    caches.delete(one)
    assert one.folder.is_dir()
