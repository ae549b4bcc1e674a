"""Settings: the environment, then the nearest pyproject.toml; nothing in either breaks anything."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

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
