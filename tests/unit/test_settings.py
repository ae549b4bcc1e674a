"""Settings: the environment, then the nearest pyproject.toml; nothing in either breaks anything."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

import tachograph
from tachograph import settings


@pytest.fixture(autouse=True)
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder of the user's, which is the working folder."""
    for name in [name for name in os.environ if name.startswith("TACHOGRAPH_")]:
        monkeypatch.delenv(name)
    folder = tmp_path / "project" / "deep"
    folder.mkdir(parents=True)
    monkeypatch.chdir(folder)
    settings._file.cache_clear()
    return folder


def configure(folder: Path, text: str) -> None:
    (folder / "pyproject.toml").write_text(text)


def test_the_environment_wins_over_the_file(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    configure(project, '[tool.tachograph]\nexperiment = "file"\n')
    assert settings.get("experiment") == "file"
    monkeypatch.setenv("TACHOGRAPH_EXPERIMENT", "environment")
    assert settings.get("experiment") == "environment"
    monkeypatch.setenv("TACHOGRAPH_EXPERIMENT", "")
    assert settings.get("experiment") == "file"


def test_the_nearest_file_counts_even_if_it_says_nothing(project: Path) -> None:
    configure(project.parent, '[tool.tachograph]\nexperiment = "outer"\n')
    assert settings.get("experiment") == "outer"
    configure(project, "[project]\n")
    settings._file.cache_clear()
    assert settings.get("experiment") is None


@pytest.mark.parametrize(
    "text",
    [
        "[tool.tachograph",
        "tool.tachograph = 3",
        "[tool]\ntachograph = 'tool.tachograph'",
        "# tool.tachograph\n[[tool]]\nx=1",
        "\ufeff[tool.tachograph]\n",
    ],
)
def test_a_file_that_can_not_be_read_counts_as_none(project: Path, text: str) -> None:
    configure(project, text)
    assert settings.get("experiment") is None


def test_a_file_in_another_encoding_and_a_folder_in_its_place(project: Path) -> None:
    (project / "pyproject.toml").write_bytes("[tool.tachograph]\nexperiment = 'é'".encode("latin-1"))
    (project.parent / "pyproject.toml").mkdir()
    assert settings.get("experiment") is None


@pytest.mark.parametrize(
    ("text", "expected"),
    [("1", True), ("true", True), ("yes", True), ("0", False), (" FALSE ", False), ("no", False), ("off", False)],
)
def test_flags(monkeypatch: pytest.MonkeyPatch, text: str, expected: bool) -> None:
    monkeypatch.setenv("TACHOGRAPH_OFF", text)
    assert settings.off() is expected


def test_flags_in_the_file(project: Path) -> None:
    configure(project, "[tool.tachograph]\noff = true\nconsole = false\n")
    assert settings.off()
    assert not settings.flag("console", True)
    assert settings.flag("strict", True)


@pytest.mark.parametrize(("text", "expected"), [("2.5", 2.5), ("soon", 7.0), ("", 7.0), ("-1", -1.0)])
def test_seconds(monkeypatch: pytest.MonkeyPatch, text: str, expected: float) -> None:
    monkeypatch.setenv("TACHOGRAPH_EXIT_WAIT", text)
    assert settings.seconds("exit_wait", 7.0) == expected


def test_sinks(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert settings.sinks() == []
    configure(project, '[tool.tachograph]\nsinks = ["https://a", "s3://b"]\n')
    settings._file.cache_clear()
    assert settings.sinks() == ["https://a", "s3://b"]
    monkeypatch.setenv("TACHOGRAPH_SINKS", " https://c , ,")
    assert settings.sinks() == ["https://c"]


def test_the_root_is_found_as_git_finds_its_own(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert settings.root() == project / ".tachograph"
    (project.parent / ".tachograph").mkdir()
    assert settings.root() == project.parent / ".tachograph"
    (project / ".tachograph").write_text("a file is no store")
    assert settings.root() == project.parent / ".tachograph"
    monkeypatch.setenv("TACHOGRAPH_DIR", "here")
    assert settings.root() == project / "here"
    monkeypatch.setenv("TACHOGRAPH_DIR", "~/there")
    assert settings.root() == Path.home() / "there"


def test_a_removed_working_folder(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PWD", str(project))
    project.rmdir()
    assert settings.get("experiment") is None
    assert settings.root() == project / ".tachograph"


@pytest.mark.slow
def test_a_store_stays_where_it_is_when_the_program_changes_folders(tmp_path: Path) -> None:
    """Hydra does, for each job. With a relative name, and with none; child processes find it, too."""
    code = """
import os, subprocess, sys, tachograph
log = "import os, tachograph; os.chdir('/'); tachograph.log({'of_the_child': 1.0})"
if sys.argv[1] == "before":
    os.makedirs("outputs/today")
    os.chdir("outputs/today")
with tachograph.start_run("one") as run:
    os.makedirs("sub")
    os.chdir("sub")
    subprocess.run([sys.executable, "-c", log], check=True)
with tachograph.start_run("two") as run:
    run.log({"a": 1.0})
    subprocess.run([sys.executable, "-c", "import tachograph; tachograph.start_run('three').finish()"], check=True)
"""
    for change in ("before", "later"):
        for named in ({}, {"TACHOGRAPH_DIR": "rel"}):
            folder = tmp_path / change / (named.get("TACHOGRAPH_DIR") or "unset")
            folder.mkdir(parents=True)
            environment = {**os.environ, **named}
            done = subprocess.run(
                [sys.executable, "-c", code, change], cwd=folder, env=environment, capture_output=True, text=True
            )
            assert done.returncode == 0, done.stderr
            assert done.stderr == ""
            stores = {path.parent for path in folder.rglob("runs")}
            assert stores == {folder / (named.get("TACHOGRAPH_DIR") or ".tachograph")}
            runs = tachograph.open_store(*stores).runs()
            assert sorted(run.name for run in runs) == ["one", "three", "two"]
            assert next(run for run in runs if run.name == "one").metrics == {"of_the_child": 1.0}


def test_at_a_prompt_the_first_use_says_where_we_are(tmp_path: Path) -> None:
    lines = """
import os, tachograph
os.chdir("here")
tachograph.start_run("one").finish()
os.chdir("..")
tachograph.start_run("two").finish()
"""
    (tmp_path / "here").mkdir()
    subprocess.run([sys.executable, "-i", "-q"], input=lines, text=True, cwd=tmp_path, check=True, capture_output=True)
    assert [path.parent for path in tmp_path.rglob("runs")] == [tmp_path / "here" / ".tachograph"]
