"""Reading a real server through ``open_store``: what it costs nobody, and what is said when it does not go well."""

from __future__ import annotations

import hashlib
import http.server
import multiprocessing
import subprocess
import sys
import textwrap
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import requests
from tests.faults.proxy import Cut, Exchange, Mode, Proxy, answering, hanging, passing, refusing
from tests.integrations.server.serving import Server, lines, numbered

import tachograph
from tachograph.client import connection
from tachograph.events import Artifact, RunStart
from tachograph.store import wire_format
from tachograph.store.store import Store, open_store


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where files are fetched to."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.fixture
def proxy(server: Server) -> Iterator[Proxy]:
    between = Proxy(server.port)
    yield between
    between.close()


def fault(url: str, ask: Any = Store.runs) -> str:
    """The one line that is said."""
    with pytest.raises(tachograph.Error) as raised:
        ask(open_store(url))
    said = str(raised.value)
    assert said.splitlines() == [said]
    return said


# -- tokens --


def test_a_token_is_needed_where_there_is_one_and_reading_is_enough(
    server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    server.post("r", "w", lines("r", "w", 3))
    token = server.token("read")
    assert "wants a token: set TACHOGRAPH_TOKEN" in fault(server.url)
    monkeypatch.setenv("TACHOGRAPH_TOKEN", "tachograph_wrong")
    assert "does not take this token" in fault(server.url)
    monkeypatch.setenv("TACHOGRAPH_TOKEN", "a b")
    assert "TACHOGRAPH_TOKEN is no token" in fault(server.url)
    monkeypatch.setenv("TACHOGRAPH_TOKEN", token)
    store = open_store(server.url)
    assert [run.history("m0").values.tolist() for run in store.runs()] == [[0.0, 1.0, 2.0]]
    assert store.questions.files.lacking(["sha256:" + "0" * 64]) == ["sha256:" + "0" * 64]


# -- what is no server of ours, or none that can be read --


def test_nobody_listens(server: Server) -> None:
    server.kill()
    assert fault(server.url).startswith(f"{server.url} does not answer ([Errno ")


def test_what_hangs_is_given_up(proxy: Proxy, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connection, "SILENCE", 0.3)
    proxy.mode = hanging
    assert "does not answer (" in fault(proxy.url)
    assert len(proxy.requests) == connection.ATTEMPTS


class Files(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *arguments: Any) -> None:
        """Say nothing."""


@pytest.fixture
def foreign() -> Iterator[str]:
    """A web server that is something else."""
    running = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Files)
    threading.Thread(target=running.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{running.server_port}"
    running.shutdown()
    running.server_close()


def test_another_web_server(foreign: str) -> None:
    assert fault(foreign).startswith(f"what answers at {foreign} is no tachograph server (it answers 501")


@pytest.mark.parametrize("mode", [answering(200, b"<html>"), answering(302, b"", Location="/login"), answering(204)])
def test_a_gateway_that_answers_for_itself(proxy: Proxy, mode: Mode) -> None:
    proxy.mode = mode
    assert f"what answers at {proxy.url} is no tachograph server" in fault(proxy.url)


OLDER = """
    import sys
    from pathlib import Path
    import uvicorn
    from tachograph.server import tokens
    from tachograph.server.api import app
    from tachograph.server.folder import storage as folder
    from tachograph.server.api.openapi import document

    root = Path(sys.argv[1])
    built = app.build(folder.FolderStorage(root), tokens.FolderTokens(root), local=True)
    built.router.routes = [route for route in built.router.routes if "questions" not in route.path]
    listener = uvicorn.Config(built, "127.0.0.1", 0).bind_socket()
    listener.listen(100)
    print(listener.getsockname()[1], flush=True)
    uvicorn.Server(uvicorn.Config(built, log_level="error", lifespan="off")).run([listener])
"""


def test_a_server_from_before_there_were_questions(tmp_path: Path) -> None:
    (tmp_path / "older.py").write_text(textwrap.dedent(OLDER))
    command = [sys.executable, str(tmp_path / "older.py"), str(tmp_path / "store")]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        port = process.stdout.readline().strip()
        try:
            assert "is an older server, which can't do that: let it be upgraded" in fault(f"http://127.0.0.1:{port}")
        finally:
            process.kill()


@pytest.mark.parametrize("url", ["http://", "http://user:secret@host", "https://host/?token=secret", "http://host#x"])
def test_addresses_that_are_none(url: str) -> None:
    with pytest.raises(tachograph.Error, match="a server's URL is like https://host:8321") as raised:
        open_store(url)
    assert "secret" not in str(raised.value)


# -- trouble that passes --


def cutting_answers_after(size: int) -> Mode:
    """Ends the connection when so many bytes of an answer have gone through."""

    def mode(exchange: Exchange) -> None:
        exchange.answer(exchange.forward(exchange.request.head + exchange.body())[:size])
        time.sleep(0.1)  # till that was read: what was not goes with the connection
        raise Cut

    return mode


def once(mode: Mode, then: Mode) -> Mode:
    """The first time one, later the other."""
    waiting = [mode]
    return lambda exchange: (waiting.pop() if waiting else then)(exchange)


BUSY = answering(503, b'{"reason":"too many"}', Retry_After="1")


@pytest.mark.parametrize("mode", [cutting_answers_after(0), cutting_answers_after(100), BUSY])
def test_an_answer_that_did_not_come_is_asked_for_again(server: Server, proxy: Proxy, mode: Mode) -> None:
    server.post("r", "w", lines("r", "w", 3))
    proxy.mode = once(mode, passing)
    assert [run.id for run in open_store(proxy.url).runs()] == ["r"]
    assert len(proxy.requests) == 2


def test_a_store_works_on_in_a_forked_child_and_after_the_server_came_back(server: Server) -> None:
    server.post("r", "w", lines("r", "w", 3))
    store = open_store(server.url)
    assert len(store.runs()) == 1
    context = multiprocessing.get_context("fork")
    answers = context.Queue()
    child = context.Process(target=lambda: answers.put([run.metrics for run in store.runs()]))
    child.start()
    assert answers.get(timeout=30) == [{"m0": 2.0}]
    child.join()
    server.kill()
    server.start()
    assert len(store.runs()) == 1


# -- bounds --


def test_many_runs_are_listed_page_by_page(server: Server, proxy: Proxy, monkeypatch: pytest.MonkeyPatch) -> None:
    for number in range(25):
        server.post(f"r{number:02}", "w", lines(f"r{number:02}", "w", 1))
    monkeypatch.setitem(wire_format.MOST, "runs", 10)
    wire_format.form.cache_clear()
    runs = open_store(proxy.url).scan(order_by="name desc")
    assert len(proxy.requests) == 1
    assert [run.id for run in runs] == [f"r{number:02}" for number in reversed(range(25))]
    assert len(proxy.requests) == 3
    assert len(open_store(proxy.url).runs(limit=12)) == 12
    assert len(proxy.requests) == 5
    wire_format.form.cache_clear()


def test_the_list_of_runs_leads_on(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    for number in range(5):
        server.post(f"r{number}", "w", lines(f"r{number}", "w", 1))
    first = server.ask("/runs", params={"limit": "3"})
    assert ([run["id"] for run in first.json()], "Link" in first.headers) == (["r4", "r3", "r2"], False)
    assert server.ask("/runs", params={"cursor": "nonsense"}).status_code == 400


@pytest.mark.parametrize(
    ("question", "asked", "status"),
    [
        ("nothing", [], 404), ("find", [], 422), ("find", [1], 422), ("params", [["r"], None, 10**9], 422),
        ("params", [["r"] * 1001, None, 1], 422), ("runs", [{"where": "x"}, None, 1], 400),
        ("runs", [{}, None, -1], 422),
        ("events", ["r", "note", False, None, 5001], 422), ("close", [], 404), ("refresh", [], 404), ("_all", [], 404),
    ],
)  # fmt: skip
def test_questions_that_are_not_answered(server: Server, question: str, asked: list[Any], status: int) -> None:
    answer = requests.post(
        f"{server.api}/questions/{question}",
        wire_format.encode(asked),
        headers={"Content-Type": wire_format.MEDIA_TYPE},
        timeout=30,
    )
    assert answer.status_code == status
    assert answer.json()["reason"]


def test_only_what_says_what_it_is_is_read(server: Server) -> None:
    body = wire_format.encode(["r"])
    for kind in ("application/json", "text/plain", ""):
        answer = requests.post(f"{server.api}/questions/find", body, headers={"Content-Type": kind}, timeout=30)
        assert answer.status_code == 415


# -- files --

CONTENT = bytes(range(256)) * 20_000
DIGEST = "sha256:" + hashlib.sha256(CONTENT).hexdigest()


@pytest.fixture
def kept(server: Server) -> Server:
    """A server with a run that has a file of 5 MB."""
    start = RunStart(run="r", writer="w", role="owner", host="h", boot="b", pid=1, born=1, name="r", experiment="e")
    artifact = Artifact(name="model", type="model", digest=DIGEST, size=len(CONTENT), filename="model.bin")
    server.post("r", "w", numbered([start, artifact]))
    assert server.put(DIGEST, CONTENT).status_code == 201
    return server


def test_a_file_that_was_cut_off_is_gone_on_with_where_it_was(kept: Server, proxy: Proxy, cache: Path) -> None:
    model = open_store(proxy.url).run("r").artifact("model")
    proxy.mode = cutting_answers_after(1_000_000)
    count = len(proxy.requests)
    assert model.path().read_bytes() == CONTENT
    assert len(proxy.requests) - count > len(CONTENT) // 1_000_000
    proxy.mode = refusing
    assert model.path().read_bytes() == CONTENT  # which is here now


def test_a_new_process_goes_on_with_a_file(kept: Server, proxy: Proxy, cache: Path) -> None:
    model = open_store(proxy.url).run("r").artifact("model")
    proxy.mode = once(cutting_answers_after(3_000_000), refusing_rudely)
    with pytest.raises(tachograph.Error, match="does not answer"):
        model.path()
    [part] = cache.rglob("*.part")
    assert 2_900_000 < part.stat().st_size < 3_000_000
    proxy.mode = cutting_answers_after(2_500_000)  # enough for the rest alone
    count = len(proxy.requests)
    assert model.path().read_bytes() == CONTENT
    assert not list(cache.rglob("*.part"))
    assert sum("/blobs/" in line for line in proxy.requests[count:]) == 1


def refusing_rudely(exchange: Exchange) -> None:
    raise Cut


def test_what_is_damaged_is_not_handed_out(kept: Server, cache: Path) -> None:
    run = open_store(kept.url).run("r")
    path = run.artifact("model").path()
    [blob] = [found for found in cache.rglob(DIGEST[7:]) if "blobs" in found.parts]
    blob.chmod(0o644)
    for changed in (blob, path):
        changed.chmod(0o644)
        changed.write_bytes(b"changed")
    assert run.artifact("model").path().read_bytes() == CONTENT  # fetched anew
    [there] = [found for found in kept.root.rglob(DIGEST[7:]) if "blobs" in found.parts]
    there.chmod(0o644)
    there.write_bytes(CONTENT[:-1] + b"x")
    for changed in (blob, path):
        changed.chmod(0o644)
        changed.unlink()
    with pytest.raises(tachograph.Damaged, match=f"gave something else for {DIGEST}"):
        run.artifact("model").path()
    there.unlink()
    with pytest.raises(tachograph.Damaged, match="is missing"):
        run.artifact("model").path()
