"""Every example runs."""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import signal
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


def test_the_list_of_examples_has_each_of_them() -> None:
    folder = EXAMPLES[0].parent
    listed = re.findall(r"^\| \[(\S+)\]\(\1\) \|", (folder / "README.md").read_text(encoding="utf-8"), re.MULTILINE)
    there = {path.name for path in folder.iterdir() if not path.name.startswith((".", "__"))}
    assert sorted(listed) == sorted(there - {"README.md"})


@pytest.mark.parametrize("engine", ["duckdb", "spark"])
def test_tables_answer_as_the_store_does(engine: str, tmp_path: Path) -> None:
    pytest.importorskip("pyspark" if engine == "spark" else engine)
    if engine == "spark" and not shutil.which("java"):
        pytest.skip("Spark needs Java")
    folder = Path(__file__).parent.parent / "examples" / "spark_and_duckdb"
    environment = {**os.environ, "TACHOGRAPH_DIR": str(tmp_path / "store")}
    for command in (["train.py"], ["-m", "tachograph", "compact"], ["ask.py", engine]):
        done = subprocess.Popen(
            [sys.executable, *command], cwd=folder, env=environment, text=True, start_new_session=True,
            stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        )  # fmt: skip
        try:
            told, errors = done.communicate(timeout=100)
        finally:
            with contextlib.suppress(ProcessLookupError):  # Spark's Java goes with it, as a rule
                os.killpg(done.pid, signal.SIGKILL)
        assert done.returncode == 0, errors
    assert told.endswith("the store says the same\n")
