"""The index's file: damaged, deleted, locked, or where it can't be written."""

from __future__ import annotations

import os
import sqlite3
import tempfile
from pathlib import Path

import pytest
from tests.parts.journals import ALIVE, GONE, append, header, lines, point, told

import tachograph
from tachograph.index import sqlite_file
from tachograph.store.store import open_store


@pytest.mark.parametrize("content", [b"", b"garbage" * 5000, None], ids=["empty", "garbage", "half"])
def test_a_damaged_file_is_built_again(root: Path, content: bytes | None) -> None:
    append(root, "r", "0-a", lines(header("r", "0-a", GONE), *[point(step, x=step) for step in range(9000)]))
    store = open_store()
    expected = told(store)
    store.close()
    path = root / sqlite_file.FILENAME
    path.write_bytes(path.read_bytes()[:50_000] if content is None else content)
    assert told(open_store()) == expected


def test_damage_in_the_middle_of_the_file_is_found_when_it_is_met(root: Path) -> None:
    append(root, "r", "0-a", lines(header("r", "0-a", GONE), *[point(step, x=step) for step in range(50_000)]))
    store = open_store()
    expected = told(store)
    store.close()
    path = root / sqlite_file.FILENAME
    content = bytearray(path.read_bytes())
    content[8192 * 3 :] = os.urandom(len(content) - 8192 * 3)
    path.write_bytes(content)
    assert told(open_store()) == expected


def test_an_index_of_another_version_is_built_again(root: Path) -> None:
    append(root, "r", "0-a", lines(header("r", "0-a", GONE), point(0, x=1)))
    with sqlite3.connect(root / sqlite_file.FILENAME) as other:
        other.execute("CREATE TABLE run (something TEXT)")
        other.execute("PRAGMA user_version = 99")
    other.close()
    assert open_store().run("r").metrics == {"x": 1}


def test_the_file_can_be_deleted_while_a_store_is_open(root: Path) -> None:
    append(root, "r", "0-a", lines(header("r", "0-a", GONE), point(0, x=1)))
    store = open_store()
    run = store.run("r")
    for path in root.glob("index.sqlite*"):
        path.unlink()
    assert run.history("x").values.tolist() == [1]
    assert len(store.runs()) == 1
    assert (root / sqlite_file.FILENAME).exists()


def test_the_log_of_a_deleted_file_is_not_taken_for_that_of_the_next(root: Path) -> None:
    append(root, "r", "0-a", lines(header("r", "0-a", GONE), *[point(step, x=step) for step in range(9000)]))
    store = open_store()
    expected = told(store)
    assert (root / "index.sqlite-wal").stat().st_size > 0
    (root / sqlite_file.FILENAME).unlink()
    assert told(open_store()) == told(store) == expected


@pytest.mark.skipif(not hasattr(os, "fork") or os.geteuid() != 0, reason="needs another user")
@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_a_store_that_cannot_be_written_is_indexed_in_the_cache_folder(monkeypatch: pytest.MonkeyPatch) -> None:
    with tempfile.TemporaryDirectory() as folder:
        root, cache = Path(folder, "store"), Path(folder, "cache")
        append(root, "r", "0-a", lines(header("r", "0-a", GONE), point(0, x=1)))
        secret = append(root, "secret", "0-a", lines(header("secret", "0-a", GONE), point(0, x=1)))
        secret.chmod(0o600)
        cache.mkdir()
        os.chmod(folder, 0o755)
        os.chmod(cache, 0o777)
        before = {path: path.stat().st_mtime_ns for path in root.rglob("*")}
        for place in (cache, cache / "r", Path("/proc/nowhere")):  # the last one can't be written either
            monkeypatch.setenv("XDG_CACHE_HOME", str(place))
            assert _as_nobody(root) == 0
        assert list(cache.rglob("*.sqlite"))
        assert {path: path.stat().st_mtime_ns for path in root.rglob("*")} == before


def _as_nobody(root: Path) -> int:
    child = os.fork()
    if child == 0:
        os.setuid(65534)
        store = open_store(root)
        good = store.run("r").metrics == {"x": 1} and [item.path.name for item in store.damage] == ["1.jsonl"]
        os._exit(0 if good else 1)
    return os.waitpid(child, 0)[1]


def test_network_file_systems_are_told_by_the_table_of_mounts() -> None:
    mounts = "/dev/sda / ext4 rw 0 0\nserver:/home /home nfs4 rw 0 0\n/dev/sdb /home/local\\040disk xfs rw 0 0\n"
    assert sqlite_file.is_remote(Path("/home/me/.tachograph"), mounts)
    assert not sqlite_file.is_remote(Path("/home/local disk/x"), mounts)
    assert not sqlite_file.is_remote(Path("/var"), mounts)
    assert not sqlite_file.is_remote(Path("/var"), "")


def test_a_locked_index_is_named_in_one_line(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    append(root, "r", "0-a", lines(header("r", "0-a", ALIVE), point(0, x=1)))
    open_store().runs()
    monkeypatch.setattr(sqlite_file, "BUSY_SECONDS", 0.1)
    blocker = sqlite3.connect(root / sqlite_file.FILENAME, isolation_level=None)
    blocker.execute("BEGIN IMMEDIATE")
    append(root, "r", "0-a", lines(point(1, x=2), first=3))
    with pytest.raises(tachograph.Error, match=r"^the index of .* can't be used \(database is locked\).*$"):
        open_store().runs()
    blocker.execute("ROLLBACK")
    blocker.close()
    assert open_store().run("r").metrics == {"x": 2}
