"""Hooks of a toy plug-in, and what must be as before when everything was taken back."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from tests.parts.global_state import snapshot

import tachograph
from tachograph.capture import parsed_arguments, seeds
from tachograph.hooks import session


@pytest.fixture
def faults_stay_inside(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TACHOGRAPH_STRICT", "0")


@pytest.fixture
def everything_is_put_back() -> Iterator[None]:
    """After each test, everything is as it was before."""
    before = snapshot()
    yield
    tachograph.Autolog().undo()
    seeds.by_library.clear()
    parsed_arguments.latest.clear()
    after = snapshot()
    assert [name for name in before if after[name] is not before[name]] == []
    assert session.options == session.Options()
