"""The commands that read, on a server: they say what they say of its folder."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.integrations.server.serving import Server
from tests.parts.recorded import Recorded

import tachograph
from tachograph.cli import main


@pytest.fixture(scope="module")
def recorded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Recorded]:
    made = Recorded(tmp_path_factory.mktemp("recorded"))
    yield made
    made.close()


@pytest.fixture(scope="module")
def served(recorded: Recorded) -> Iterator[Server]:
    running = Server(recorded.root)
    yield running
    running.kill()


@pytest.fixture(autouse=True)
def _environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setenv("COLUMNS", "150")
    monkeypatch.chdir(tmp_path)


SECONDS = re.compile(r" *(\d+s ago|now)\b")  # of which one may have passed


def said(capfd: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, str, str]:
    capfd.readouterr()
    status = main(arguments)
    return status, *capfd.readouterr()


@pytest.mark.parametrize(
    "arguments",
    [
        ["runs", "--where", "ended is not null"], ["runs", "--children", "--json"],
        ["runs", "--where", "metrics.score > 0", "--order-by", "name"],
        ["runs", "--where", "name = 'no such'"], ["runs", "--where", "name ="], ["show", "rich"], ["show", "job"],
        ["show", "search"], ["show", "failed"], ["show", "letting-go"], ["show", "nope"],
        ["compare", "rich", "job"], ["compare", "rich", "failed", "--json"], ["tail", "rich", "--lines", "5"],
        ["tail", "failed"], ["tail", "rich", "--json", "--lines", "7"], ["tail", "job", "--json"],
    ],
    ids=" ".join,
)  # fmt: skip
def test_they_say_the_same(
    recorded: Recorded, served: Server, capfd: pytest.CaptureFixture[str], arguments: list[str]
) -> None:
    expected = said(capfd, *arguments, "--root", str(recorded.root))
    found = said(capfd, *arguments, "--root", served.url)
    assert found[0] == expected[0]
    shown = [text.replace(served.url, str(recorded.root)) for text in found[1:]]
    assert [SECONDS.sub("", text) for text in shown] == [SECONDS.sub("", text) for text in expected[1:]]


def test_show_as_json_but_for_the_folder(recorded: Recorded, served: Server, capfd: pytest.CaptureFixture[str]) -> None:
    expected, found = (
        json.loads(said(capfd, "show", "rich", "--json", "--root", root)[1])
        for root in (str(recorded.root), served.url)
    )
    assert (found.pop("dir"), expected.pop("dir").startswith(str(recorded.root))) == (None, True)
    assert found == expected


@pytest.mark.parametrize("format", ["csv", "jsonl", "parquet"])
def test_export(
    recorded: Recorded, served: Server, capfd: pytest.CaptureFixture[str], tmp_path: Path, format: str
) -> None:
    for root, name in ((str(recorded.root), "here"), (served.url, "there")):
        assert said(capfd, "export", "--format", format, "--system", str(tmp_path / name), "--root", root)[0] == 0
    for file in (f"runs.{format}", f"metrics.{format}"):
        assert (tmp_path / "there" / file).read_bytes() == (tmp_path / "here" / file).read_bytes()


def test_doctor(recorded: Recorded, served: Server, capfd: pytest.CaptureFixture[str]) -> None:
    _, output, _ = said(capfd, "doctor", "--json", "--root", served.url)
    store = json.loads(output)["store"]
    assert (store["root"], store["writable"], store["free"], store["running"], store["crashed"]) == (
        served.url, None, None, 1, 1
    )  # fmt: skip
    assert len(store["damage"]) == 1
    assert served.url in said(capfd, "doctor", "--root", served.url)[1]


@pytest.mark.parametrize("arguments", [["verify"], ["sync"]], ids=" ".join)
def test_what_works_in_a_folder_alone_says_so(
    served: Server, capfd: pytest.CaptureFixture[str], arguments: list[str]
) -> None:
    line = f"tachograph: {served.url} is no folder: this works on the machine where the journals lie\n"
    assert said(capfd, *arguments, "--root", served.url) == (2, "", line)


def test_folders_may_be_file_urls(recorded: Recorded, capfd: pytest.CaptureFixture[str]) -> None:
    root = recorded.root.as_uri()
    assert said(capfd, "verify", "--root", root, "--json") == said(
        capfd, "verify", "--root", str(recorded.root), "--json"
    )
    assert said(capfd, "rm", "rich", "--dry-run", "--root", root)[0] == 0


@pytest.mark.parametrize("command", ["runs", "show", "tail", "doctor"])
def test_nobody_answers(capfd: pytest.CaptureFixture[str], command: str) -> None:
    arguments = [command, "latest"] if command in ("show", "tail") else [command]
    status, output, errors = said(capfd, *arguments, "--root", "http://127.0.0.1:9")
    assert (status, output) == (1, "")
    assert errors.startswith("tachograph: http://127.0.0.1:9 does not answer (")
    assert len(errors.splitlines()) == 1


# -- a run that goes on --


@pytest.fixture
def tail(server: Server) -> Iterator[subprocess.Popen[str]]:
    """``tachograph tail`` of the server's newest run, which is recorded into its folder."""
    os.environ["TACHOGRAPH_DIR"] = str(server.root)
    run = tachograph.start_run("live")
    run.log({"loss": 0.5}, step=3)
    process = subprocess.Popen(
        [sys.executable, "-m", "tachograph", "tail", "--root", server.url],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    yield process
    process.kill()
    process.communicate()


def next_line(process: subprocess.Popen[str], within: float = 20.0) -> str:
    assert process.stdout is not None
    timer = threading.Timer(within, process.kill)
    timer.start()
    try:
        return process.stdout.readline().rstrip("\n")
    finally:
        timer.cancel()


def test_a_run_is_followed_while_its_server_goes_and_comes_back(server: Server, tail: subprocess.Popen[str]) -> None:
    run = tachograph.active_run()
    assert run is not None
    assert next_line(tail).split() == ["live", run.id]
    assert "step 3  loss=0.5" in next_line(tail)
    run.log({"loss": 0.25}, step=4)
    assert "step 4  loss=0.25" in next_line(tail)
    server.kill()
    run.log({"loss": 0.125}, step=5)
    server.start()
    assert "step 5  loss=0.125" in next_line(tail)
    run.finish()
    assert "finished after" in next_line(tail)
    assert tail.wait(20) == 0
