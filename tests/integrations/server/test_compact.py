"""Tables of the runs that a server keeps."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
from tests.integrations.server.serving import Server

from tachograph.cli import main

RECORDED = """
import tachograph
for number in range(3):
    with tachograph.start_run(f"r{number}", params={"number": number}, tags={"k": "v"}) as run:
        for step in range(5000):
            run.log({"loss": 1 / (step + 1), "number": number})
"""


def rows(tables: Path, table: str) -> list[dict[str, Any]]:
    (path,) = (tables / table).rglob("*.parquet")
    found = [{**row, "version": ""} for row in pq.ParquetFile(path).read().to_pylist()]
    return sorted(found, key=str)


def test_a_servers_runs_become_the_same_tables(
    server: Server, tmp_path: Path, script: Callable[..., Any], capsys: pytest.CaptureFixture[str]
) -> None:
    assert script(RECORDED).returncode == 0
    assert main(["sync", "--to", server.url]) == 0
    capsys.readouterr()
    assert main(["compact", "--root", server.url, "--to", str(tmp_path / "there")]) == 0
    assert capsys.readouterr().out.startswith("3 runs added\n2 files (")
    assert main(["compact", "--to", str(tmp_path / "here")]) == 0
    for table in ("runs", "metrics"):
        assert rows(tmp_path / "there", table) == rows(tmp_path / "here", table)


def test_without_a_place_for_them_it_says_so(server: Server, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["compact", "--root", server.url]) == 2
    assert "keeps no tables: say where to put them (--to PLACE)" in capsys.readouterr().err
