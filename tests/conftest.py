"""What every test starts from: a local store of its own, and faults of ours that are raised."""

from __future__ import annotations

import os
import subprocess
import sys
import textwrap
from collections.abc import Callable, Generator, Iterator
from pathlib import Path
from typing import TypeVar

import pytest

from tachograph import guard, settings
from tachograph.record import launchers, open_runs

Report = TypeVar("Report", pytest.TestReport, pytest.CollectReport)


@pytest.fixture(autouse=True)
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The root folder of the store, which is not there yet."""
    for name in [name for name in os.environ if name.startswith("TACHOGRAPH_")]:
        monkeypatch.delenv(name)
    folder = tmp_path / "store"
    monkeypatch.setenv("TACHOGRAPH_DIR", str(folder))
    monkeypatch.setenv("TACHOGRAPH_STRICT", "1")
    monkeypatch.setenv(launchers.PARENT, "")  # each test's child processes look into its own store
    monkeypatch.setattr(settings, "_start", None)  # tests change folders as programs of their own
    guard.forget()
    yield folder
    for run in reversed(open_runs.open_runs()):
        run.finish()
    guard.mute(False)
    _end_workers()


def _end_workers() -> None:
    """End joblib's processes, which it keeps for the next time: some tests count this process's children."""
    loky = sys.modules.get("joblib.externals.loky.reusable_executor")
    if loky is not None and loky._executor is not None:
        loky._executor.shutdown(wait=True)


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Let ``-m "not slow"``, which replaces the condition in pyproject.toml, leave out what that leaves out, too."""
    for item in items:
        if item.get_closest_marker("benchmark") or item.get_closest_marker("fuzz"):
            item.add_marker(pytest.mark.slow)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport() -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Where every package is installed, a test that is skipped for want of one has failed."""
    return _not_missing((yield))


@pytest.hookimpl(wrapper=True)
def pytest_make_collect_report() -> Generator[None, pytest.CollectReport, pytest.CollectReport]:
    """The same for a whole file of tests."""
    return _not_missing((yield))


# Packages that no environment of the whole suite has: TensorFlow is in one of its own.
_LEFT_OUT = ("tensorflow", "plotly", "nbformat")


def _not_missing(report: Report) -> Report:
    reason = str(report.longrepr)
    is_missing = "could not import" in reason and not any(f"import '{name}" in reason for name in _LEFT_OUT)
    if report.skipped and is_missing and "TESTS_ALL_PACKAGES" in os.environ:
        report.outcome = "failed"
        report.longrepr = reason
    return report


@pytest.fixture
def script(tmp_path: Path) -> Callable[..., subprocess.CompletedProcess[str]]:
    """Runs a program in a process of its own, and gives what came of it."""

    def run(code: str, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
        path = tmp_path / "train.py"
        path.write_text(textwrap.dedent(code))
        command = [sys.executable, str(path), *arguments]
        return subprocess.run(command, capture_output=True, text=True, env={**os.environ, **environment}, timeout=180)

    return run
