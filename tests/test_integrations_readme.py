"""What ``integrations/README.md`` says is recorded is recorded, under these names, and nothing else is."""

from __future__ import annotations

import fnmatch
import importlib
import os
import re
import shutil
import subprocess
import sys
import tomllib
import warnings
from collections.abc import Iterator
from importlib.metadata import entry_points
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet
from tests.trainings import SINGLE, TRAININGS

import tachograph
from tachograph.hooks import plugins
from tachograph.store import loaders
from tachograph.testing import recorded

TOP = Path(__file__).parent.parent
README = (TOP / "integrations" / "README.md").read_text(encoding="utf-8")
EXAMPLE = TOP / "examples" / "a_plugin_of_your_own"


# -- the tables ------------------------------------------------------------------------------------------------------


class Row(NamedTuple):
    """A row of a table: some names of one kind. A ``*`` in one stands for anything."""

    kind: str
    names: list[str]
    steps: str


def section(title: str) -> str:
    """What is below a heading, up to the next."""
    found = re.search(rf"^#+ {re.escape(title)}\n(.*?)(?=^#|\Z)", README, re.MULTILINE | re.DOTALL)
    assert found, f"there is no section {title!r}"
    return found[1]


def rows(title: str) -> list[Row]:
    lines = [line.split("|")[1:] for line in section(title).splitlines() if line.startswith("| ")]
    cells = [[cell.strip() for cell in line] for line in lines]
    kinds = {"metric", "param", "artifact", "dataset", "tag"}
    return [Row(each[0], re.findall(r"`([^`]+)`", each[1]), each[2]) for each in cells if each[0] in kinds]


def names(run: Any) -> Iterator[tuple[str, str]]:
    """The kind and the name of each thing that a run holds."""
    yield from (("metric", name) for name in run.metrics)
    yield from (("param", name) for name in run.params)
    yield from (("artifact", artifact.name) for artifact in run.artifacts)
    yield from (("dataset", data.name) for data in run.datasets)
    yield from (("tag", name) for name in run.tags)


def fits(steps: list[int], said: str) -> bool:
    """Whether the steps of a name are as its row says."""
    if said.startswith("once"):
        return len(steps) == 1
    return steps == list(range(len(steps))) if "from 0" in said else True


@pytest.fixture
def runs(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[list[Any]]:
    """All that the trainings of one framework have recorded."""
    framework, trainings = TRAININGS[request.param]
    with warnings.catch_warnings(action="ignore"), recorded(framework) as store:
        for train in trainings:
            train(tmp_path)
            _end_loop(framework)
        yield store.runs(children=True)


def _end_loop(framework: str) -> None:
    """A plain loop is over with its program: this one goes on."""
    if framework == "torch":
        tachograph.Autolog().undo()
        tachograph.autolog(framework, system=False)


@pytest.mark.parametrize(("title", "runs"), [(title, title) for title in TRAININGS], indirect=["runs"])
def test_the_table_is_what_is_recorded(title: str, runs: list[Any]) -> None:
    table = rows(title)
    said = {(row.kind, name) for row in table for name in row.names}
    done = {found for run in runs for found in names(run)}
    missing = {(kind, name) for kind, name in done if not any(_match(kind, name, *each) for each in said)}
    never = {each for each in said if not any(_match(kind, name, *each) for kind, name in done)}
    assert (missing, never) == (set(), set()), "(recorded and not in the table, in the table and not recorded)"
    for run in runs:
        for name in run.metrics:
            steps = run.history(name).steps.tolist()
            told = [row.steps for row in table if any(_match("metric", name, row.kind, each) for each in row.names)]
            assert any(fits(steps, each) for each in told), (run.name, name, steps, told)


def _match(kind: str, name: str, said_kind: str, said: str) -> bool:
    pattern = re.sub(r"([\[\]?])", r"[\1]", said)
    return kind == said_kind and fnmatch.fnmatchcase(name, pattern)


def test_every_plugin_has_its_section() -> None:
    assert set(plugins.names()) == {framework for framework, _ in TRAININGS.values()} | {"hydra"}
    assert section("Hydra")  # which trains nothing itself


@pytest.mark.parametrize("title", [*(title for title in TRAININGS if title != "Fabric"), "Hydra"])
def test_the_versions_are_those_of_the_plugin(title: str) -> None:
    framework = "hydra" if title == "Hydra" else TRAININGS[title][0]
    needed = importlib.import_module(plugins.installed()[framework].module).REQUIRES
    [said] = re.findall(r"([\d.]+) and newer", section(title))
    assert {Requirement(each).specifier for each in ([needed] if isinstance(needed, str) else needed)} == {
        SpecifierSet(f">={said}")
    }


# -- what else is in it ----------------------------------------------------------------------------------------------


def blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", README, re.MULTILINE | re.DOTALL)


def test_the_code_shown_is_the_code_that_is_tested() -> None:
    shown = blocks("python") + blocks("toml")
    for name in ("tachograph_stepwise.py", "test_tachograph_stepwise.py", "pyproject.toml"):
        assert (EXAMPLE / name).read_text(encoding="utf-8") in shown, name


def test_a_plugin_of_ones_own_keeps_the_promises(tmp_path: Path) -> None:
    """As installed: with real metadata, in a folder on the path."""
    site = shutil.copytree(EXAMPLE, tmp_path / "site", ignore=shutil.ignore_patterns("__pycache__"))
    project = tomllib.loads((site / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    points = "".join(
        f"[{group}]\n" + "".join(f"{name} = {value}\n" for name, value in entries.items())
        for group, entries in project["entry-points"].items()
    )
    _install(site, project["name"], project["version"], points)
    _install(site, "stepwise", "1.2", "")
    environment = {**os.environ, "PYTHONPATH": str(site), "PYTHONDONTWRITEBYTECODE": "1"}
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", str(site)]
    done = subprocess.run(command, cwd=site, env=environment, capture_output=True, text=True, timeout=200)
    assert done.returncode == 0, done.stdout
    assert "2 passed" in done.stdout


def _install(site: Path, name: str, version: str, entry_points: str) -> None:
    info = site / f"{name.replace('-', '_')}-{version}.dist-info"
    info.mkdir()
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n")
    (info / "entry_points.txt").write_text(entry_points)


@pytest.mark.parametrize("link", sorted(set(re.findall(r"\]\(([^)#]+)\)", README))))
def test_links_lead_somewhere(link: str) -> None:
    assert link.startswith("https://") or (TOP / "integrations" / link).exists()


# -- parts turned off, and models read back --------------------------------------------------------------------------


@pytest.mark.parametrize("framework", SINGLE)
@pytest.mark.filterwarnings("ignore")
def test_parts_are_turned_off(framework: str, tmp_path: Path) -> None:
    with recorded(framework, models=False, checkpoints=False, datasets=False, every_n_steps=100) as store:
        SINGLE[framework](tmp_path)
        tachograph.Autolog().undo()
        runs = store.runs(children=True)
        kinds = {artifact.kind for run in runs for artifact in run.artifacts}
        assert runs
        assert not kinds & {"model", "checkpoint"}
        assert not any(run.datasets for run in runs)
        steps = [run.history(name).steps for run in runs for name in run.metrics]
        thinned = {"torch": {"loss"}, "lightning": {"loss"}, "xgboost": {"train-logloss"}}.get(framework, set())
        assert all(len(run.history(name).steps) <= 2 for run in runs for name in thinned & run.metrics.keys())
        assert thinned or max(map(len, steps)) >= 2


@pytest.mark.parametrize("framework", SINGLE)
@pytest.mark.filterwarnings("ignore")
def test_nothing_is_recorded_while_suppressed(framework: str, tmp_path: Path) -> None:
    with recorded(framework) as store:
        with tachograph.suppress():
            SINGLE[framework](tmp_path)
        tachograph.Autolog().undo()
        assert store.runs(children=True) == []


def formats() -> dict[str, list[str]]:
    lines = [line.split("|")[1:] for line in section("Models and checkpoints").splitlines() if line.startswith("| `")]
    return {name: cells for first, *cells in lines for name in re.findall(r"`([^`]+)`", first)}


def test_every_format_is_told() -> None:
    loaded = {name for name, cells in formats().items() if "no loader" not in cells[1]}
    unsafe = {name for name, loader in loaders.BUILT_IN.items() if loader.safe is None}
    assert loaded == {point.name for point in entry_points(group=loaders.GROUP)} | unsafe


@pytest.mark.parametrize("framework", SINGLE)
@pytest.mark.filterwarnings("ignore")
def test_models_and_checkpoints_are_read_back_as_told(framework: str, tmp_path: Path) -> None:
    with recorded(framework) as store:
        SINGLE[framework](tmp_path)
        tachograph.Autolog().undo()
        found = [one for run in store.runs() for one in run.artifacts if one.kind in ("model", "checkpoint")]
        assert found
        for one in [one for one in found if not one.released]:
            _, plain, _, *_ = formats()[one.meta.get("format") or Path(one.filename).suffix]
            if "an `Error`" in plain or "no loader" in plain:
                with pytest.raises(tachograph.Error, match=r"trusted=True|no loader"):
                    one.load()
                assert "no loader" in plain or hasattr(one.load(trusted=True), "predict")
            else:
                assert one.load() is not None
