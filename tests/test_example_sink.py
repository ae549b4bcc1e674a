"""The example of a sink, installed with its real metadata: its own tests, and a training that is sent there."""

from __future__ import annotations

import os
import shutil
import sqlite3
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

EXAMPLE = Path(__file__).parent.parent / "examples" / "a_sink_of_your_own"
TRAINING = """
import tachograph
with tachograph.start_run("here") as run:
    run.log({"loss": 0.5})
"""


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder on the path, in which the example is installed."""
    folder = shutil.copytree(EXAMPLE, tmp_path / "site", ignore=shutil.ignore_patterns("__pycache__"))
    project = tomllib.loads((folder / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    info = folder / f"{project['name'].replace('-', '_')}-{project['version']}.dist-info"
    info.mkdir()
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {project['name']}\nVersion: {project['version']}\n")
    [(group, points)] = project["entry-points"].items()
    (info / "entry_points.txt").write_text(f"[{group}]\n" + "".join(f"{name} = {points[name]}\n" for name in points))
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(folder), os.environ.get("PYTHONPATH", "")]))
    monkeypatch.setenv("PYTHONDONTWRITEBYTECODE", "1")
    monkeypatch.setenv("TACHOGRAPH_DIR", str(tmp_path / "store"))
    return folder


def run(*arguments: str, **environment: str) -> str:
    command, given = [sys.executable, *arguments], {**os.environ, **environment}
    done = subprocess.run(command, env=given, capture_output=True, text=True, timeout=200)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_its_own_tests(site: Path) -> None:
    assert "3 passed" in run("-m", "pytest", "-q", "-p", "no:cacheprovider", f"--rootdir={site}", str(site))


def test_a_training_is_sent_there_by_its_scheme(site: Path, tmp_path: Path) -> None:
    one, two = tmp_path / "one.db", tmp_path / "two.db"
    run("-c", TRAINING, TACHOGRAPH_SINKS=f"sqlite://{one}")
    run("-m", "tachograph", "sync", "--to", f"sqlite://{two}")
    for path in (one, two):
        points = sqlite3.connect(path).execute("SELECT name, step, value FROM metrics WHERE name = 'loss'").fetchall()
        assert points == [("loss", 0, 0.5)]


def test_the_readme_shows_what_is_there() -> None:
    text = (EXAMPLE / "README.md").read_text(encoding="utf-8")
    project = tomllib.loads((EXAMPLE / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    assert project["entry-points"] == {"tachograph.sinks": {"sqlite": "tachograph_sqlite:SqliteSink"}}
    assert 'sqlite = "tachograph_sqlite:SqliteSink"' in text
    lines = (EXAMPLE / "tachograph_sqlite.py").read_text(encoding="utf-8").split("class SqliteSink")[1].splitlines()
    assert sum(1 for line in lines if line.strip()) <= 30
