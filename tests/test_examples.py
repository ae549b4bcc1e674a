"""Every example runs."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

EXAMPLES = sorted((Path(__file__).parent.parent / "examples").glob("*.py"))


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda path: path.stem)
def test_it_runs(example: Path, tmp_path: Path) -> None:
    environment = {**os.environ, "TACHOGRAPH_DIR": str(tmp_path / "store")}
    done = subprocess.run([sys.executable, str(example)], env=environment, capture_output=True, text=True, timeout=200)
    assert (done.returncode, done.stderr) == (0, "")
    assert len(list((tmp_path / "store" / "runs").iterdir())) > 0
