"""Plug-ins: found, gated, loaded when their framework is, and no harm where any of that fails."""

from __future__ import annotations

import contextlib
import importlib
import importlib.util
import subprocess
import sys
import textwrap
import threading
import zipfile
from collections.abc import Callable, Iterator
from importlib import metadata
from importlib.machinery import SourceFileLoader
from pathlib import Path
from typing import Any

import pytest
from tests.unit.conftest import FRAMEWORK, PLUGIN, Site

import tachograph
from tachograph.errors import TachographWarning
from tachograph.hooks import plugins
from tachograph.hooks.plugins import Plugin
from tachograph.runtime import import_hooks


@pytest.fixture
def lenient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TACHOGRAPH_STRICT", "0")


def toy() -> Plugin:
    return plugins.installed()["toyframe"]


def fit() -> Any:
    return importlib.import_module("toyframe").Model().fit()


def autolog_and_fit(*frameworks: str) -> None:
    tachograph.autolog(*(frameworks or ["toyframe"]))
    assert fit() == "fitted"


def recorded(root: Path) -> list[dict[str, float]]:
    return [run.metrics for run in tachograph.open_store(root).runs()]


@pytest.mark.parametrize("first", ["autolog", "import"])
def test_whichever_comes_first(site: Site, root: Path, first: str) -> None:
    if first == "import":
        importlib.import_module("toyframe")
    tachograph.autolog("toyframe")
    assert toy().state == ("active" if first == "import" else "waiting")
    assert fit() == "fitted"
    assert (toy().state, toy().reason, toy().version) == ("active", "", "2.5")
    assert recorded(root) == [{"loss": 0.5}]


def test_a_plugin_that_is_imported_before_its_framework_is_active_when_it_is_loaded(site: Site, root: Path) -> None:
    tachograph.autolog("toyframe")
    importlib.import_module("toyframe_tachograph")  # as for its callback, or to load a model
    assert (toy().state, toy().reason) == ("active", "")
    assert fit() == "fitted"
    assert recorded(root) == [{"loss": 0.5}]


def test_undo_takes_it_back_and_it_can_be_turned_on_again(site: Site, root: Path) -> None:
    framework = importlib.import_module("toyframe")
    before = framework.Model.fit
    for count in range(1, 3):
        handle = tachograph.autolog("toyframe")
        fit()
        handle.undo()
        assert framework.Model.fit is before
        assert toy().state == "off"
        fit()
        assert len(recorded(root)) == count


def test_undo_before_the_framework_was_imported(site: Site, root: Path) -> None:
    tachograph.autolog("toyframe").undo()
    assert fit() == "fitted"
    assert toy().state == "off"
    assert not root.exists()


def test_none_named_means_all(site: Site) -> None:
    tachograph.autolog()
    assert toy().state == "waiting"
    assert {"sklearn", "xgboost", "toyframe"} <= {found.name for found in plugins.status()}


# ---- the gate --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("version", "requires", "state"),
    [
        ("2.0", "toyframe>=2.0", "active"),
        ("2.1.dev3+local", "toyframe>=2.0", "active"),
        ("3.0rc1", "toyframe>=2.0", "active"),
        ("1.9.9", "toyframe>=2.0", "skipped"),
        ("2.0rc1", "toyframe>=2.0", "skipped"),
        ("2.5", ("toyframe-cpu>=9", "toyframe>=2.0"), "active"),
        ("2.5", ("toyframe>=3", "toyframe-cpu>=1"), "skipped"),
        ("2.5", "not-installed>=1", "active"),
        ("2.5", (), "active"),
        ("unknown!", "toyframe>=2.0", "active"),
    ],
)
@pytest.mark.filterwarnings("ignore::tachograph.TachographWarning")
def test_versions(site: Site, root: Path, version: str, requires: Any, state: str) -> None:
    site.distribution("toyframe", "2.5")
    for info in site.folder.glob("toyframe-*"):
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: toyframe\nVersion: {version}\n")
    site.plugin(PLUGIN.replace('REQUIRES = "toyframe>=2.0"', f"REQUIRES = {requires!r}"))
    tachograph.autolog("toyframe")
    assert fit() == "fitted"
    assert toy().state == state
    assert root.exists() == (state == "active")
    if state == "skipped":
        assert version in toy().reason


def test_one_that_is_too_old_says_so_once(site: Site) -> None:
    site.plugin(PLUGIN.replace(">=2.0", ">=3.0"))
    with pytest.warns(TachographWarning, match="toyframe is not recorded: version 2.5 is installed, toyframe>=3.0"):
        autolog_and_fit()
    framework = importlib.import_module("toyframe")
    assert not hasattr(framework.Model.fit, "__wrapped__")


def test_one_that_is_newer_than_any_tested_is_used_and_marked(site: Site, recwarn: pytest.WarningsRecorder) -> None:
    site.plugin(PLUGIN + '\nTESTED = "2.4"\n')
    tachograph.autolog("toyframe")
    fit()
    assert (toy().state, toy().untested) == ("active", True)
    assert not [caught for caught in recwarn if issubclass(caught.category, TachographWarning)]


def test_twins_come_together_and_have_one_name(site: Site, root: Path) -> None:
    site.plugin(
        """
        from importlib import import_module
        from tachograph.hooks import session

        def note(call, open_session):
            yield

        def install(hooks):
            model = import_module(hooks.plugin).Model
            hooks.around(model, "fit", session.training(note, plugin="toyframe", name=lambda call: "Model"))
        """
    )
    site.write("toyframe_twin/__init__.py", FRAMEWORK)
    site.distribution("toyframe-twin", "2.5", "[tachograph.plugins]\ntoyframe_twin = toyframe_tachograph\n")
    tachograph.autolog("toyframe")
    importlib.import_module("toyframe_twin").Model().fit()
    assert [run.opener for run in tachograph.open_store(root).runs()] == ["toyframe"]
    assert (toy().state, plugins.installed()["toyframe_twin"].state) == ("waiting", "active")
    assert "toyframe" in plugins.names()
    assert "toyframe_twin" not in plugins.names()


# ---- broken plug-ins -------------------------------------------------------------------------------------------------

BROKEN = {
    "import": "import no_such_module_at_all",
    "syntax": "def install(hooks:",
    "no install": "REQUIRES = ()",
    "requires": "REQUIRES = 'not a requirement !'\ndef install(hooks): pass",
    "install": PLUGIN + "    hooks.around(toyframe.Model, 'score', None)\n    raise ZeroDivisionError",
    "attribute": PLUGIN + "    hooks.around(toyframe.Model, 'no_such_method', None)",
}


@pytest.mark.usefixtures("lenient")
@pytest.mark.parametrize("first", ["autolog", "import"])
@pytest.mark.parametrize("kind", BROKEN)
def test_a_broken_one_is_failed_with_a_reason_and_training_goes_on(
    site: Site, root: Path, kind: str, first: str
) -> None:
    site.plugin(BROKEN[kind])
    if first == "import":
        importlib.import_module("toyframe")
    with pytest.warns(TachographWarning, match="plug-in toyframe failed"):
        autolog_and_fit()
    framework = importlib.import_module("toyframe")
    assert (toy().state, toy().hooks) == ("failed", None)
    assert toy().reason
    assert not hasattr(framework.Model.fit, "__wrapped__")
    assert not hasattr(framework.Model.score, "__wrapped__")
    assert not root.exists()


@pytest.mark.usefixtures("lenient")
def test_a_broken_one_does_not_keep_the_others(site: Site) -> None:
    site.write("toyframe_other.py", "loaded = []\ndef install(hooks): loaded.append(hooks)")
    site.write("toyframetwo.py", "")
    site.distribution("other", "1", "[tachograph.plugins]\ntoyframetwo = toyframe_other")
    site.plugin("1 / 0")
    with pytest.warns(TachographWarning, match="ZeroDivisionError"):
        autolog_and_fit("toyframe", "toyframetwo")
    importlib.import_module("toyframetwo")
    assert plugins.installed()["toyframetwo"].state == "active"


# ---- finding ---------------------------------------------------------------------------------------------------------


def test_entry_points_are_read_as_others_read_them(site: Site) -> None:
    site.distribution("a", "1", """
        # a comment
        [console_scripts]
        toyscript = x:main

        [tachograph.plugins]
        toyone   =  package.one
        toytwo=package.two

        [tachograph.plugins.other]
        toythree = package.three
    """)  # fmt: skip
    site.write("b.egg-info/entry_points.txt", "[tachograph.plugins]\ntoyfour = four\n")
    (site.folder / "c-1.dist-info").write_text("a file")
    found = {name: module.module for name, module in plugins.installed().items() if name.startswith("toy")}
    expected = {"toyone": "package.one", "toytwo": "package.two", "toyfour": "four", "toyframe": "toyframe_tachograph"}
    assert found == expected
    standard = metadata.entry_points(group=plugins.GROUP)
    assert {point.name: point.value for point in standard if point.name.startswith("toy")} == expected


def test_what_can_not_be_read_is_left_out(site: Site) -> None:
    site.write("a-1.dist-info/entry_points.txt", "")
    (site.folder / "a-1.dist-info/entry_points.txt").write_bytes("[tachograph.plugins]\nö = é".encode("latin-1"))
    (site.folder / "b-1.dist-info/entry_points.txt").mkdir(parents=True)
    assert toy().module == "toyframe_tachograph"


def test_odd_places_on_the_path(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    odd = ["", "/no/such/folder", str(site.folder / "toyframe_tachograph.py"), site.folder, "\0"]
    with monkeypatch.context() as patch:
        patch.setattr(sys, "path", [*odd, *sys.path])
        assert toy().module == "toyframe_tachograph"


def test_the_first_on_the_path_wins(site: Site, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "front").mkdir()
    monkeypatch.syspath_prepend(tmp_path / "front")
    Site(tmp_path / "front").distribution("x", "1", "[tachograph.plugins]\ntoyframe = another")
    assert toy().module == "another"


def test_one_from_outside_in_a_fresh_process(site: Site, root: Path) -> None:
    code = """
        import sys
        sys.path.insert(0, sys.argv[1])
        import tachograph
        tachograph.autolog()
        assert "toyframe" not in sys.modules
        import toyframe
        assert toyframe.Model().fit() == "fitted"
    """
    subprocess.run([sys.executable, "-c", textwrap.dedent(code), str(site.folder)], check=True)
    assert recorded(root) == [{"loss": 0.5}]


# ---- the import trigger ----------------------------------------------------------------------------------------------


@contextlib.contextmanager
def waiting(name: str) -> Iterator[list[str]]:
    """What is told of the import of ``name``."""
    told: list[str] = []
    withdraw = import_hooks.when_imported(name, lambda: told.append(name))
    try:
        yield told
    finally:
        withdraw()


def test_the_module_is_whole_when_it_is_told(site: Site) -> None:
    seen = []
    withdraw = import_hooks.when_imported("toyframe", lambda: seen.append(hasattr(sys.modules["toyframe"], "Model")))
    importlib.import_module("toyframe")
    assert seen == [True]
    withdraw()


def test_a_submodule(site: Site) -> None:
    site.write("toyframe/inner.py", "")
    with waiting("toyframe.inner") as told:
        importlib.import_module("toyframe")
        assert not told
        importlib.import_module("toyframe.inner")
        assert told == ["toyframe.inner"]


def test_an_import_that_fails_first(site: Site) -> None:
    site.framework(code="1 / 0")
    with waiting("toyframe") as told:
        with pytest.raises(ZeroDivisionError):
            importlib.import_module("toyframe")
        assert not told
        site.framework(code=FRAMEWORK + "# longer, so that no cached code is used\n")
        importlib.invalidate_caches()
        importlib.import_module("toyframe")
        assert told == ["toyframe"]


def test_a_module_that_is_not_there(site: Site) -> None:
    with waiting("toyframe_missing") as told, pytest.raises(ModuleNotFoundError):
        importlib.import_module("toyframe_missing")
    assert not told


def test_looking_for_a_module_does_not_import_it(site: Site) -> None:
    with waiting("toyframe") as told:
        for _ in range(3):
            assert importlib.util.find_spec("toyframe") is not None
        assert not told
        importlib.import_module("toyframe")
        assert told == ["toyframe"]


def test_the_loader_is_itself_again(site: Site) -> None:
    with waiting("toyframe"):
        module = importlib.import_module("toyframe")
    assert isinstance(module.__loader__, SourceFileLoader)
    assert module.__spec__ is not None
    assert module.__spec__.loader is module.__loader__
    importlib.reload(module)


def test_a_lazy_module(site: Site) -> None:
    with waiting("toyframe") as told:
        spec = importlib.util.find_spec("toyframe")
        assert spec is not None
        assert spec.loader is not None
        loader = importlib.util.LazyLoader(spec.loader)
        spec.loader = loader
        module = sys.modules["toyframe"] = importlib.util.module_from_spec(spec)
        loader.exec_module(module)
        assert not told
        assert module.Model().fit() == "fitted"
        assert told == ["toyframe"]


def test_an_import_in_a_thread(site: Site) -> None:
    with waiting("toyframe") as told:
        threads = [threading.Thread(target=importlib.import_module, args=["toyframe"]) for _ in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert told == ["toyframe"]


def test_a_module_that_is_frozen_into_python() -> None:
    sys.modules.pop("__hello__", None)
    loader = importlib.util.find_spec("__hello__").loader  # type: ignore[union-attr]
    before = dict(vars(loader))
    with waiting("__hello__") as told:
        importlib.import_module("__hello__")
    assert dict(vars(loader)) == before
    assert told == ["__hello__"]
    importlib.reload(sys.modules["__hello__"])
    del sys.modules["__hello__"]


def test_a_module_in_a_zip_whose_loader_serves_others_too(
    site: Site, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with zipfile.ZipFile(tmp_path / "site.zip", "w") as archive:
        archive.writestr("toyframe_zipped.py", "import toyframe_beside")
        archive.writestr("toyframe_beside.py", "x = 3")
        archive.writestr("toyframe_later.py", "x = 4")
    monkeypatch.syspath_prepend(tmp_path / "site.zip")
    with waiting("toyframe_zipped") as told:
        importlib.util.find_spec("toyframe_zipped")  # a look at it only
        assert importlib.import_module("toyframe_later").x == 4
        assert not told
        assert importlib.import_module("toyframe_zipped").toyframe_beside.x == 3
        assert told == ["toyframe_zipped"]


def test_several_who_wait_for_one_module(site: Site) -> None:
    with waiting("toyframe") as first, waiting("toyframe") as second:
        importlib.import_module("toyframe")
    assert first == second == ["toyframe"]


@pytest.mark.usefixtures("lenient")
def test_one_who_fails_does_not_break_the_import(site: Site) -> None:
    def fail() -> None:
        raise ZeroDivisionError

    withdraw = import_hooks.when_imported("toyframe", fail)
    with pytest.warns(TachographWarning, match="import of toyframe failed"):
        assert importlib.import_module("toyframe").Model
    withdraw()


def test_other_finders_are_asked_in_their_order(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []

    class Finder:
        def find_spec(self, name: str, path: object = None, target: object = None) -> None:
            asked.append(name)

    with waiting("toyframe") as told, monkeypatch.context() as patch:
        patch.setattr(sys, "meta_path", [Finder(), *sys.meta_path])
        importlib.import_module("toyframe")
        assert told == ["toyframe"]
    assert "toyframe" in asked


@pytest.mark.usefixtures("lenient")
def test_what_is_imported_while_it_is_told(site: Site) -> None:
    """A plug-in imports its framework, and parts of it, in the middle of that import."""
    site.write("toyframe/part.py", "import toyframe\nvalue = toyframe.Model")
    seen: list[Callable[..., Any]] = []
    withdraw = import_hooks.when_imported(
        "toyframe", lambda: seen.append(importlib.import_module("toyframe.part").value)
    )
    module = importlib.import_module("toyframe")
    assert seen == [module.Model]
    withdraw()
