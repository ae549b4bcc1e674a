"""The facts about where a training runs: those at hand, and those that a probe looks for in a process of its own."""

import importlib.metadata
import json
import os
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

from tachograph.capture import environment, probe
from tachograph.capture.git import Hurry


def test_quick_facts() -> None:
    facts = environment.quick(["train.py", "--lr", "0.1", "--api-key", "abc"])
    assert facts["python"]["version"] == "{}.{}.{}".format(*sys.version_info)
    assert facts["python"]["executable"] == sys.executable
    assert facts["cpu"]["count"] == os.cpu_count()
    assert 1 <= facts["cpu"]["usable"] <= facts["cpu"]["count"]
    assert facts["os"]["system"]
    assert facts["os"]["host"]
    assert facts["argv"] == ["train.py", "--lr", "0.1", "--api-key", "[redacted]"]
    assert facts["cwd"] == os.getcwd()
    assert json.loads(json.dumps(facts)) == facts


def test_the_command_line_is_this_process_s_own(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "argv", ["x.py", "--password=abc"])
    assert environment.quick()["argv"] == ["x.py", "--password=[redacted]"]


def test_variables_that_bear_on_training_and_are_no_secrets(monkeypatch: pytest.MonkeyPatch) -> None:
    shown = {"CUDA_VISIBLE_DEVICES": "0,1", "OMP_NUM_THREADS": "4", "RANK": "0", "PYTHONHASHSEED": "0", "HF_HOME": "/x"}
    hidden = {
        "HF_TOKEN": "abc",  # a secret's name
        "NCCL_SOMETHING": "ghp_" + "a1B2" * 9,  # a secret's shape
        "TF_TOKEN_app_terraform_io": "abc",  # begins like TensorFlow's
        "MY_OWN": "x",
        "WANDB_API_KEY": "abc",
    }
    for name, value in {**shown, **hidden}.items():
        monkeypatch.setenv(name, value)
    variables = environment.quick()["variables"]
    assert shown.items() <= variables.items()
    assert not hidden.keys() & variables.keys()


def test_a_removed_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "x").mkdir()
    monkeypatch.chdir(tmp_path / "x")
    (tmp_path / "x").rmdir()
    assert environment.quick()["cwd"] is None
    assert environment.slow()["packages"]


def test_quick_is_quick() -> None:
    environment.quick()
    best = min(_seconds_of_quick() for _ in range(50))
    assert best < 0.001  # measured 0.00005


def _seconds_of_quick() -> float:
    started = time.perf_counter()
    environment.quick(["train.py", "--lr", "0.1"])
    return time.perf_counter() - started


def test_slow_facts() -> None:
    facts = environment.slow()
    assert "error" not in facts
    assert facts["packages"]["pytest"] == pytest.__version__
    assert facts["packages"]["tachograph"] == importlib.metadata.version("tachograph")
    assert list(facts["packages"]) == sorted(facts["packages"])
    assert facts["memory"]["total"] == psutil.virtual_memory().total
    assert facts["cpu"]["count"] == os.cpu_count()
    assert "model" in facts["cpu"]
    assert isinstance(facts["gpus"], list)
    assert json.loads(json.dumps(facts)) == facts


def test_an_odd_path(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(sys, "path", [tmp_path, "", "/nowhere", "\udcff", *sys.path])
    assert environment.slow()["packages"]["pytest"] == pytest.__version__


def test_nothing_stays_behind() -> None:
    environment.slow()
    environment.slow(timeout=0.01)
    assert [child for child in psutil.Process().children() if child.status() == psutil.STATUS_ZOMBIE] == []
    assert not any("tachograph.capture.probe" in " ".join(child.cmdline()) for child in psutil.Process().children())


def test_what_takes_too_long_is_missing() -> None:
    started = time.monotonic()
    facts = environment.slow(timeout=0.001)
    assert time.monotonic() - started < 5
    assert facts["error"] == "the probe took longer than 0.001 seconds"
    assert facts["cpu"]["count"] == os.cpu_count()


def test_what_was_found_before_the_probe_ended_is_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    program = """print('{"memory": {"total": 1}}', '{"pack', sep='\\n', end="", flush=True); raise SystemExit(3)"""
    monkeypatch.setattr(environment, "_BOOTSTRAP", program)
    heard: list[dict[str, object]] = []
    facts = environment.slow(on_fact=heard.append)
    assert facts == {"cpu": environment._cpu(), "memory": {"total": 1}, "error": "the probe ended with status 3"}
    assert heard[0] == {"memory": {"total": 1}}


@pytest.mark.skipif(sys.platform != "linux", reason="other systems have other priorities")
@pytest.mark.parametrize("policy", ["SCHED_OTHER", "SCHED_RR"])
def test_the_training_has_the_processor_first_while_the_probe_starts(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, policy: str
) -> None:
    (tmp_path / "tachograph" / "capture").mkdir(parents=True)
    for package in ("tachograph", "tachograph/capture"):
        (tmp_path / package / "__init__.py").touch()
    (tmp_path / "tachograph" / "capture" / "probe.py").write_text(
        "import json, os\n"
        "print(json.dumps({'nice': os.nice(0), 'policy': os.sched_getscheduler(0)}), flush=True)\n"
        "main = len\n"
    )
    monkeypatch.setattr(environment, "_OUR_PARENT", str(tmp_path))
    here = os.sched_getscheduler(0), os.sched_getparam(0)
    try:
        os.sched_setscheduler(0, getattr(os, policy), os.sched_param(int(policy == "SCHED_RR")))
    except PermissionError:
        pytest.skip("no right to run in real time")
    try:
        heard: list[dict[str, object]] = []
        environment.slow(on_fact=heard.append)
    finally:
        os.sched_setscheduler(0, *here)
    assert heard[0] == {"nice": min(os.nice(0) + 10, 19), "policy": os.SCHED_OTHER}


@pytest.mark.parametrize("executable", ["", "/nowhere/python", "/bin/ls"])
def test_without_an_interpreter_to_start_it_looks_here(executable: str, monkeypatch: pytest.MonkeyPatch) -> None:
    expected = environment.slow()
    monkeypatch.setattr(sys, "executable", executable)
    assert environment.slow() == expected


def test_an_application_frozen_with_python_is_not_started_twice(monkeypatch: pytest.MonkeyPatch) -> None:
    assert environment._can_start_python()
    monkeypatch.setattr(sys, "frozen", True, raising=False)
    assert not environment._can_start_python()


def test_the_user_s_modules_are_not_run(tmp_path: Path) -> None:
    """A file beside the script that is named like a module of the standard library is the user's, not the probe's."""
    for name in ("calendar", "csv", "email", "zipfile", "ctypes", "secrets", "code", "sitecustomize", "probe"):
        (tmp_path / f"{name}.py").write_text("open(__file__ + '.ran', 'a').close()\nraise SystemExit(1)\n")
    (tmp_path / "train.py").write_text(
        "import sys\n"
        "beside = sys.path.pop(0)\n"
        "from tachograph.capture import environment\n"
        "import json, subprocess, threading\n"
        "sys.path.insert(0, beside)\n"
        "print(json.dumps(environment.slow()))\n"
    )
    script = [sys.executable, str(tmp_path / "train.py")]
    facts = json.loads(subprocess.check_output(script, cwd=tmp_path, text=True))
    assert "error" not in facts
    assert facts["packages"]["pytest"]
    assert list(tmp_path.glob("*.ran")) == []


def test_git_of_the_script_before_that_of_the_current_folder(tmp_path: Path) -> None:
    for name in ("project", "elsewhere"):
        subprocess.run(["git", "init", "--quiet", tmp_path / name], check=True)
    project, elsewhere = tmp_path / "project", tmp_path / "elsewhere"
    (project / "train.py").write_text(
        "from tachograph.capture import environment\nprint(environment.slow()['git']['root'])"
    )
    script = [sys.executable, str(project / "train.py")]
    assert subprocess.check_output(script, cwd=elsewhere, text=True) == "project\n"
    assert [*probe._git(None, str(elsewhere), Hurry())][-1]["root"] == "elsewhere"
    assert [*probe._git(str(tmp_path / "train.py"), str(elsewhere), Hurry())][-1]["root"] == "elsewhere"
    assert [*probe._git(str(tmp_path / "train.py"), str(tmp_path), Hurry())] == []
    assert [*probe._git(None, None, Hurry())] == []


def test_the_first_of_two_installed_versions_counts(tmp_path: Path) -> None:
    for folder, version in (("a", "2.0"), ("b", "1.0")):
        info = tmp_path / folder / f"Some_Thing-{version}.dist-info"
        info.mkdir(parents=True)
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: Some_Thing\nVersion: {version}\n")
    (tmp_path / "a" / "half_removed-1.0.dist-info").mkdir()
    assert probe._packages([str(tmp_path / "a"), str(tmp_path / "b")]) == {"some-thing": "2.0"}


def test_importing_the_capture_of_surroundings_is_light() -> None:
    program = (
        "import sys, tachograph.capture.environment, tachograph.capture.hardware, tachograph.redaction\n"
        "import tachograph.capture.git\n"
        "print(*{'psutil', 'pynvml', 'numpy', 'importlib.metadata'} & set(sys.modules))"
    )
    assert subprocess.check_output([sys.executable, "-c", program], text=True, env=_with_sources()) == "\n"


def _with_sources() -> dict[str, str]:
    return {**os.environ, "PYTHONPATH": environment._OUR_PARENT}
