"""What importing brings in."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
from tests.parts.modules import imports, modules, ours

HEAVY = {
    *("numpy", "pandas", "polars", "pyarrow", "scipy", "torch", "tensorflow", "jax", "keras", "sklearn", "xgboost"),
    *("lightning", "matplotlib", "plotly", "sqlite3", "sqlalchemy", "starlette", "uvicorn", "http.server", "obstore"),
    *(
        "boto3",
        "psycopg",
        "requests",
        "psutil",
        "pynvml",
        "rich",
        "packaging",
        "asyncio",
        "multiprocessing",
        "subprocess",
    ),
    *("concurrent.futures", "importlib.metadata", "hashlib", "traceback"),
}


def imported_by(code: str) -> set[str]:
    code += "; import json, sys; print(json.dumps(sorted(sys.modules)))"
    done = subprocess.run([sys.executable, "-I", "-c", code], capture_output=True, text=True, check=True)
    return set(json.loads(done.stdout))


@pytest.mark.parametrize("code", ["import tachograph", "import tachograph; tachograph.log; tachograph.autolog"])
def test_import_brings_in_nothing_heavy(code: str) -> None:
    assert not imported_by(code) & HEAVY


@pytest.mark.parametrize("sinks", [[], ["file:///no/such/folder/there"], ["http://127.0.0.1:9"]])
def test_what_sends_is_imported_where_a_sink_is_named(sinks: list[str], root: Path) -> None:
    record = f"run = tachograph.start_run(sinks={sinks}); run.log({{'loss': 1.0}}); run.finish()"
    code = f"import os, tachograph; os.environ.update(TACHOGRAPH_DIR={str(root)!r}, TACHOGRAPH_EXIT_WAIT='0'); {record}"
    found = imported_by(code)
    assert ("tachograph.ship.shipper" in found, "tachograph.sinks" in found) == (bool(sinks), bool(sinks))
    assert ("requests" in found) <= any(url.startswith("http") for url in sinks)
    sending = {name for name in found if name.startswith(("tachograph.ship", "tachograph.sinks"))}
    assert "tachograph.ship.detached" not in sending


def test_import_does_nothing() -> None:
    code = """
import atexit, os, signal, sys, threading, warnings
before = sys.exit, sys.excepthook, sys.stdout.write, list(sys.meta_path), threading.Thread.start, list(warnings.filters)
environment, handlers = dict(os.environ), [signal.getsignal(number) for number in (2, 15)]
import tachograph
tachograph.start_run, tachograph.autolog
after = sys.exit, sys.excepthook, sys.stdout.write, list(sys.meta_path), threading.Thread.start, list(warnings.filters)
assert before == after
assert environment == dict(os.environ)
assert handlers == [signal.getsignal(number) for number in (2, 15)]
assert threading.active_count() == 1
"""
    subprocess.run([sys.executable, "-c", code], check=True)


RECORDING = {
    *("errors", "settings", "redaction", "events", "guard", "values", "journal", "journal.steps", "journal.blobs"),
    *("runtime.background", "runtime.deferred", "runtime.entry_points", "runtime.import_hooks", "runtime.process"),
    *(
        "record.active_run",
        "record.lifecycle",
        "record.open_runs",
        "record.outcome",
        "record.overhead",
        "record.process_end",
        "record.run",
        "record.verbs",
    ),
    *("capture.console", "capture.parsed_arguments", "capture.seeds"),
    *("hooks", "hooks.call", "hooks.patch", "hooks.watch", "hooks.session", "hooks.plugins"),
    *("hooks.autolog", "hooks.python"),
}
ALL = list(modules())
EACH = pytest.mark.parametrize(("name", "path"), ALL, ids=[name or "tachograph" for name, _ in ALL])


@EACH
def test_the_library_imports_no_plug_in_and_no_framework(name: str, path: Path) -> None:
    roots = {imported.partition(".")[0] for imported in imports(path, lazy=True)}
    assert not roots & {"tachograph_frameworks", "tachograph_trackers"}
    if not name.startswith(("capture", "data")):  # which read data of any kind
        assert not roots & {"torch", "tensorflow", "jax", "keras", "sklearn", "xgboost", "lightning"}


@EACH
def test_frames_are_imported_when_they_are_asked_for(name: str, path: Path) -> None:
    assert not imports(path, lazy=False) & {"pandas", "polars", "pyarrow", "matplotlib", "plotly"}


@pytest.mark.parametrize("name", sorted(RECORDING))
def test_recording_does_not_load_what_reads(name: str) -> None:
    found = ours(imports(dict(ALL)[name], lazy=False))
    assert not [other for other in found if other.partition(".")[0] in ("store", "index", "server", "cli")]
