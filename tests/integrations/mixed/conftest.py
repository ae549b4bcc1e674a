"""Autolog with every plug-in, and the runs that come of it as a tree."""

from __future__ import annotations

import os

os.environ.setdefault("KERAS_BACKEND", "torch")
os.environ.setdefault("OMP_NUM_THREADS", "1")

import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

import tachograph


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Where frameworks write what nobody told them to write elsewhere; and none of their warnings."""
    monkeypatch.chdir(tmp_path)
    with warnings.catch_warnings(action="ignore"):
        yield


@pytest.fixture
def tree(root: Path) -> Iterator[Callable[[], list[Any]]]:
    """Autolog with every plug-in. Ends it, and gives the runs as a tree of (name, children)."""
    with tachograph.autolog(system=False) as handle:

        def ended() -> list[Any]:
            handle.undo()
            store = tachograph.open_store(root)
            assert {run.status for run in store.runs(children=True)} <= {"finished"}
            return _tree(store.runs(order_by="started"))

        yield ended


def _tree(runs: Any) -> list[Any]:
    return [(run.name, _tree(run.children)) if run.children else run.name for run in runs]


@pytest.fixture
def found(root: Path) -> Callable[[str], Any]:
    """The only run of a name, wherever it is in the tree."""

    def find(name: str) -> Any:
        [run] = [run for run in tachograph.open_store(root).runs(children=True) if run.name == name]
        return run

    return find
