"""Hooks of a toy plug-in."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tachograph.hooks import Hooks


@pytest.fixture
def faults_stay_inside(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TACHOGRAPH_STRICT", "0")


@pytest.fixture
def hooks() -> Iterator[Hooks]:
    used = Hooks("toy")
    yield used
    used.undo()
