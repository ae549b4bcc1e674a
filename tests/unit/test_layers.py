"""What may import what: the core is built in one order, from the ground up, and each part has its place in it."""

from __future__ import annotations

import ast
import graphlib
import re
from pathlib import Path

import pytest
from tests.parts.modules import SOURCE, imports, modules, ours, private_uses

import tachograph
import tachograph_frameworks

# A module may import from its own part and from the parts of earlier rows, imports inside functions included. A part
# is a line of modules; ``x.*`` is a package with all of its own.
ROWS: list[dict[str, str]] = [
    {
        "plain facts": "addresses errors events literals printable redaction settings suspicion trampoline version"
        " wording"
    },
    {"the boundary of faults": "guard"},
    {"what users hand over": "values", "what there is once per process": "runtime.*"},
    {"the journal": "journal.*"},
    {
        "what surrounds a training": "capture.*",
        "what data looks like": "data.*",
        "journals as tables": "index.*",
        "a server's client": "client.*",
        "object stores": "bucket.*",
    },
    {"decisions about models": "registry.*", "what came of what": "lineage.*"},
    {"what people ask": "store.*"},
    {"sinks": "sinks.*"},
    {"shipping": "ship.*"},
    {"upkeep": "upkeep.*", "closed runs as Parquet": "compact.*"},
    {"recording": "record.*"},
    {"listening": "hooks.* patch"},
    {"the public names": "", "the server": "server.*"},
    {"commands": "__main__ cli.*", "kits for tests": "testing.*"},
]
MOST_ENTRIES, MOST_LINES = 40, 400
LONG = {
    "capture/git.py",
    "journal/writing.py",  # the careful path beside the quick one
    "redaction.py",  # a list of shapes
}
SHARED = {
    *("Connection", "Tables", "Tail", "Upkeep"),  # several ways to do the same
    *("Artifact", "Note"),  # an event, and what a reader is given of it
}
FILES = dict(modules())
PLUGINS = Path(tachograph_frameworks.__file__).parent


def _places() -> dict[str, tuple[int, str]]:
    """The row and the part of each module; one that is named by itself is not one of a package's."""
    places: dict[str, tuple[int, str]] = {}
    for row, parts in enumerate(ROWS):
        for part, listed in parts.items():
            for name in listed.split() or [""]:
                package = name.removesuffix(".*")
                within = [each for each in FILES if each == package or each.startswith(f"{package}.")]
                places.update(dict.fromkeys(within if name.endswith(".*") else [name], (row, part)))
    return places


PLACES = _places()


def test_each_module_has_its_place() -> None:
    assert PLACES.keys() == FILES.keys()


def test_the_map_names_each_entry_and_nothing_else() -> None:
    lines = (SOURCE / "README.md").read_text(encoding="utf-8").splitlines()
    rows = [line.split("|")[2] for line in lines if line.startswith("| ")]
    named = [name.rstrip("/") for row in rows for name in re.findall(r"`([^`]+)`", row)]
    assert sorted(named) == sorted({name.partition(".")[0] or "__init__" for name in FILES})


def test_imports_go_one_way() -> None:
    against = {
        (name, other)
        for name, path in FILES.items()
        for other in ours(imports(path, lazy=True))
        if PLACES[name][1] != PLACES[other][1] and PLACES[other][0] >= PLACES[name][0]
    }
    assert not against


def test_the_server_neither_records_nor_sends() -> None:
    used = {other for name in FILES if name.startswith("server.") for other in ours(imports(FILES[name], lazy=True))}
    assert not {name for name in used if name.partition(".")[0] in ("sinks", "ship", "record", "hooks")}


def test_one_file_hears_of_forks() -> None:
    heard = [str(path.relative_to(SOURCE)) for path in FILES.values() if "register_at_fork(" in path.read_text("utf-8")]
    heard += [path.name for path in PLUGINS.rglob("*.py") if "register_at_fork(" in path.read_text("utf-8")]
    assert heard == ["runtime/forks.py"]


def test_no_imports_go_in_a_circle() -> None:
    graph = {name: ours(imports(path, lazy=False)) - {name} for name, path in FILES.items()}
    list(graphlib.TopologicalSorter(graph).static_order())  # CycleError names the circle


def test_the_house_stays_easy_to_live_in() -> None:
    entries = [path for path in SOURCE.iterdir() if path.name != "__pycache__"]
    lengths = {path.relative_to(root).as_posix(): path for root in (SOURCE, PLUGINS) for path in root.rglob("*.py")}
    long = {name for name, path in lengths.items() if len(path.read_text("utf-8").splitlines()) > MOST_LINES}
    assert (len(entries) <= MOST_ENTRIES, long) == (True, LONG)


def test_no_two_public_classes_share_a_name() -> None:
    homes: dict[str, set[str]] = {}
    for name, path in FILES.items():
        for node in ast.parse(path.read_text("utf-8")).body:
            if isinstance(node, ast.ClassDef) and not node.name.startswith("_"):
                homes.setdefault(node.name, set()).add(name)
    assert {name for name, modules in homes.items() if len(modules) > 1} == SHARED


@pytest.mark.parametrize("root", [SOURCE, PLUGINS], ids=lambda path: path.name)
def test_private_names_stay_in_their_part(root: Path) -> None:
    parts = {path: PLACES[name][1] for name, path in FILES.items()}
    across = [
        (str(path.relative_to(root)), module, name)
        for path in root.rglob("*.py")
        for module, name in private_uses(path)
        if PLACES[module.removeprefix("tachograph").removeprefix(".")][1] != parts.get(path)
    ]
    assert across == []


def test_plug_ins_use_no_private_part_of_a_run() -> None:
    with tachograph.start_run() as run:
        names = [name for thing in (run, run.recorder, run._journal) for name in dir(thing)]
    private = {name for name in names if name.startswith("_") and not name.startswith("__")}
    nodes = [
        (path.name, node)
        for path in PLUGINS.rglob("*.py")
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
    ]
    attributes = [(file, node) for file, node in nodes if isinstance(node, ast.Attribute)]
    theirs = {node.name for _, node in nodes if isinstance(node, ast.FunctionDef)}
    theirs |= {node.attr for _, node in attributes if isinstance(node.ctx, ast.Store)}
    assert {"_journal", "_listen"} <= private - theirs
    assert not [(file, node.attr) for file, node in attributes if node.attr in private - theirs]
