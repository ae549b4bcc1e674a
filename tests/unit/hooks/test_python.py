"""Parsed command lines and seeds are noted, and nothing changes for that."""

from __future__ import annotations

import argparse
import random
import sys
from pathlib import Path

import numpy as np
import pytest

import tachograph

pytestmark = pytest.mark.usefixtures("everything_is_put_back")


def test_command_lines_and_seeds_are_noted(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "argv", ["train.py", "--lr", "0.1", "--api-key", "swordfish"])
    tachograph.autolog()
    parser = argparse.ArgumentParser()
    parser.add_argument("--lr", type=float)
    parser.add_argument("--api-key")
    found = parser.parse_args()
    assert (found.lr, found.api_key) == (0.1, "swordfish")
    random.seed(7)
    np.random.seed(8)
    random.seed("text")
    random.seed()
    with tachograph.start_run() as run:
        pass
    recorded = tachograph.open_store(root).run(run.id)
    assert recorded.params == {"lr": 0.1, "api_key": "[redacted]"}
    seeds = recorded.environment["seeds"]  # torch's too, where a test before this one has set it
    assert (seeds["random"], seeds["numpy"]) == ("text", 8)


def test_hearing_of_them_changes_nothing() -> None:
    random.seed(7)
    np.random.seed(7)
    expected = random.random(), np.random.rand()
    tachograph.autolog()
    random.seed(7)
    np.random.seed(7)
    assert (random.random(), np.random.rand()) == expected
    with pytest.raises(TypeError):
        random.seed([])  # type: ignore[arg-type]
    with pytest.raises(ValueError):
        np.random.seed(-1)
    with pytest.raises(SystemExit) as caught:
        argparse.ArgumentParser(exit_on_error=True).parse_args(["--unknown"])
    assert caught.value.code == 2
