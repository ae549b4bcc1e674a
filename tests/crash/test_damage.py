"""Bytes flipped at random: the damage is found, and all else can be read."""

from __future__ import annotations

import json
import random
import shutil
from pathlib import Path
from typing import Any

import pytest

import tachograph
from tachograph.cli import main


def record(root: Path, folder: Path) -> None:
    """Two runs, each with everything, and all of it on disk with its checksums."""
    for name in ("damaged", "whole"):
        with tachograph.start_run(name, params={"lr": 0.1, "layers": [1, 2]}, tags={"a": "b"}) as run:
            for step in range(200):
                run.log({"loss": 1 / (step + 1), "accuracy": step / 200}, step=step)
            (folder / "model.bin").write_bytes(random.Random(name).randbytes(500))
            run.log_artifact(folder / "model.bin")
            run.log_table("table", [{"x": f"{name} {number}"} for number in range(20)])
    assert tachograph.flush()


def flip(path: Path, chance: random.Random) -> int:
    content = bytearray(path.read_bytes())
    spot = chance.randrange(len(content))
    content[spot] ^= chance.randrange(1, 256)
    path.chmod(0o644)
    path.write_bytes(content)
    return spot


def check_variants(root: Path, folder: Path, count: int, capsys: Any) -> None:
    record(root, folder)
    store = tachograph.open_store(root)
    damaged, whole = store.run("damaged"), store.run("whole")
    kept = [root / "blobs" / one.digest[7:9] / one.digest[7:] for one in damaged.artifacts]
    files = [*sorted(damaged.dir.glob("*/*.jsonl")) * 3, *sorted(damaged.dir.glob("*/*.sums")), *kept]
    store.close()
    chance = random.Random(7)
    for number in range(count):
        copy = folder / f"variant-{number}"
        shutil.copytree(root, copy, ignore=shutil.ignore_patterns("index.sqlite*", "cache"))
        target = copy / chance.choice(files).relative_to(root)
        spot = flip(target, chance)
        capsys.readouterr()
        status = main(["verify", "--root", str(copy), "--json"])
        printed = capsys.readouterr().out
        assert status == 1, f"byte {spot} of {target} was flipped, and verify saw nothing"
        # A checksum that doesn't fit its segment may be the damaged one of the two.
        named = str(target.with_suffix(""))
        assert json.dumps(named)[1:-1] in printed, printed
        with_damage = tachograph.open_store(copy)
        other = with_damage.run("whole")
        assert other.history("loss").values.tolist() == whole.history("loss").values.tolist()
        assert other.params == whole.params
        assert len(other.table("table")) == 20
        assert with_damage.runs() != []
        with_damage.close()
        shutil.rmtree(copy)


def test_flipped_bytes(root: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    check_variants(root, tmp_path, 40, capsys)


@pytest.mark.benchmark
@pytest.mark.timeout(1200)
def test_a_thousand_variants(root: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    check_variants(root, tmp_path, 1000, capsys)
