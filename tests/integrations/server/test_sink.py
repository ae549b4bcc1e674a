"""The sink for a server: the rules of all sinks, and what each answer means."""

from __future__ import annotations

import contextlib
import hashlib
import http.server
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from tests.integrations.server.serving import Server, held, lines

from tachograph import events
from tachograph.errors import Error
from tachograph.sinks import Reject, Retry, open_sink
from tachograph.sinks import http as http_sink
from tachograph.sinks.http import HttpSink
from tachograph.store.store import open_store
from tachograph.testing import check_sink

SENT = lines("r", "w", 3)


def stored(server: Server, run: str) -> dict[str, list[events.Event]]:
    return {writer: list(map(events.decode, server.held(run, writer))) for writer in server.writers(run)}


@contextlib.contextmanager
def killed(server: Server) -> Iterator[None]:
    server.kill()
    yield
    server.start()


def test_it_keeps_the_rules(server):
    check_sink(lambda: HttpSink(server.url), lambda run: stored(server, run), lambda: killed(server))


def test_it_keeps_the_rules_with_small_requests_and_a_token(server, monkeypatch):
    monkeypatch.setattr(http_sink, "BATCH_BYTES", 5000)
    monkeypatch.setattr(http_sink, "WHOLE_BYTES", 20_000)
    monkeypatch.setattr(http_sink, "PART_BYTES", 30_000)
    monkeypatch.setenv("TACHOGRAPH_TOKEN", server.token("write"))
    check_sink(lambda: open_sink(server.url + "/"), lambda run: stored(server, run))


def test_a_training_is_sent_and_reads_as_it_does_here(server, script, root):
    done = script(
        f"""
        import tachograph
        with tachograph.start_run("sent", sinks=["{server.url}"], params={{"lr": 0.1}}) as run:
            for step in range(1000):
                run.log({{"loss": 1 / (step + 1)}})
            run.log_table("rows", [{{"a": 1}}])
        """
    )
    assert (done.returncode, done.stderr) == (0, "")
    here, there = open_store(root).run("sent"), server.store().run("sent")
    assert (there.status, there.params, there.metrics) == ("finished", here.params, here.metrics)
    assert there.table("rows") == [{"a": 1}]
    writer = here.writers[0].id
    assert server.held(here.id, writer) == [line for line in held(root, here.id, writer) if line]


def test_only_the_wrong_lines_are_rejected(server):
    sink = HttpSink(server.url)
    wrong = [b'{"kind":"note","v":1,"seq":4}', b"nonsense"]
    with pytest.raises(Reject, match="422: line 4") as rejected:
        sink.write("r", "w", [*SENT[:3], *wrong, *SENT[3:]])
    assert list(rejected.value.lines) == wrong
    sink.write("r", "w", SENT)
    assert server.held("r", "w") == SENT


def test_of_a_removed_run_all_is_rejected_at_once(server):
    sink = HttpSink(server.url)
    sink.write("r", "w", SENT)
    subprocess.run([sys.executable, "-m", "tachograph", "rm", "r", "--yes", "--root", str(server.root)], check=True)
    with pytest.raises(Reject, match="was removed") as rejected:
        HttpSink(server.url).write("r", "w", SENT)
    assert list(rejected.value.lines) == SENT


def test_a_server_that_lost_something_gets_it_again(server):
    sink = HttpSink(server.url)
    sink.write("r", "w", SENT[:4])
    path = server.root / "runs" / "r" / "w" / "1.jsonl"
    path.write_bytes(b"\n".join(SENT[:2]) + b"\n")  # of a backup
    path.with_suffix(".sums").unlink()
    with pytest.raises(Retry, match="after number 2 are missing"):
        sink.write("r", "w", SENT[4:])
    assert sink.resume("r") == {"w": 2}
    sink.write("r", "w", SENT[2:])
    assert server.held("r", "w") == SENT


def test_a_token_that_is_not_good_is_waited_for(server, monkeypatch):
    good = server.token("write")
    for token in ("", "nonsense", server.token("read")):
        monkeypatch.setenv("TACHOGRAPH_TOKEN", token)
        with pytest.raises(Retry, match="token") as retry:
            HttpSink(server.url).write("r", "w", SENT)
        assert retry.value.after == http_sink.TOKEN_SECONDS
    monkeypatch.setenv("TACHOGRAPH_TOKEN", f" {good}\n")
    HttpSink(server.url).write("r", "w", SENT)
    assert server.held("r", "w") == SENT


@pytest.mark.parametrize("token", ["a\nX-Evil: 1", "ä", "two words", "\x7f"])
def test_what_can_be_no_token(token, monkeypatch):
    monkeypatch.setenv("TACHOGRAPH_TOKEN", token)
    with pytest.raises(ValueError, match="TACHOGRAPH_TOKEN"):
        HttpSink("http://127.0.0.1:1")


@pytest.mark.parametrize("url", ["http://", "https://me:secret@host", "http://host?x=1", "http://host#x"])
def test_what_can_be_no_address(url):
    with pytest.raises(ValueError, match="URL") as error:
        HttpSink(url)
    assert "secret" not in str(error.value)


# -- answers that a tachograph server seldom gives, and those of what stands between --


class Answers:
    """Answers every request in one way."""

    def __init__(self, answer: Callable[[http.server.BaseHTTPRequestHandler], None]) -> None:
        self.requests: list[Any] = []
        outer = self

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def _any(self) -> None:
                outer.requests.append((self.command, self.path, dict(self.headers)))
                self.rfile.read(int(self.headers.get("Content-Length", 0)))
                answer(self)

            do_GET = do_POST = do_PUT = _any  # noqa: N815 - http.server's names

            def log_message(self, *arguments: Any) -> None:
                pass

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True
        threading.Thread(target=self.server.serve_forever, daemon=True).start()
        self.url = f"http://127.0.0.1:{self.server.server_port}"

    def close(self) -> None:
        self.server.shutdown()
        self.server.server_close()


@pytest.fixture
def answering() -> Iterator[Callable[..., Answers]]:
    made: list[Answers] = []

    def make(status: int, body: bytes = b"", **headers: str) -> Answers:
        def answer(handler: http.server.BaseHTTPRequestHandler) -> None:
            handler.send_response_only(status)
            for name, value in headers.items():
                handler.send_header(name.replace("_", "-"), value)
            handler.send_header("Content-Length", str(len(body)))
            handler.end_headers()
            handler.wfile.write(body)

        made.append(Answers(answer))
        return made[-1]

    yield make
    for one in made:
        one.close()


REASON = b'{"reason":"so it is"}'


@pytest.mark.parametrize(
    ("status", "body", "headers", "after"),
    [
        (429, REASON, {"Retry_After": "7"}, 7.0),
        (503, b"busy", {"Retry_After": "12"}, 12.0),
        (503, REASON, {"Retry_After": "99999999"}, http_sink.LONGEST_WAIT),
        (503, REASON, {"Retry_After": "Fri, 01 Jan 2016 00:00:00 GMT"}, 0.0),
        (503, REASON, {"Retry_After": "soon"}, None),
        (503, REASON, {"Retry_After": "Fri, 01 Jan 2016 00:00:09 GMT", "Date": "Fri, 01 Jan 2016 00:00:00 GMT"}, 9.0),
        (500, b"<html>", {}, None),
        (502, b"", {}, None),
        (507, REASON, {"Retry_After": "5"}, 5.0),
        (404, b"<html>not here", {}, None),
        (413, b"<html>nginx", {}, None),
        (302, b"", {"Location": "https://elsewhere.example/"}, None),
        (200, b"<html>Welcome to your wireless network", {}, None),
        (200, b'{"position":"many"}', {}, None),
        (401, REASON, {}, http_sink.TOKEN_SECONDS),
        (403, REASON, {}, http_sink.TOKEN_SECONDS),
    ],
)
def test_what_is_to_be_tried_again(answering, status, body, headers, after):
    there = answering(status, body, **headers)
    with pytest.raises(Retry) as retry:
        HttpSink(there.url).resume("r")
    assert retry.value.after == after
    assert len(there.requests) == 1
    assert there.url in str(retry.value)


@pytest.mark.parametrize(("status", "named"), [(400, 5), (410, 5), (422, 5), (413, 0)])
def test_what_is_not(answering, status, named):
    there = answering(status, REASON)
    sink = HttpSink(there.url)
    sink._held["r", "w"] = 0
    with pytest.raises(Reject, match="so it is") as rejected:
        sink.write("r", "w", SENT)
    assert len(rejected.value.lines) == named
    with pytest.raises(Reject, match="so it is") as rejected:
        sink.write("r", "w", SENT[:1])
    assert len(rejected.value.lines) == 1


def test_nobody_there_and_somebody_who_says_nothing(monkeypatch):
    monkeypatch.setattr(http_sink, "ANSWER_SECONDS", 0.3)
    with socket.create_server(("127.0.0.1", 0)) as deaf:
        url = f"http://127.0.0.1:{deaf.getsockname()[1]}"
        with pytest.raises(Retry, match=r"does not answer: .*timed out"):
            HttpSink(url).resume("r")
    with pytest.raises(Retry, match=r"does not answer: .*refused"):
        HttpSink(url).resume("r")
    with pytest.raises(Retry, match="does not answer"):
        HttpSink("http://no.such.host.invalid").resume("r")


def test_an_answer_without_an_end(monkeypatch):
    def drip(handler: http.server.BaseHTTPRequestHandler) -> None:
        handler.send_response(200)
        handler.send_header("Content-Length", "100000")
        handler.end_headers()
        for _ in range(100):
            handler.wfile.write(b" ")
            time.sleep(0.05)

    monkeypatch.setattr(http_sink, "WHOLE_ANSWER", 0.5)
    there = Answers(drip)
    began = time.monotonic()
    with pytest.raises(Retry, match="does not come to an end"):
        HttpSink(there.url).resume("r")
    assert time.monotonic() - began < 3
    there.close()


def test_what_is_sent(answering, monkeypatch, tmp_path):
    (tmp_path / "netrc").write_text("machine 127.0.0.1 login me password secret\n")
    monkeypatch.setenv("NETRC", str(tmp_path / "netrc"))
    there = answering(200, b'{"position":5,"stored":5,"positions":{},"digest":"x"}')
    sink = HttpSink(there.url)
    sink.write("r", "w", SENT)
    assert not any("Authorization" in headers for _, _, headers in there.requests)
    monkeypatch.setenv("TACHOGRAPH_TOKEN", "token")
    sink = HttpSink(there.url)
    sink.resume("../a b")
    method, path, headers = there.requests[-1]
    assert (method, path) == ("GET", "/api/v1/runs/..%2Fa%20b/positions")
    assert headers["Authorization"] == "Bearer token"
    assert there.requests[1][2]["Content-Encoding"] == "gzip"


def test_a_file_is_not_read_into_memory(server, tmp_path):
    import resource

    path = tmp_path / "large"
    with open(path, "wb") as file:
        for number in range(200):
            file.write(bytes([number]) * (1 << 20))
    with open(path, "rb") as file:
        digest = "sha256:" + hashlib.file_digest(file, "sha256").hexdigest()
    sink = HttpSink(server.url)
    sink.resume("r")
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    sink.put(digest, path)
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 100 << 10  # KiB
    assert sink.missing([digest]) == []
    with pytest.raises(Reject, match="does not have that digest"):
        sink.put("sha256:" + "0" * 64, path)


def test_a_batch_is_taken_apart_between_lines_only():
    assert [len(batch) for batch in http_sink._batches([b"x" * (5 << 20)] * 3)] == [1, 1, 1]
    assert list(http_sink._batches([])) == []


@pytest.fixture
def proxied(monkeypatch):
    """Every request goes to a proxy, which is not there, unless it is made for none to come between."""
    for name in ("http_proxy", "https_proxy", "all_proxy"):
        monkeypatch.setenv(name, "http://me:secret@127.0.0.1:9")
        monkeypatch.delenv(name.upper(), raising=False)
    for name in ("no_proxy", "NO_PROXY"):
        monkeypatch.delenv(name, raising=False)


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost"])
def test_this_machine_is_asked_without_a_proxy(proxied, server, host):
    url = f"http://{host}:{server.port}"
    HttpSink(url).write("r", "w", SENT)
    assert [run.id for run in open_store(url).runs(children=True)] == ["r"]


def test_a_proxy_that_does_not_answer_is_named(proxied):
    there = "http://tachograph.example.com"
    with pytest.raises(Retry, match=r"does not answer through the proxy http://.*127\.0\.0\.1:9") as refused:
        HttpSink(there).resume("r")
    with pytest.raises(Error, match=r"does not answer through the proxy http://.*127\.0\.0\.1:9") as unanswered:
        open_store(there).runs()
    assert "secret" not in f"{refused.value} {unanswered.value}"
