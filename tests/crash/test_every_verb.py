"""No recording verb raises or blocks, whatever state the program is in; and what can be recorded is."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import tachograph
from tachograph import events, journal

PROGRAM = Path(__file__).parents[1] / "parts" / "every_verb.py"


def call(condition: str, *more: bytes, program: str = str(PROGRAM), **options: Any) -> Counter[str]:
    """Call all verbs in a process of its own; how often each was called."""
    command = [sys.executable, program, condition, *more]
    options.setdefault("env", {})
    options["env"] = {**os.environ, "TACHOGRAPH_STRICT": "0", "PYTHONWARNINGS": "ignore", **options["env"]}
    done = subprocess.run(command, capture_output=True, text=True, timeout=180, **options)
    assert done.returncode == 0, done.stderr
    return Counter(json.loads(done.stdout.splitlines()[-1]))


def recorded(root: Path) -> list[events.Event]:
    found = [
        item
        for run in (root / "runs").iterdir()
        for writer in journal.writers(run)
        for item in journal.read_writer(writer)
    ]
    return [item for item in found if isinstance(item, events.Event)]


def named(found: list[events.Event], name: str) -> int:
    return sum(isinstance(event, events.Metrics) and name in event.values for event in found)


def check(root: Path, calls: Counter[str], files: bool = True, ends: int = 1) -> None:
    """Everything is there that was recorded."""
    found = recorded(root)
    texts = Counter(event.text for event in found if isinstance(event, events.Note))
    kinds = Counter(type(event) for event in found)
    assert named(found, "loss") == calls["log"]
    assert named(found, "main") == calls["main"]
    assert kinds[events.Params] == calls["log_params"]
    assert kinds[events.Tags] == calls["set_tags"]
    assert texts["a remark"] + texts["of the main program"] == calls["log_note"]
    assert texts["of a child"] == calls["child"] + calls["start_run"]
    assert kinds[events.RunStart] == kinds[events.RunEnd] == ends + calls["child"] + calls["start_run"]
    if files:
        assert kinds[events.Artifact] == calls["log_artifact"] + calls["log_table"]
        assert kinds[events.Dataset] == calls["log_dataset"] + calls["use_dataset"]


def test_in_peace(root: Path) -> None:
    check(root, call("quiet"))


def test_in_a_signal_handler_at_any_instruction(root: Path) -> None:
    calls = call("in a signal handler")
    assert min(calls.values()) > 5
    check(root, calls)


def test_out_of_file_descriptors(root: Path) -> None:
    check(root, call("out of file descriptors"), files=False, ends=2)


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of its own with room for 1 MB."""
    folder = tmp_path / "disk"
    folder.mkdir()
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", folder], capture_output=True).returncode:
        pytest.skip("mounting a file system is not permitted here")
    try:
        yield folder
    finally:
        subprocess.run(["umount", "--lazy", folder], check=True)


def test_on_a_full_disk(small_disk: Path) -> None:
    root = small_disk / "store"
    check(root, call("on a full disk", env={"TACHOGRAPH_DIR": str(root)}), files=False, ends=2)


def is_whole(root: Path) -> None:
    """What is recorded around a run is there."""
    run = next(run for run in tachograph.open_store(root).runs() if run.name == "outer")
    assert {"argv", "cwd", "variables", "packages", "python", "git"} <= set(run.environment)
    assert run.system
    assert [note.text for note in run.notes if "failed" in note.text or "lost" in note.text] == []


def test_with_odd_bytes_in_folder_arguments_and_environment(tmp_path: Path) -> None:
    folder = Path(os.fsdecode(os.fsencode(tmp_path) + b"/caf\xe9"))
    folder.mkdir()
    root = folder / "store"
    given = {"LD_LIBRARY_PATH": os.fsdecode(b"/opt/\xe9"), "TACHOGRAPH_DIR": str(root)}
    check(root, call("quiet", b"data_\xe9.csv", cwd=folder, env=given))
    is_whole(root)
    run = next(run for run in tachograph.open_store(root).runs() if run.name == "outer")
    assert run.environment["argv"][-1] == "data_?.csv"
    assert run.environment["variables"]["LD_LIBRARY_PATH"] == "/opt/?"


def test_in_a_folder_that_was_removed(tmp_path: Path, root: Path) -> None:
    folder = tmp_path / "gone"
    folder.mkdir()
    shutil.copy(PROGRAM, folder)
    check(root, call("in a folder that was removed", program=PROGRAM.name, cwd=folder))
    assert not folder.exists()
    run = next(run for run in tachograph.open_store(root).runs() if run.name == "outer")
    assert {"argv", "variables", "packages", "python"} <= set(run.environment)
    assert run.system
    assert [note.text for note in run.notes if "failed" in note.text] == []
