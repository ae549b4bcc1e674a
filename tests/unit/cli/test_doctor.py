"""``tachograph doctor``: whether trainings would be recorded, and by which plug-ins."""

from __future__ import annotations

import os
import sys
from importlib import metadata
from pathlib import Path

import pytest

from tachograph.hooks import plugin_status


@pytest.fixture
def plugin(tmp_path, monkeypatch):
    """Write a plug-in's module that would fail when imported; the outlook of it."""
    monkeypatch.syspath_prepend(tmp_path)

    def write(source: str, name: str = "pytest") -> plugin_status.Outlook:
        module = f"plugin_{len(list(tmp_path.glob('plugin_*')))}"
        (tmp_path / f"{module}.py").write_text(f"import no_such_framework\n{source}\n")
        return plugin_status.of(name, module)

    return write


def test_a_plug_in_whose_framework_fits(plugin):
    found = plugin("REQUIRES = 'pytest>=1'")
    assert (found.state, found.reason, found.requires) == ("ready", "", ("pytest>=1",))
    assert found.installed == pytest.__version__


def test_a_plug_in_that_is_not_imported_to_be_judged(plugin):
    plugin("REQUIRES = 'pytest>=1'")
    assert "no_such_framework" not in sys.modules


@pytest.mark.parametrize(
    ("source", "name", "state", "reason"),
    [
        ("REQUIRES = 'pytest>=999'", "pytest", "skipped", "pytest>=999 is needed"),
        ("REQUIRES = ('nowhere-at-all>=1', 'pytest>=1')", "pytest", "ready", ""),
        ("REQUIRES = 'pytest>=1'\nTESTED = '1.0'", "pytest", "untested", "newer than 1.0"),
        ("REQUIRES = 'pytest>=1'\nTESTED = '999'", "pytest", "ready", ""),
        ("REQUIRES = 'nowhere-at-all'", "nowhere_at_all", "absent", "nowhere_at_all is not installed"),
        ("REQUIRES = 'nowhere-at-all'", "pytest", "ready", "its version is not known"),
        ("", "pytest", "ready", "its version is not known"),
        ("", "nowhere_at_all", "absent", "not installed"),
        ("REQUIRES = (", "pytest", "failed", "can't be read"),
    ],
)
def test_what_else_can_be(plugin, source, name, state, reason):
    found = plugin(source, name)
    assert found.state == state
    assert reason in found.reason


def test_a_plug_in_whose_module_is_not_there():
    assert plugin_status.of("pytest", "nowhere.at_all").state == "failed"
    assert plugin_status.of("pytest", "nowhere_at_all").state == "failed"


installed = pytest.mark.skipif(
    not metadata.entry_points(group="tachograph.plugins"), reason="the distribution is not installed"
)


@installed
def test_all_is_well(record, run_json, store):
    record("one")
    found = run_json("doctor")
    assert found["problems"] == []
    assert found["store"]["root"] == str(store)
    assert (found["store"]["runs"], found["store"]["running"]) == (1, 0)
    assert {one["name"] for one in found["plugins"]} >= {"sklearn", "xgboost"}


@installed
def test_it_is_drawn(record, run_cli):
    record("one")
    status, output, errors = run_cli("doctor")
    assert (status, errors) == (0, "")
    assert output.splitlines()[-1] == "nothing is wrong"
    assert "scikit-learn>=" in output


@installed
def test_where_settings_come_from(store, run_json, tmp_path, monkeypatch):
    monkeypatch.setenv("TACHOGRAPH_EXPERIMENT", "from the environment")
    monkeypatch.setenv("TACHOGRAPH_TOKEN", "tg_very_secret")
    (tmp_path / "project").mkdir()
    monkeypatch.chdir(tmp_path / "project")
    (tmp_path / "project" / "pyproject.toml").write_text(
        '[tool.tachograph]\nexperiment = "from the file"\nsinks = ["https://ada:pass@host/x"]\nexit_wait = 9\n'
    )
    found = run_json("doctor")
    settings = {one["name"]: (one["value"], one["source"]) for one in found["settings"]}
    assert settings["experiment"] == ("from the environment", "TACHOGRAPH_EXPERIMENT")
    assert settings["exit_wait"] == ("9", "pyproject.toml")
    assert settings["console"][1] == "TACHOGRAPH_CONSOLE"
    assert settings["off"] == ("no", "default")
    assert [one["url"] for one in found["sinks"]] == ["https://host/x"]
    assert "secret" not in str(found)
    assert "pass" not in str(found["settings"])


@installed
def test_a_store_that_is_not_there_is_not_made(store, run_json):
    assert run_json("doctor")["store"]["exists"] is False
    assert not store.exists()


def problems(run_cli) -> str:
    status, output, errors = run_cli("doctor")
    assert (status, errors) == (1, "")
    return output.rpartition("\n\n")[2]


def test_damage_is_a_problem(record, store, run_cli):
    id = record("one")
    (path,) = store.glob(f"runs/{id}/*/*.jsonl")
    lines = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(b"".join([*lines[:9], b"garbage\n", *lines[10:]]))
    assert "1 line can't be read: tachograph verify" in problems(run_cli)


def test_being_switched_off_is_a_problem(store, run_cli, monkeypatch):
    monkeypatch.setenv("TACHOGRAPH_OFF", "1")
    assert "nothing is recorded" in problems(run_cli)


def test_a_folder_that_can_not_be_written_is_a_problem(store, forbidden, tmp_path):
    tmp_path.chmod(0o555)
    done = forbidden("doctor")
    assert done.returncode == 1
    assert "can't be written" in done.stdout


def test_a_plug_in_from_outside_is_seen(program, tmp_path):
    info = tmp_path / "outside-1.0.dist-info"
    info.mkdir()
    (info / "entry_points.txt").write_text("[tachograph.plugins]\nframework = outside.broken\n")
    path = os.pathsep.join([str(tmp_path), *filter(None, [os.environ.get("PYTHONPATH")])])
    result = program("doctor", env={**os.environ, "PYTHONPATH": path})
    assert result.returncode == 1
    assert "plug-in framework: its module can't be read" in result.stdout


def test_no_framework_is_imported(program):
    code = "import sys; from tachograph.cli import main; main(['doctor']); print(sorted(sys.modules))"
    import subprocess

    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=180, cwd=Path.cwd())
    loaded = eval(result.stdout.splitlines()[-1])
    assert not {"sklearn", "xgboost", "torch", "pandas"} & set(loaded)
