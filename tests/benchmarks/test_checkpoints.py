"""What keeping a checkpoint costs the training thread, beside a plain copy of the same file."""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median

import pytest

import tachograph
from tachograph.record import checkpoints

pytestmark = pytest.mark.benchmark

SIZE, ROUNDS = 1 << 28, 9


def seconds(work: Callable[[], object]) -> float:
    started = time.perf_counter()
    work()
    return time.perf_counter() - started


def test_a_large_checkpoint(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    source, copy = tmp_path / "model.ckpt", tmp_path / "copy"
    source.write_bytes(bytes(SIZE))
    pairs = []
    with tachograph.start_run() as run:
        for step in range(ROUNDS):
            with open(source, "r+b") as file:
                file.write(step.to_bytes(8, "little"))  # another content each time, or it is there already
            plain = seconds(lambda: shutil.copyfile(source, copy))
            copy.unlink()
            kept = seconds(lambda step=step: checkpoints.keep(run, source, step=step))  # type: ignore[misc]
            pairs.append((plain, kept))
            recorded = seconds(lambda: tachograph.flush(60))
    ratio = median(kept / plain for plain, kept in pairs)
    with capsys.disabled():
        plain = median(plain for plain, _ in pairs)
        print(
            f"\n256 MiB: keep takes {ratio:.2f} times a plain copy ({plain * 1e3:.0f} ms); "
            f"digested and recorded {recorded * 1e3:.0f} ms later"
        )
    assert ratio < 1.3
