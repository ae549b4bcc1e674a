"""What importing brings in, and who may import whom."""

from __future__ import annotations

import ast
import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import tachograph

SOURCE = Path(tachograph.__file__).parent
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
    assert ("tachograph.ship" in found, "tachograph.sinks" in found) == (bool(sinks), bool(sinks))
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


# Each may import those before it on its way: events <- journal <- run <- autolog. What is not listed is free to read.
LAYERS = [
    ["errors", "settings", "steps", "capture.secrets"],
    ["events", "guard", "imports"],
    ["background", "values", "process"],
    ["journal", "capture.blobs"],
    ["run", "active", "ending", "surroundings", "capture.console", "capture.arguments", "capture.seeds"],
    ["verbs", "patch"],
    ["session"],
    ["plugin"],
    ["autologging"],
]
LAYER = {name: number for number, names in enumerate(LAYERS) for name in names}
RECORDING = {name for names in LAYERS for name in names}
READING = {"store", "index", "query", "records", "projection", "history", "artifacts", "database"}


def modules() -> Iterator[tuple[str, Path]]:
    for path in sorted(SOURCE.rglob("*.py")):
        parts = path.relative_to(SOURCE).with_suffix("").parts
        yield ".".join(parts[:-1] if parts[-1] == "__init__" else parts), path


def imports(path: Path, lazy: bool) -> set[str]:
    """The modules that ``path`` imports: when it is loaded, or (``lazy``) also later; not those for types only."""
    found: set[str] = set()
    for node in _nodes(ast.parse(path.read_text()), lazy):
        if isinstance(node, ast.Import):
            found.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: a relative import"
            names = [f"{node.module}.{alias.name}" for alias in node.names]
            found.update(name if _is_module(name) else str(node.module) for name in names)
    return found


def _nodes(tree: ast.AST, lazy: bool) -> Iterator[ast.AST]:
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING":
            continue
        if not lazy and isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            continue
        yield node
        yield from _nodes(node, lazy)


def _is_module(name: str) -> bool:
    path = SOURCE.parent.joinpath(*name.split("."))
    return path.with_suffix(".py").exists() or (path / "__init__.py").exists()


def ours(names: set[str]) -> set[str]:
    return {name.removeprefix("tachograph.") for name in names if name.startswith("tachograph.")}


ALL = list(modules())
EACH = pytest.mark.parametrize(("name", "path"), ALL, ids=[name or "tachograph" for name, _ in ALL])


@EACH
def test_the_library_imports_no_plug_in_and_no_framework(name: str, path: Path) -> None:
    roots = {imported.partition(".")[0] for imported in imports(path, lazy=True)}
    assert not roots & {"tachograph_frameworks", "tachograph_trackers"}
    if not name.startswith("capture"):  # which reads data of any kind
        assert not roots & {"torch", "tensorflow", "jax", "keras", "sklearn", "xgboost", "lightning"}


@EACH
def test_frames_are_imported_when_they_are_asked_for(name: str, path: Path) -> None:
    assert not imports(path, lazy=False) & {"pandas", "polars", "pyarrow", "matplotlib", "plotly"}


@pytest.mark.parametrize("name", sorted(RECORDING))
def test_dependencies_point_one_way(name: str) -> None:
    path = dict(ALL)[name]
    for other in ours(imports(path, lazy=False)) & RECORDING:
        assert LAYER[other] <= LAYER[name], f"{name} imports {other}, which stands above it"


@pytest.mark.parametrize("name", sorted(RECORDING))
def test_recording_does_not_load_what_reads(name: str) -> None:
    found = ours(imports(dict(ALL)[name], lazy=False))
    assert not found & READING
    assert not any(other.startswith(("server", "cli")) for other in found)
