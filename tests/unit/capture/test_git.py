"""The state of real repositories, whatever their condition; and asking leaves no trace in them."""

import os
import re
import subprocess
import time
from pathlib import Path

import psutil
import pytest

from tachograph.capture import git as code
from tachograph.capture.git import GitState, git_state


@pytest.fixture(autouse=True)
def _own_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GIT_CONFIG_GLOBAL", os.devnull)
    monkeypatch.setenv("GIT_CONFIG_NOSYSTEM", "1")
    for role in ("AUTHOR", "COMMITTER"):
        monkeypatch.setenv(f"GIT_{role}_NAME", "somebody")
        monkeypatch.setenv(f"GIT_{role}_EMAIL", "somebody@example.com")


def git(folder: Path, *arguments: str) -> str:
    command = ["git", "-c", "protocol.file.allow=always", "-C", str(folder), *arguments]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    return make(tmp_path / "project")


def make(folder: Path) -> Path:
    folder.mkdir()
    git(folder, "init", "--initial-branch=main")
    (folder / "train.py").write_text("lr = 0.1\n")
    git(folder, "add", ".")
    git(folder, "commit", "--message=first")
    return folder


def state_of(folder: Path, **options: int) -> GitState:
    state = git_state(folder, **options)
    assert state is not None
    return state


def test_a_clean_repository(repository: Path) -> None:
    assert state_of(repository) == {
        "root": "project",
        "prefix": "",
        "commit": git(repository, "rev-parse", "HEAD"),
        "branch": "main",
        "remote": None,
        "dirty": False,
        "diff": "",
        "diff_bytes": 0,
        "diff_truncated": False,
        "diff_redacted": False,
        "untracked": [],
        "untracked_truncated": False,
    }


def test_changes_staged_or_not_are_in_the_diff_which_applies(repository: Path, tmp_path: Path) -> None:
    git(repository, "clone", ".", str(tmp_path / "copy"))
    (repository / "train.py").write_text("lr = 0.2\n")
    (repository / "model.py").write_text("x = 1\n")
    (repository / "naïve name.txt").write_text("x\n")
    git(repository, "add", "model.py", "naïve name.txt")
    git(repository, "config", "diff.noprefix", "true")
    (repository / "inner").mkdir()
    state = state_of(repository / "inner")
    assert state["dirty"]
    assert state["prefix"] == "inner/"
    assert state["diff_bytes"] == len(state["diff"].encode())
    subprocess.run(["git", "-C", tmp_path / "copy", "apply"], input=state["diff"], text=True, check=True)
    assert (tmp_path / "copy" / "train.py").read_text() == "lr = 0.2\n"
    assert (tmp_path / "copy" / "model.py").exists()
    assert (tmp_path / "copy" / "naïve name.txt").exists()


def test_untracked_files_are_listed_up_to_a_bound(repository: Path) -> None:
    for number in range(120):
        (repository / f"{number:03}.txt").touch()
    state = state_of(repository)
    assert not state["dirty"]
    assert state["untracked"] == [f"{number:03}.txt" for number in range(100)]
    assert state["untracked_truncated"]


def test_detached(repository: Path) -> None:
    git(repository, "checkout", "--detach")
    state = state_of(repository)
    assert state["branch"] is None
    assert state["commit"] == git(repository, "rev-parse", "HEAD")


def test_before_the_first_commit(tmp_path: Path) -> None:
    git(tmp_path, "init", "--initial-branch=trunk")
    (tmp_path / "train.py").write_text("lr = 0.1\n")
    git(tmp_path, "add", ".")
    state = state_of(tmp_path)
    assert state["commit"] is None
    assert state["branch"] == "trunk"
    assert "+lr = 0.1\n" in state["diff"]
    assert "error" not in state


def test_no_repository(tmp_path: Path) -> None:
    assert git_state(tmp_path) is None


def test_no_git(repository: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    assert git_state(repository) is None


def test_no_folder(tmp_path: Path) -> None:
    assert "absent" in state_of(tmp_path / "absent")["error"]


def test_a_bare_repository(repository: Path, tmp_path: Path) -> None:
    git(repository, "clone", "--bare", ".", str(tmp_path / "bare.git"))
    state = state_of(tmp_path / "bare.git")
    assert state == {"commit": git(repository, "rev-parse", "HEAD"), "error": "a bare repository has no files"}


def test_inside_the_folder_of_git_itself(repository: Path) -> None:
    assert state_of(repository / ".git")["error"] == "inside a repository's own folder"


def test_a_damaged_repository(repository: Path) -> None:
    for file in (repository / ".git" / "objects").glob("??/*"):
        file.unlink()
    state = state_of(repository)
    assert state["root"] == "project"
    assert state["error"]


def test_a_repository_whose_link_leads_nowhere(tmp_path: Path) -> None:
    (tmp_path / ".git").write_text("gitdir: /nowhere\n")
    assert "nowhere" in state_of(tmp_path)["error"]


@pytest.mark.skipif(getattr(os, "geteuid", lambda: 1)() != 0, reason="only root can give a folder away")
def test_a_repository_of_another_user(repository: Path) -> None:
    for path in [repository, repository / ".git"]:
        os.chown(path, 12345, 12345)
    assert "dubious ownership" in state_of(repository)["error"]


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("https://user:pass@host/x.git", "https://host/x.git"),
        ("https://abc123@host/x.git", "https://host/x.git"),
        ("git@host:x.git", "git@host:x.git"),
    ],
)
def test_remote_without_credentials(repository: Path, url: str, shown: str) -> None:
    git(repository, "remote", "add", "another", "https://elsewhere/x.git")
    assert state_of(repository)["remote"] == "https://elsewhere/x.git"
    git(repository, "remote", "add", "origin", url)
    assert state_of(repository)["remote"] == shown


def test_secrets_are_taken_out_of_the_diff(repository: Path) -> None:
    (repository / "train.py").write_text('API_KEY = "abc"\ntoken = tokenizer.decode(ids)\n')
    (repository / "settings.env").write_text("TOKEN=abc\n")
    git(repository, "add", ".")
    state = state_of(repository)
    assert '+API_KEY = "[redacted]"\n+token = tokenizer.decode(ids)\n' in state["diff"]
    assert "+TOKEN=[redacted]\n" in state["diff"]
    assert state["diff_redacted"]


def test_a_long_diff_is_cut_at_a_line_and_its_size_stated(repository: Path) -> None:
    for part in range(8):
        (repository / f"{part}.py").write_text("".join(f"line {number}\n" for number in range(60_000)))
    git(repository, "add", ".")
    state = state_of(repository, diff_limit=1000)
    assert len(state["diff"]) <= 1000
    assert state["diff"].endswith("\n")
    assert state["diff"].splitlines()[-1].startswith("+line ")
    assert state["diff_truncated"]
    assert state["diff_bytes"] == len(subprocess.check_output(["git", "-C", repository, "diff", "HEAD"]))


def test_an_endless_diff_is_not_read_to_its_end(repository: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(code, "_COUNT_LIMIT", 1_000_000)
    for part in range(10):
        (repository / f"{part}.py").write_text("line\n" * 200_000)
    git(repository, "add", ".")
    state = state_of(repository)
    assert state["diff_bytes"] is None
    assert state["diff_truncated"]
    assert 250_000 < len(state["diff"]) <= 256 * 1024


def test_large_changed_files_are_named_with_their_size_and_the_rest_is_compared(repository: Path) -> None:
    (repository / "data").mkdir()
    names = ["grown [1].csv", "shrunk.csv", "removed.csv"]
    for name in names:
        (repository / "data" / name).write_text("1,2\n" * (1 if "grown" in name else 500_000))
    git(repository, "add", ".")
    git(repository, "commit", "--message=data")
    (repository / "data" / "grown [1].csv").write_text("1,3\n" * 600_000)
    (repository / "data" / "shrunk.csv").write_text("1\n")
    (repository / "data" / "removed.csv").unlink()
    (repository / "train.py").write_text("lr = 0.2\n")
    state = state_of(repository / "data")
    assert state["diff_left_out"] == {
        "data/grown [1].csv": 2_400_000,
        "data/shrunk.csv": 2_000_000,
        "data/removed.csv": 2_000_000,
    }
    assert "+lr = 0.2\n" in state["diff"]
    assert ".csv" not in state["diff"]
    assert "error" not in state


@pytest.mark.slow
def test_a_large_changed_file_takes_a_fraction_of_the_time_of_its_diff(repository: Path) -> None:
    table = repository / "table.csv"
    table.write_text("".join(f"{number},{number * 7}\n" for number in range(1_000_000)))
    git(repository, "add", ".")
    git(repository, "commit", "--message=table")
    table.write_text("".join(f"{number},{number * 9}\n" for number in range(1_000_000)))
    started = time.monotonic()
    git(repository, "diff", "HEAD")
    diffed = time.monotonic()
    assert list(state_of(repository)["diff_left_out"]) == ["table.csv"]
    assert time.monotonic() - diffed < 0.7 * (diffed - started)


@pytest.mark.slow
def test_many_changed_files_are_compared_up_to_a_bound(repository: Path) -> None:
    for number in range(20):
        (repository / f"{number:02}.csv").write_text("1\n" * 500_000)
    git(repository, "add", ".")
    state = state_of(repository)
    assert len(state["diff_left_out"]) == 4
    assert "+1\n" in state["diff"]


def test_binary_files_are_named_only(repository: Path) -> None:
    (repository / "weights.bin").write_bytes(os.urandom(100_000))
    git(repository, "add", ".")
    assert "Binary files /dev/null and b/weights.bin differ\n" in state_of(repository)["diff"]


def test_a_submodule(repository: Path, tmp_path: Path) -> None:
    library = make(tmp_path / "library")
    git(repository, "submodule", "add", str(library), "library")
    git(repository, "commit", "--message=library")
    assert not state_of(repository)["dirty"]
    assert state_of(repository / "library")["root"] == "library"
    (repository / "library" / "train.py").write_text("changed\n")
    state = state_of(repository)
    assert state["dirty"]
    assert "-dirty" in state["diff"]


def test_no_program_of_the_repository_is_run(repository: Path, tmp_path: Path) -> None:
    marker = tmp_path / "ran"
    program = tmp_path / "program"
    program.write_text(f"#!/bin/sh\necho $0 $* >> {marker}\ncat $1\n")
    program.chmod(0o755)
    hook = repository / ".git" / "hooks" / "post-index-change"
    hook.write_bytes(program.read_bytes())
    hook.chmod(0o755)
    (repository / ".gitattributes").write_text("*.py diff=shown\n")
    git(repository, "add", ".")
    for setting in ("diff.external", "diff.shown.textconv", "diff.shown.command", "core.fsmonitor", "core.pager"):
        git(repository, "config", setting, str(program))
    marker.unlink(missing_ok=True)
    (repository / "train.py").write_text("lr = 0.2\n")
    assert "+lr = 0.2\n" in state_of(repository)["diff"]
    assert not marker.exists()


def test_the_index_is_neither_locked_nor_refreshed(repository: Path) -> None:
    index = repository / ".git" / "index"
    before = index.read_bytes()
    os.utime(repository / "train.py", (1, 1))  # git would note in the index that the file is unchanged
    (repository / ".git" / "index.lock").touch()  # as while the user commits
    state = state_of(repository)
    assert "error" not in state
    assert not state["dirty"]
    assert index.read_bytes() == before


def test_a_hooks_variables_do_not_mislead(repository: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    other = make(tmp_path / "other")
    monkeypatch.setenv("GIT_DIR", str(other / ".git"))
    monkeypatch.setenv("GIT_INDEX_FILE", str(other / ".git" / "index"))
    assert state_of(repository)["root"] == "project"


def test_time_runs_out(repository: Path) -> None:
    (repository / ".gitattributes").write_text("*.py filter=slow\n")
    git(repository, "config", "filter.slow.clean", "sleep 60")
    (repository / "train.py").write_text("lr = 0.2\n")
    before = psutil.Process().children(recursive=True)  # what other tests' libraries keep running
    started = time.monotonic()
    state = git_state(repository, timeout=0.5)
    assert time.monotonic() - started < 10
    assert state is not None
    assert state["error"] == "git status did not answer in time"
    assert state["root"] == "project"
    assert set(psutil.Process().children(recursive=True)) <= set(before)


def test_secrets_that_several_lines_bind_are_taken_out_of_the_diff(repository: Path) -> None:
    key = "0123456789abcdef" * 2 + "01234567"
    (repository / "train.py").write_text(
        f'wandb.login(key="{key}")\nos.environ.setdefault("HF_TOKEN", "S1")\nPASSWORD = """S2\nS2\n"""\n'
        'parser.add_argument(\n    "--password",\n    default="S3",\n)\nlr = 0.2\n'
    )
    (repository / "config.yaml").write_text(
        "db:\n  pass: S4\n  passwords:\n    - S5\n  lr: 0.3\napi_key: |\n  S6\nsecret:\n  value: S7\nend: 1\n"
    )
    (repository / ".netrc").write_text("machine h\n  login u\n  password S8\n")
    (repository / "notes.ipynb").write_text(
        '   "source": [\n    "token = tokenizer.decode(ids)\\n",\n    "os.getenv(\\"TOKEN\\", \\"S9\\")\\n"\n   ]\n'
        '     "text": [\n      "password: S10\\n"\n     ]\n'
    )
    git(repository, "add", ".")
    diff = state_of(repository)["diff"]
    assert re.findall(rf"S\d+|{key}", diff) == []
    for harmless in ("+lr = 0.2", "+  lr: 0.3", "+end: 1", "token = tokenizer.decode(ids)", "login u"):
        assert harmless in diff
