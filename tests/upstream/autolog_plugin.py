"""A pytest plug-in that turns autolog on for a test session that knows nothing of it.

    pytest -p autolog_plugin --pyargs sklearn.tests.test_pipeline

The recordings go to a temporary folder. Faults of ours are raised (``TACHOGRAPH_STRICT=1``), so that a test which would
otherwise pass in spite of one fails.
"""

from __future__ import annotations

import os
import tempfile

import pytest

os.environ.setdefault("TACHOGRAPH_DIR", tempfile.mkdtemp(prefix="tachograph-upstream-"))
os.environ.setdefault("TACHOGRAPH_STRICT", "1")


def pytest_configure(config: pytest.Config) -> None:
    import tachograph

    tachograph.autolog(system=False)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    runs = os.path.join(os.environ["TACHOGRAPH_DIR"], "runs")
    count = len(os.listdir(runs)) if os.path.isdir(runs) else 0
    terminalreporter.write_line(f"tachograph recorded {count} runs in {runs}")
