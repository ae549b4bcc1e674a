"""``tachograph verify``: finds whatever is no longer as it was recorded, and nothing else."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

import tachograph


@pytest.fixture
def recorded(store, record, tmp_path) -> Path:
    """A store with a run that keeps a file and a folder, all of it synced."""
    (tmp_path / "model.bin").write_bytes(b"weights")
    (tmp_path / "out" / "deep").mkdir(parents=True)
    (tmp_path / "out" / "deep" / "a.txt").write_text("a")
    record("one")
    with tachograph.start_run("two") as run:
        run.log_artifact(tmp_path / "model.bin")
        run.log_artifact(tmp_path / "out")
    assert tachograph.flush()
    return store


def segment(store: Path, name: str) -> Path:
    """The journal of the run called ``name``."""
    (found,) = [path for path in store.glob("runs/*/*/*.jsonl") if f'"name":"{name}"' in path.read_text()]
    return found


def problems(run_cli, status: int = 1) -> list[str]:
    got, output, errors = run_cli("verify")
    assert (got, errors) == (status, "")
    return output.splitlines()[:-1]


def test_what_is_whole_is_whole(recorded, run_cli, run_json):
    status, output, errors = run_cli("verify")
    assert (status, errors) == (0, "")
    assert output.startswith("2 runs, ")
    assert output.rstrip().endswith("no damage")
    found = run_json("verify")
    assert found["damage"] == []
    assert (found["runs"], found["blobs"], found["torn"]) == (2, 2, 0)
    assert found["events"] > 50


def test_a_changed_byte(recorded, run_cli):
    path = segment(recorded, "one")
    content = bytearray(path.read_bytes())
    content[content.index(b'"loss":1.0') + 7] = ord("2")
    path.write_bytes(content)
    (line,) = problems(run_cli)
    assert line.startswith(f"{path}: bytes 0 to ")
    assert "checksum" in line


def test_a_line_that_is_no_event(recorded, run_cli):
    path = segment(recorded, "one")
    path.with_suffix(".sums").unlink()
    lines = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(b"".join([*lines[:9], b"\x00\x00\xff\n", *lines[10:]]))
    (line,) = problems(run_cli)
    assert line.startswith(f"{path}:10: ")


def test_lines_that_are_gone(recorded, run_cli):
    path = segment(recorded, "one")
    path.with_suffix(".sums").unlink()
    lines = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(b"".join(lines[:9] + lines[12:]))
    assert problems(run_cli) == [f"{path}: 3 events before number 13 missing"]


def test_a_journal_cut_off_after_it_was_synced(recorded, run_cli):
    path = segment(recorded, "one")
    os.truncate(path, path.stat().st_size - 200)
    (line,) = problems(run_cli)
    assert "checksum" in line


def test_a_last_line_torn_by_a_kill_is_no_damage(recorded, run_cli):
    with open(segment(recorded, "one"), "ab") as file:
        file.write(b'{"kind":"metrics","v":1,"seq":99')
    status, output, _ = run_cli("verify")
    assert status == 0
    assert "1 line cut off" in output


def test_a_changed_blob_and_a_missing_one(recorded, run_cli):
    first, second = sorted(recorded.glob("blobs/*/*"))
    first.chmod(0o644)
    first.write_bytes(b"other")
    second.unlink()
    changed, missing = problems(run_cli)
    assert changed == f"{first}: does not match its digest"
    assert missing.startswith(f"{second}: missing, though kept for ")


def test_what_can_not_be_read_is_damage(recorded, forbidden):
    path = segment(recorded, "one")
    path.chmod(0)
    done = forbidden("verify")
    assert (done.returncode, done.stderr) == (1, "")
    assert done.stdout.splitlines()[0] == f"{path}: can't be read: Permission denied"


def test_damage_in_json_names_the_place(recorded, run_cli):
    from json import loads

    path = segment(recorded, "two")
    lines = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(b"".join([lines[0], b"{}" + lines[1][2:], *lines[2:]]))
    status, output, errors = run_cli("verify", "--json")
    assert (status, errors) == (1, "")
    damage = loads(output)["damage"]
    assert {(one["path"], one["line"], one["offset"]) for one in damage} >= {(str(path), 2, len(lines[0]))}


def test_no_store_is_said_on_one_line(store, wrong):
    assert str(store) in wrong("verify", status=1)
    assert "no folder" in wrong("verify", "--root", "https://host/store")
    assert not store.exists()


def test_another_store(recorded, run_json, tmp_path, monkeypatch):
    monkeypatch.setenv("TACHOGRAPH_DIR", str(tmp_path / "other"))
    assert run_json("verify", "--root", str(recorded))["runs"] == 2
    assert run_json("verify", "--root", "store")["runs"] == 2


def test_what_is_no_file_is_not_waited_for(record, store, run_cli):
    record("one")
    folder = store / "blobs" / "aa"
    folder.mkdir(parents=True)
    os.mkfifo(folder / ("aa" * 32))
    (folder / "bb").symlink_to(folder / ("aa" * 32))
    status, output, errors = run_cli("verify")
    assert (status, errors) == (1, "")
    assert output.count("is no file") == 2
