"""No recording verb raises or blocks, whatever state the program is in; and what can be recorded is."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections import Counter
from pathlib import Path

from tachograph import events, journal

PROGRAM = Path(__file__).parents[1] / "parts" / "every_verb.py"


def call(condition: str, root: Path, **environment: str) -> Counter[str]:
    """Call all verbs in a process of its own; how often each was called."""
    command = [sys.executable, str(PROGRAM), condition]
    given = {**os.environ, "TACHOGRAPH_STRICT": "0", "PYTHONWARNINGS": "ignore", **environment}
    done = subprocess.run(command, capture_output=True, text=True, env=given, timeout=60)
    assert done.returncode == 0, done.stderr
    return Counter(json.loads(done.stdout.splitlines()[-1]))


def recorded(root: Path) -> list[events.Event]:
    found = [
        item
        for run in (root / "runs").iterdir()
        for writer in journal.writers(run)
        for item in journal.read_writer(writer)
    ]
    return [item for item in found if isinstance(item, events.Event)]


def named(found: list[events.Event], name: str) -> int:
    return sum(isinstance(event, events.Metrics) and name in event.values for event in found)


def check(root: Path, calls: Counter[str], files: bool = True) -> None:
    """Everything is there that was recorded."""
    found = recorded(root)
    texts = Counter(event.text for event in found if isinstance(event, events.Note))
    kinds = Counter(type(event) for event in found)
    assert named(found, "loss") == calls["log"]
    assert named(found, "main") == calls["main"]
    assert kinds[events.Params] == calls["log_params"]
    assert kinds[events.Tags] == calls["set_tags"]
    assert texts["a remark"] + texts["of the main program"] == calls["log_note"]
    assert texts["of a child"] == calls["child"] + calls["start_run"]
    assert kinds[events.RunStart] == kinds[events.RunEnd] == 1 + calls["child"] + calls["start_run"]
    if files:
        assert kinds[events.Artifact] == calls["log_artifact"] + calls["log_table"]
        assert kinds[events.Dataset] == calls["log_dataset"]


def test_in_peace(root: Path) -> None:
    check(root, call("quiet", root))


def test_in_a_signal_handler_at_any_instruction(root: Path) -> None:
    calls = call("in a signal handler", root)
    assert min(calls.values()) > 5
    check(root, calls)
