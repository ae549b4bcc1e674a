"""A toy framework with its plug-in, installed as real distributions in a folder of their own."""

from __future__ import annotations

import sys
import textwrap
from collections.abc import Iterator
from pathlib import Path

import pytest

import tachograph
from tachograph.hooks import Hooks, plugins

FRAMEWORK = """
class Model:
    def fit(self, X=None):
        return "fitted"

    def score(self):
        return 1.0
"""
PLUGIN = """
import toyframe
from tachograph.hooks import session

REQUIRES = "toyframe>=2.0"

def note(call, open_session):
    yield
    open_session.run.log({"loss": 0.5})

def install(hooks):
    hooks.around(toyframe.Model, "fit", session.training(note, plugin="toyframe", name=lambda call: "Model"))
"""


class Site:
    """A folder on ``sys.path`` in which distributions are installed."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def write(self, name: str, code: str) -> None:
        (self.folder / name).parent.mkdir(parents=True, exist_ok=True)
        (self.folder / name).write_text(textwrap.dedent(code))

    def distribution(self, name: str, version: str, entry_points: str = "") -> None:
        info = f"{name.replace('-', '_')}-{version}.dist-info"
        self.write(f"{info}/METADATA", f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n")
        if entry_points:
            self.write(f"{info}/entry_points.txt", entry_points)

    def framework(self, version: str = "2.5", code: str = FRAMEWORK) -> None:
        self.write("toyframe/__init__.py", code)
        self.distribution("toyframe", version)

    def plugin(self, code: str = PLUGIN) -> None:
        self.write("toyframe_tachograph.py", code)
        self.distribution("toyframe-tachograph", "0.1", "[tachograph.plugins]\ntoyframe = toyframe_tachograph\n")


@pytest.fixture
def hooks() -> Iterator[Hooks]:
    """The hooks of a plug-in, which are taken back at the end."""
    used = Hooks("toy")
    yield used
    used.undo()


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Site]:
    """A framework and its plug-in, which nobody has imported yet."""
    (tmp_path / "site").mkdir()
    monkeypatch.syspath_prepend(tmp_path / "site")
    installed = Site(tmp_path / "site")
    installed.framework()
    installed.plugin()
    plugins._plugins.clear()
    before = list(sys.meta_path)
    yield installed
    tachograph.Autolog().undo()
    plugins._plugins.clear()
    for name in [name for name in sys.modules if name.startswith("toyframe")]:
        del sys.modules[name]
    assert [finder for finder in sys.meta_path if finder not in before] == []  # what was there may have ended since
