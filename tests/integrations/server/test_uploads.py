"""Files that come in parts: what was cut off is gone on with, whoever was begun anew in between."""

from __future__ import annotations

import contextlib
import hashlib
import os
import random
import socket
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import requests
from tests.faults.proxy import Cut, Exchange, Mode, Proxy, answer, cutting_after, passing
from tests.integrations.server.serving import Server, numbered

from tachograph.cli import main
from tachograph.events import Artifact, Event, RunStart
from tachograph.journal.blobs import Blobs
from tachograph.server.drafts import UPLOAD, Drafts, TooMany
from tachograph.sinks import Reject, Retry, http_uploads
from tachograph.sinks.http import HttpSink

MB = 1 << 20


class Cutting:
    """Hands connections on to a server; cuts each of them when so many bytes were sent, as long as there are cuts
    left. ``sent`` counts all that came from clients."""

    def __init__(self, port: int, cuts: list[int]) -> None:
        self._port, self.cuts, self.sent = port, cuts, 0
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self._listener.getsockname()[1]}"
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
                server = socket.create_connection(("127.0.0.1", self._port))
            except OSError:
                return
            threading.Thread(target=self._back, args=[server, client], daemon=True).start()
            threading.Thread(target=self._on, args=[client, server], daemon=True).start()

    def _on(self, client: socket.socket, server: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while data := client.recv(1 << 16):
                self.sent += len(data)
                if self.cuts and self.sent >= self.cuts[0]:
                    self.cuts.pop(0)
                    break
                server.sendall(data)
        _end(client, server)

    def _back(self, server: socket.socket, client: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while data := server.recv(1 << 16):
                client.sendall(data)
        _end(client, server)

    def close(self) -> None:
        self._listener.close()


def _end(*sockets: socket.socket) -> None:
    for one in sockets:
        with contextlib.suppress(OSError):
            one.shutdown(socket.SHUT_RDWR)
        one.close()


@pytest.fixture
def cutting(server: Server) -> Iterator[Callable[[list[int]], Cutting]]:
    made: list[Cutting] = []

    def make(cuts: list[int]) -> Cutting:
        made.append(Cutting(server.port, cuts))
        return made[-1]

    yield make
    for one in made:
        one.close()


@pytest.fixture
def large(tmp_path: Path) -> Callable[[int], tuple[str, Path]]:
    """A file of some bytes, and its digest."""

    def make(size: int) -> tuple[str, Path]:
        path = tmp_path / f"large-{size}"
        block, found = os.urandom(MB), hashlib.sha256()
        with open(path, "wb") as file:
            for number in range(size // MB + 1):
                piece = (number.to_bytes(8, "big") + block[8:])[: size - number * MB]
                file.write(piece)
                found.update(piece)
        return f"sha256:{found.hexdigest()}", path

    return make


def drafts(server: Server) -> list[Path]:
    return sorted((server.root / "blobs").glob(f"{UPLOAD}*"))


def patient(act: Callable[[], None], tries: int = 100) -> int:
    """Try again as the shipper does; how often it took."""
    for attempt in range(1, tries):
        try:
            act()
            return attempt
        except Retry:
            time.sleep(0.05)
    raise AssertionError("it never came through")


def check_kept(server: Server, digest: str, path: Path) -> None:
    kept = Blobs(server.root).path(digest)
    with open(kept, "rb") as there, open(path, "rb") as here:
        while block := here.read(8 * MB):
            assert there.read(8 * MB) == block
        assert there.read() == b""
    assert not drafts(server)


@pytest.mark.parametrize("size", [100 * MB, pytest.param(1 << 30, marks=pytest.mark.benchmark)])
def test_a_connection_that_is_cut_ten_times(server, cutting, large, size):
    digest, path = large(size)
    chance = random.Random(3)
    between = cutting(sorted(chance.randrange(size) for _ in range(10)))
    began = time.monotonic()
    sink = HttpSink(between.url)
    assert patient(lambda: sink.put(digest, path)) <= 10
    more = between.sent / size - 1
    print(
        f"\n{size / MB:.0f} MiB, cut ten times: {more:.2%} more than that were sent, {time.monotonic() - began:.1f} s"
    )
    assert not between.cuts
    assert more < 0.08
    check_kept(server, digest, path)


def test_another_client_process_and_another_server_go_on_with_it(server, cutting, large):
    digest, path = large(40 * MB)
    between = cutting([20 * MB, 20 * MB + 1])  # the second cut takes the question how much has come
    with pytest.raises(Retry) as retry:
        HttpSink(between.url).put(digest, path)
    assert retry.value.moved
    (draft,) = drafts(server)
    held = draft.stat().st_size
    assert 8 * MB < held < 21 * MB
    server.kill()
    server.start()
    between = cutting([])
    between._port = server.port
    HttpSink(between.url).put(digest, path)
    assert between.sent < 40 * MB - held + 1 * MB
    check_kept(server, digest, path)


def test_a_server_that_is_killed_again_and_again(server, large):
    digest, path = large(60 * MB)
    sink, done = HttpSink(server.url), threading.Event()

    def send() -> None:
        patient(lambda: sink.put(digest, path), tries=1000)
        done.set()

    thread = threading.Thread(target=send)
    thread.start()
    for _ in range(5):
        if done.wait(0.1):
            break
        server.kill()
        server.start()
    thread.join(60)
    check_kept(server, digest, path)


@pytest.fixture
def proxy(server: Server) -> Iterator[Proxy]:
    running = Proxy(server.port)
    yield running
    running.close()


def taking(limit: int) -> Mode:
    """As nginx does, which takes 1 MiB where nobody has set more: it answers before it has read the body."""

    def mode(exchange: Exchange) -> None:
        if exchange.request.length > limit:
            exchange.answer(answer(413, b"<html>Request Entity Too Large"))
            raise Cut
        passing(exchange)

    return mode


def test_a_proxy_that_takes_small_requests_only(server, proxy, large):
    digest, path = large(20 * MB)
    proxy.mode = taking(1 * MB)
    sink = HttpSink(proxy.url)
    patient(lambda: sink.put(digest, path))
    check_kept(server, digest, path)
    proxy.mode = taking(MB // 2)
    digest, path = large(3 * MB)
    with pytest.raises(Retry, match=r"answers 413|does not answer"):
        sink.put(digest, path)


def test_sync_is_patient_with_a_line_that_is_cut_again_and_again(server, proxy, large, root):
    """More often than it tries where nothing gets over: each time a part of the file does."""
    digest, path = large(60 * MB)
    store = Blobs(root)
    store.publish(store.copy(path), digest)
    happened = [*started(), Artifact(name="m", type="model", digest=digest, size=60 * MB, filename="m")]
    folder = root / "runs" / "r" / "w"
    folder.mkdir(parents=True)
    (folder / "1.jsonl").write_bytes(b"".join(line + b"\n" for line in numbered(happened)))
    cuts = 0

    def mode(exchange: Exchange) -> None:
        nonlocal cuts
        if exchange.request.head.startswith(b"GET") and b"/uploads/" in exchange.request.head and cuts < 12:
            cuts += 1
            if cuts % 2:  # of two questions how much has come, one is not answered: that ends an attempt
                raise Cut
        if exchange.request.length > 7 * MB:
            cutting_after(2 * MB)(exchange)
        else:
            passing(exchange)

    proxy.mode = mode
    assert main(["sync", "--to", proxy.url]) == 0
    assert cuts == 12
    check_kept(server, digest, path)


def started() -> list[Event]:
    return [RunStart(run="r", writer="w", role="owner", host="elsewhere", boot="b", pid=1, born=1)]


def test_clients_that_send_the_same_file_do_not_disturb_each_other(server, large, tmp_path):
    digest, path = large(40 * MB)
    copies = [path, *(tmp_path / f"copy-{number}" for number in range(3))]
    for copy in copies[1:]:
        copy.write_bytes(path.read_bytes())
    faults: list[BaseException] = []

    def send(copy: Path) -> None:
        try:
            HttpSink(server.url).put(digest, copy)  # without a single Retry
        except BaseException as fault:  # noqa: BLE001 - told by the test's own thread
            faults.append(fault)

    threads = [threading.Thread(target=send, args=[copy]) for copy in copies]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not faults
    check_kept(server, digest, path)


def test_wrong_bytes_are_refused_at_the_end_and_thrown_away(server, large):
    digest, path = large(20 * MB)
    wrong = "sha256:" + 64 * "0"
    with pytest.raises(Reject, match="does not have that digest"):
        HttpSink(server.url).put(wrong, path)
    assert not drafts(server)
    assert not Blobs(server.root).path(wrong).exists()
    HttpSink(server.url).put(digest, path)
    check_kept(server, digest, path)


def test_what_was_sent_of_a_longer_file_before_is_begun_anew(server, large):
    digest, path = large(20 * MB)
    ask(server, "PATCH", digest, http_uploads.name_of(path), data=b"x" * 21 * MB, offset=0, complete="?0")
    HttpSink(server.url).put(digest, path)
    check_kept(server, digest, path)


# -- the protocol --


def ask(
    server: Server, method: str, digest: str, name: str = "mine", offset: Any = None, complete: Any = None,
    token: str = "", media_type: str = "application/partial-upload", **more: Any,
) -> requests.Response:  # fmt: skip
    headers = {"Content-Type": media_type, "Upload-Offset": offset, "Upload-Complete": complete}
    headers["Authorization"] = f"Bearer {token}" if token else None
    known = {name: str(value) for name, value in headers.items() if value is not None}
    url = f"{server.api}/blobs/{digest}/uploads/{name}"
    return requests.request(method, url, headers=known, timeout=30, **more)


CONTENT = b"0123456789"
DIGEST = f"sha256:{hashlib.sha256(CONTENT).hexdigest()}"


def test_part_by_part(server):
    assert ask(server, "HEAD", DIGEST).headers["Upload-Offset"] == "0"
    for at in range(0, 9, 3):
        answer = ask(server, "PATCH", DIGEST, data=CONTENT[at : at + 3], offset=at, complete="?0")
        assert (answer.status_code, answer.json()) == (200, {"offset": at + 3})
        assert (answer.headers["Upload-Offset"], answer.headers["Upload-Complete"]) == (str(at + 3), "?0")
        head = ask(server, "HEAD", DIGEST)
        assert (head.headers["Upload-Offset"], head.headers["Cache-Control"]) == (str(at + 3), "no-store")
    last = ask(server, "PATCH", DIGEST, data=CONTENT[9:], offset=9, complete="?1")
    assert (last.status_code, last.json()) == (201, {"digest": DIGEST, "size": 10})
    assert last.headers["Upload-Complete"] == "?1"
    assert server.ask(f"/blobs/{DIGEST}").content == CONTENT
    again = ask(server, "PATCH", DIGEST, data=CONTENT, offset=0, complete="?1")
    assert again.status_code == 200
    assert not drafts(server)


def test_a_part_elsewhere_than_at_the_end(server):
    ask(server, "PATCH", DIGEST, data=CONTENT[:5], offset=0, complete="?0")
    for wrong in (0, 4, 6):
        answer = ask(server, "PATCH", DIGEST, data=CONTENT[5:], offset=wrong, complete="?1")
        assert (answer.status_code, answer.json()["offset"], answer.headers["Upload-Offset"]) == (409, 5, "5")
    assert ask(server, "DELETE", DIGEST).json() == {"offset": 0}
    assert ask(server, "PATCH", DIGEST, data=CONTENT, offset=0, complete="?1").status_code == 201


@pytest.mark.parametrize(
    ("wrong", "status"),
    [
        ({"offset": None}, 400), ({"offset": "-1"}, 400), ({"offset": "1" * 16}, 400), ({"offset": "²"}, 400),
        ({"complete": None}, 400), ({"complete": "1"}, 400), ({"name": "UP"}, 400), ({"name": "a" * 33}, 400),
        ({"name": "..%2fx"}, 404), ({"digest": "sha256:0"}, 400), ({"media_type": "application/octet-stream"}, 415),
        ({"media_type": "text/plain"}, 415), ({"offset": 1}, 409),
    ],
)  # fmt: skip
def test_what_is_no_part(server, wrong, status):
    given = {"digest": DIGEST, "offset": 0, "complete": "?1", "data": CONTENT, **wrong}
    if given["offset"] == "²":
        given["offset"] = "\xb2".encode("latin-1").decode("latin-1")
    answer = ask(server, "PATCH", **given)
    assert (answer.status_code, set(answer.json()) >= {"reason"}) == (status, True)
    assert all(draft.stat().st_size == 0 for draft in drafts(server))


def test_tokens_do_not_see_each_others_uploads(server):
    one, two = server.token("write", "one"), server.token("write", "two")
    reader = server.token("read")
    ask(server, "PATCH", DIGEST, data=CONTENT[:5], offset=0, complete="?0", token=one)
    assert ask(server, "HEAD", DIGEST, token=one).headers["Upload-Offset"] == "5"
    assert ask(server, "HEAD", DIGEST, token=two).headers["Upload-Offset"] == "0"
    assert ask(server, "HEAD", DIGEST, token=reader).status_code == 403
    assert ask(server, "HEAD", DIGEST).status_code == 401
    assert ask(server, "DELETE", DIGEST, token=two).json() == {"offset": 0}
    assert ask(server, "PATCH", DIGEST, data=CONTENT[5:], offset=5, complete="?1", token=one).status_code == 201


def test_one_request_at_a_time_writes_to_an_upload(server):
    host = f"127.0.0.1:{server.port}"
    with socket.create_connection(("127.0.0.1", server.port)) as slow:
        slow.sendall(
            f"PATCH /api/v1/blobs/{DIGEST}/uploads/mine HTTP/1.1\r\nHost: {host}\r\nUpload-Offset: 0\r\n"
            "Upload-Complete: ?0\r\nContent-Type: application/partial-upload\r\nContent-Length: 5\r\n\r\n012".encode()
        )
        until = time.monotonic() + 10
        while not drafts(server):
            assert time.monotonic() < until
            time.sleep(0.01)
        answer = ask(server, "PATCH", DIGEST, data=CONTENT, offset=0, complete="?1")
        assert (answer.status_code, answer.headers["Retry-After"]) == (503, "5")
        assert ask(server, "PATCH", DIGEST, name="other", data=CONTENT, offset=0, complete="?1").status_code == 201
    while ask(server, "HEAD", DIGEST).headers["Upload-Offset"] != "3":  # what had come is not lost
        assert time.monotonic() < until
        time.sleep(0.01)
    assert ask(server, "PATCH", DIGEST, data=CONTENT[3:], offset=3, complete="?1").status_code == 200


def test_uploads_are_counted_and_thrown_away_when_they_rest(tmp_path):
    found = Drafts(tmp_path / "blobs", lambda path, digest: True)

    def begin(owner: str, name: str, rest: float = 100.0) -> None:
        draft = found.upload(owner, name, DIGEST, 3, rest)
        draft.write(b"012")
        draft.close()

    for name in ("a", "b", "c"):
        begin("one", name)
    begin("one", "a")
    with pytest.raises(TooMany, match="3 uploads"):
        begin("one", "d")
    begin("two", "d")
    busy = found.upload("one", "a", DIGEST, 3, 100.0)
    other = tmp_path / "blobs" / ".draft-1-aa"
    other.touch()
    for path in (tmp_path / "blobs").iterdir():
        os.utime(path, (1.0, 1.0))
    begin("one", "d", rest=100.0)
    busy.close()
    left = sorted(path.name for path in (tmp_path / "blobs").iterdir())
    assert left == sorted([other.name, *(f"{UPLOAD}one-{name}-{DIGEST[7:]}" for name in ("a", "d"))])
    assert found.size("one", "a", DIGEST) == 6
