"""``tachograph gc`` deletes what nothing refers to, and nothing else."""

from __future__ import annotations

import os
import shutil
import time
from pathlib import Path

import pytest

import tachograph
from tachograph.journal.blobs import digest_of


def age(folder: Path) -> None:
    """As if everything had been kept two hours ago."""
    for path in folder.rglob("*"):
        os.utime(path, (time.time() - 7200,) * 2)


@pytest.fixture
def kept(store, tmp_path) -> Path:
    """A store whose run has three files: one alone, two in a folder; and a file that is nobody's."""
    (tmp_path / "out").mkdir()
    for name in ("model", "out/a", "out/b"):
        (tmp_path / name).write_text(name)
    with tachograph.start_run("one") as run:
        run.log_artifact(tmp_path / "model")
        run.log_artifact(tmp_path / "out")
    assert tachograph.flush()
    (store / "blobs" / "00").mkdir(exist_ok=True)
    (store / "blobs" / "00" / ("0" * 64)).write_text("nobody's")
    (store / "blobs" / ".draft-1-abc").write_text("half of")
    return store


def test_only_what_nothing_refers_to_goes(kept, run_json, run_cli):
    age(kept / "blobs")
    said = run_json("gc", "--dry-run")
    assert (len(said["files"]), said["bytes"], said["deleted"]) == (2, 15, False)
    assert len(list(kept.glob("blobs/*/*"))) == 4
    _, output, _ = run_cli("gc")
    assert output == f"2 files (15 B) deleted in {kept}\n"
    assert len(list(kept.glob("blobs/*/*"))) == 3
    assert not list(kept.glob("blobs/.draft-*"))
    assert run_json("verify")["damage"] == []


def test_what_was_kept_just_now_stays(kept, run_json):
    assert run_json("gc")["files"] == []


def test_the_files_of_a_deleted_run_go_but_not_those_of_registered_models(kept, tmp_path, run_json):
    age(kept / "blobs")
    shutil.rmtree(kept / "runs")
    (kept / "registry" / "m").mkdir(parents=True)
    (kept / "registry" / "m" / "1.json").write_text(f'{{"digest": "{digest_of(tmp_path / "model")}"}}')
    assert len(run_json("gc")["files"]) == 4
    assert [path.read_text() for path in kept.glob("blobs/*/*")] == ["model"]


def test_no_store(store, wrong):
    wrong("gc", status=1)
    assert not store.exists()


def test_old_journals_of_ended_processes_are_compressed(kept, script, run_json, run_cli):
    done = script(
        """
        import tachograph
        with tachograph.start_run("other") as run:
            for step in range(1000):
                run.log({"loss": 1 / (step + 1)})
            open("file", "w").write("kept")
            run.log_artifact("file")
        """
    )
    assert done.returncode == 0, done.stderr
    age(kept / "blobs")
    before = run_json("show", "other")
    assert run_json("gc")["compressed"] == []
    said = run_json("gc", "--compress-after", "0", "--dry-run")
    (path,) = map(Path, said["compressed"])
    assert path.exists()
    assert said["freed"] == 0
    status, output, _ = run_cli("gc", "--compress-after", "0")
    assert status == 0
    assert "1 journal file compressed (" in output
    assert not path.exists()
    assert path.with_name(path.name + ".gz").exists()
    assert run_json("gc", "--compress-after", "0")["compressed"] == []
    assert run_json("show", "other") == before
    (kept / "index.sqlite").unlink()
    assert run_json("show", "other") == before
    assert run_json("verify")["damage"] == []


def test_a_damaged_journal_is_no_reason_to_delete_what_it_may_refer_to(kept, run_cli):
    age(kept / "blobs")
    (journal,) = kept.glob("runs/*/*/*.jsonl")
    packed = journal.with_name(journal.name + ".gz")
    packed.write_bytes(b"no gzip")
    journal.unlink()
    status, _, errors = run_cli("gc")
    assert (status, len(errors.splitlines())) == (1, 1)
    assert "damaged" in errors
    assert len(list(kept.glob("blobs/*/*"))) == 4
