"""A run in a bucket is followed: what its sender hands over, soon after."""

from __future__ import annotations

import subprocess
import sys

import pytest
from tests.integrations.server.serving import lines
from tests.integrations.server.test_commands import next_line

from tachograph.cli import main
from tachograph.sinks.bucket import CloudSink

OFTEN = """
import sys
from tachograph.cli import main
from tachograph.store import follow
follow.BUCKET_PERIOD = 0.2
sys.exit(main(sys.argv[1:]))
"""


def test_a_run_is_followed_until_it_is_over(url: str) -> None:
    sink = CloudSink(url)
    sent = lines("r", "0-w", 6)
    sink.write("r", "0-w", sent[:3])
    tail = subprocess.Popen(
        [sys.executable, "-c", OFTEN, "tail", "--root", url], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    try:
        assert next_line(tail).split() == ["name", "of", "r", "r"]
        assert [next_line(tail).rpartition("  ")[2] for _ in range(2)] == ["m0=0", "m0=1"]
        sink.write("r", "0-w", sent[3:5])
        assert [next_line(tail).rpartition("  ")[2] for _ in range(2)] == ["m0=2", "m0=3"]
        sink.write("r", "0-w", sent[5:])
        assert [next_line(tail).rpartition("  ")[2] for _ in range(2)] == ["m0=4", "m0=5"]
        assert "finished after" in next_line(tail)
        assert tail.wait(20) == 0
    finally:
        tail.kill()
        tail.communicate()


def test_a_run_that_is_over(url: str, capsys: pytest.CaptureFixture[str]) -> None:
    CloudSink(url).write("r", "0-w", lines("r", "0-w", 30))
    assert main(["tail", "r", "--lines", "2", "--root", url]) == 0
    told = capsys.readouterr().out.splitlines()
    assert [line.rpartition("  ")[2] for line in told[1:3]] == ["m0=28", "m0=29"]
    assert "finished after" in told[3]
