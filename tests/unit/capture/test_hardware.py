"""Samples of the real machine, held against other ways to read it."""

import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from tachograph.capture import hardware
from tachograph.capture.hardware import Sampler

ALWAYS = {
    "system/memory.percent",
    "system/memory.available",
    "system/disk.free",
    "system/process.memory.rss",
}


@pytest.fixture
def worker() -> Iterator[subprocess.Popen[bytes]]:
    """A child that keeps one core busy, as a data loader does."""
    with subprocess.Popen([sys.executable, "-c", "while True: pass"]) as process:
        yield process
        process.kill()


def spend(seconds: float) -> None:
    started = time.process_time()
    while time.process_time() - started < seconds:
        pass


def test_what_is_sampled(tmp_path: Path) -> None:
    sample = Sampler(tmp_path).sample()
    assert sample.keys() >= ALWAYS
    assert all(isinstance(value, int | float) for value in sample.values())
    assert sample["system/process.memory.rss"] == pytest.approx(psutil.Process().memory_info().rss, rel=0.2)
    assert sample["system/disk.free"] == pytest.approx(shutil.disk_usage(tmp_path).free, rel=0.1)
    assert 0 < sample["system/memory.percent"] <= 100
    assert 0 < sample["system/memory.available"] <= psutil.virtual_memory().total


def test_the_process_s_own_share_of_the_processor() -> None:
    sampler = Sampler()
    started, before = time.monotonic(), time.process_time()
    spend(0.5)
    sample = sampler.sample()
    expected = 100 * (time.process_time() - before) / (time.monotonic() - started)
    assert sample["system/process.cpu.percent"] == pytest.approx(expected, rel=0.3)
    assert 0 < sample["system/cpu.percent"] <= 100
    time.sleep(0.5)
    assert sampler.sample()["system/process.cpu.percent"] < expected / 2


def test_a_time_too_short_for_the_clock_gives_no_percentage(monkeypatch: pytest.MonkeyPatch) -> None:
    sampler = Sampler()
    with monkeypatch.context() as patched:
        patched.setattr(hardware, "_SHORTEST", 60.0)  # a machine may take longer than a tenth of a second for this
        spend(0.06)
        assert "system/process.cpu.percent" not in sampler.sample()
    spend(0.06)  # counted from the sampler's start, not from the sample that had no percentage
    assert sampler.sample()["system/process.cpu.percent"] > 10


def test_workers_are_sampled_apart(worker: subprocess.Popen[bytes]) -> None:
    sampler = Sampler()
    time.sleep(0.2)
    first = sampler.sample()
    children = psutil.Process().children(recursive=True)  # what other tests' libraries keep running is among them
    assert first["system/workers.count"] == len(children)
    memory = sum(child.memory_info().rss for child in children)
    assert first["system/workers.memory.rss"] == pytest.approx(memory, rel=0.2)
    time.sleep(0.5)
    assert sampler.sample()["system/workers.cpu.percent"] > 10
    worker.kill()
    worker.wait()
    assert sampler.sample().get("system/workers.count", 0) < len(children)


def test_bytes_are_counted_from_the_sampler_s_start(tmp_path: Path) -> None:
    sampler = Sampler(tmp_path)
    first = sampler.sample()
    for name in {
        "system/disk.read",
        "system/disk.written",
        "system/network.sent",
        "system/network.received",
    } & first.keys():
        assert 0 <= first[name] < 2**30
    second = sampler.sample()
    assert all(second[name] >= first[name] for name in first if name.startswith(("system/disk.w", "system/network")))


def test_a_removed_folder_costs_one_reading_only(tmp_path: Path) -> None:
    (tmp_path / "gone").mkdir()
    sampler = Sampler(tmp_path / "gone")
    (tmp_path / "gone").rmdir()
    assert sampler.sample().keys() >= ALWAYS - {"system/disk.free"}


def test_a_sample_is_cheap() -> None:
    sampler = Sampler()
    best = min(_seconds_of(sampler) for _ in range(5))
    assert best < 0.02  # measured 0.002, most of it for looking over all processes for workers


def _seconds_of(sampler: Sampler) -> float:
    time.sleep(0.11)
    started = time.perf_counter()
    sampler.sample()
    return time.perf_counter() - started


@pytest.mark.slow
@pytest.mark.skipif(not hasattr(os, "fork"), reason="nothing forks here")
def test_in_a_forked_child_it_starts_anew() -> None:
    program = (
        "import os, time\n"
        "from tachograph.capture.hardware import Sampler\n"
        "started = time.process_time()\n"
        "while time.process_time() - started < 0.5: pass\n"
        "sampler = Sampler()\n"
        "if os.fork() == 0:\n"
        "    sampler.sample()\n"
        "    assert sampler._process.pid == os.getpid()\n"
        "    time.sleep(0.2)\n"
        "    assert sampler.sample()['system/process.cpu.percent'] < 50\n"
        "    os._exit(0)\n"
        "assert os.wait()[1] == 0\n"
    )
    subprocess.run([sys.executable, "-W", "ignore", "-c", program], check=True)


def test_memory_of_a_container() -> None:
    """Asked as if the machine were endless, any limit around this process shows, even the kernel's largest number."""
    total = psutil.virtual_memory().total
    if (container := hardware.container_memory(2**64)) is not None:
        assert 0 < container.used < min(total, container.limit)
    if (container := hardware.container_memory(total)) is not None:
        assert hardware.memory_size() == {"total": total, "limit": container.limit}
    else:
        assert hardware.memory_size() == {"total": total}
