"""How far each run was sent to a sink, on disk."""

from __future__ import annotations

import shutil
from pathlib import Path

from tachograph.ship.positions import Positions


def test_a_run_that_is_sent_is_no_longer_unsent(tmp_path: Path) -> None:
    positions = Positions(tmp_path, "far")
    positions.begin("run")
    assert (positions.unsent(), positions.sent()) == (["run"], [])
    positions.mark_sent("run")
    positions.mark_sent("run")  # somebody else did
    assert (positions.unsent(), positions.sent()) == ([], ["run"])


def test_a_store_that_was_deleted_meanwhile_stays_so(tmp_path: Path) -> None:
    positions = Positions(tmp_path, "far")
    positions.begin("run")
    assert positions.unsent() == ["run"]
    shutil.rmtree(positions.folder)
    positions.mark_sent("run")
    assert not positions.folder.exists()
