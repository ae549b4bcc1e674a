"""A store of its own for each test, and the program run on it."""

from __future__ import annotations

import functools
import json
import math
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

import tachograph
from tachograph.cli import main


def store_of(program: str, folders: pytest.TempPathFactory) -> Path:
    """A store in which a program has recorded."""
    root = folders.mktemp("trained") / "store"
    environment = {**os.environ, "TACHOGRAPH_DIR": str(root)}
    subprocess.run([sys.executable, "-c", program], env=environment, check=True, timeout=180)
    return root


@pytest.fixture
def runs(trained: Path, root: Path) -> Path:
    """The test's own copy of the store that its module has ``trained``."""
    shutil.copytree(trained, root)
    return root


@pytest.fixture(autouse=True)
def store(root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where recordings go; it does not exist yet."""
    monkeypatch.setenv("TACHOGRAPH_CONSOLE", "0")
    for name in ("NO_COLOR", "FORCE_COLOR", "COLUMNS"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.chdir(tmp_path)
    return root


@pytest.fixture
def run_cli(capfd) -> Callable[..., tuple[int, str, str]]:
    """Run a command line in this process: exit status, output, errors."""

    def run(*arguments: str) -> tuple[int, str, str]:
        capfd.readouterr()
        status = main(arguments)
        output, errors = capfd.readouterr()
        return status, output, errors

    return run


@pytest.fixture
def run_json(run_cli) -> Callable[..., Any]:
    """Run a command that succeeds, with ``--json``: what it wrote, read strictly."""

    def run(*arguments: str) -> Any:
        status, output, errors = run_cli(*arguments, "--json")
        assert (status, errors) == (0, "")
        return strict(output)

    return run


@pytest.fixture
def wrong(run_cli) -> Callable[..., str]:
    """Run a command line that is refused: its one line of error."""

    def run(*arguments: str, status: int = 2) -> str:
        got, output, errors = run_cli(*arguments)
        assert (got, output) == (status, "")
        assert errors.startswith("tachograph: ")
        assert len(errors.splitlines()) == 1
        return errors

    return run


def strict(text: str) -> Any:
    """JSON as the standard has it."""

    def refuse(constant: str) -> None:
        raise ValueError(f"{constant} is no JSON")

    return json.loads(text, parse_constant=refuse)


@pytest.fixture
def program() -> Callable[..., subprocess.CompletedProcess[str]]:
    """Run the real program."""

    def run(*arguments: str, before: Sequence[str] = (), **options: Any) -> subprocess.CompletedProcess[str]:
        command = [*before, sys.executable, "-m", "tachograph", *arguments]
        return subprocess.run(command, text=True, timeout=180, **{"capture_output": True, **options})

    return run


@pytest.fixture
def forbidden(program) -> Callable[..., subprocess.CompletedProcess[str]]:
    """Run the real program so that it may do only what files' permissions allow, as root too."""
    if os.geteuid() != 0:
        return program
    bare = ["setpriv", "--bounding-set=-all", "--inh-caps=-all"]
    return functools.partial(program, before=bare)


@pytest.fixture
def record(store) -> Callable[..., str]:
    """Record a finished run of a made-up training: its id."""

    def run(name: str, experiment: str = "churn", rate: float = 0.01, points: int = 50, **params: Any) -> str:
        settings = {"lr": rate, **params}
        with tachograph.start_run(name, experiment=experiment, params=settings, tags={"owner": "ada"}) as made:
            for step in range(points):
                made.log({"loss": math.exp(-step * rate), "val_loss": math.exp(-step * rate) + 0.1}, step=step)
            made.log({"accuracy": 1 - math.exp(-points * rate)})
        assert tachograph.flush()  # the last look at the hardware comes after the end
        return made.id

    return run
