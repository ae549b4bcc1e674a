"""This machine is asked itself, whatever proxy the environment names."""

from __future__ import annotations

import http.server
import threading
from collections.abc import Iterator
from typing import ClassVar

import pytest

from tachograph.runtime.loopback import is_loopback
from tachograph.sinks import Retry


class Empty(http.server.BaseHTTPRequestHandler):
    """Has no bucket; knows what it was asked for."""

    asked: ClassVar[list[str]] = []

    def do_GET(self) -> None:
        self.asked.append(self.path)
        self.send_response(404)
        self.end_headers()

    def log_message(self, *arguments: object) -> None:
        """Nothing on standard error."""


@pytest.fixture
def port() -> Iterator[int]:
    with http.server.HTTPServer(("127.0.0.1", 0), Empty) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield server.server_port
        server.shutdown()
        thread.join()


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost"])
def test_a_bucket_on_this_machine_is_asked_without_a_proxy(
    monkeypatch: pytest.MonkeyPatch, port: int, host: str
) -> None:
    pytest.importorskip("obstore")
    from tachograph.bucket.objects import Objects

    for name in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    for name in ("no_proxy", "NO_PROXY"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://{host}:{port}")
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "x")
    monkeypatch.setattr(Empty, "asked", [])
    with pytest.raises(Retry, match="answers 404"):
        list(Objects("s3://bucket/prefix").listed("runs"))
    assert Empty.asked


def test_which_hosts_are_this_machine() -> None:
    own = ["127.0.0.1", "127.8.8.8", "::1", "[::1]", "localhost", "LOCALHOST"]
    others = ["", "0.0.0.0", "10.0.0.1", "localhost.example.com", "example.com", "::"]
    assert [host for host in (*own, *others) if is_loopback(host)] == own
