"""What a server does with those who mean no good."""

from __future__ import annotations

import gzip
import hashlib
import http.client
import os
import re
import resource
import socket
import subprocess
import sys
import time
from statistics import median

import psutil
import pytest
import requests
from tests.integrations.server.serving import Server, lines

DIGEST = "sha256:" + hashlib.sha256(b"content").hexdigest()


def tree(server: Server) -> set[str]:
    """The files that the server's folder and its surroundings have, but for what the index and locks need."""
    found = {str(path.relative_to(server.root.parent)) for path in server.root.parent.rglob("*") if path.is_file()}
    return {path for path in found if "index.sqlite" not in path}


def raw(server: Server, request: bytes) -> bytes:
    with socket.create_connection(("127.0.0.1", server.port), timeout=10) as connection:
        connection.sendall(request)
        answer = b""
        while piece := connection.recv(1 << 16):
            answer += piece
            if b'"reason"' in answer:
                break
    return answer


def test_without_a_token_a_server_for_others_does_not_start(tmp_path):
    command = [sys.executable, "-m", "tachograph", "serve", "--root", str(tmp_path), "--host", "0.0.0.0", "--port", "0"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=180)
    assert (done.returncode, done.stdout, len(done.stderr.splitlines())) == (1, "", 1)
    assert "tachograph token create" in done.stderr


def test_once_there_is_a_token_one_is_needed(server):
    assert server.ask("/runs").status_code == 200
    writer, reader = server.token("write"), server.token("read")
    for token in ("", "nonsense", writer[:-1], writer + "a", "tachograph_"):
        answer = server.ask("/runs", token)
        assert (answer.status_code, list(answer.json())) == (401, ["reason"])
        assert server.post("r", "w", lines("r", "w", 1), token).status_code == 401
        assert server.put(DIGEST, b"content", token).status_code == 401
    assert requests.get(f"{server.api}/runs", auth=("write", writer), timeout=9).status_code == 401
    refused = server.post("r", "w", lines("r", "w", 1), reader)
    assert (refused.status_code, "write" in refused.json()["reason"]) == (403, True)
    assert server.put(DIGEST, b"content", reader).status_code == 403
    assert not (server.root / "runs").exists()
    assert not (server.root / "blobs").exists()
    assert server.post("r", "w", lines("r", "w", 1), writer).status_code == 200
    assert server.ask("/runs", reader).json()[0]["id"] == "r"
    assert server.ask("/openapi.json").status_code == 200


def test_a_revoked_token_is_good_no_more_at_once(server):
    token = server.token("write", "ada")
    sent = lines("r", "w", 10, end=False)
    assert server.post("r", "w", sent[:5], token).status_code == 200
    with server.ask("/runs/r/stream", token, stream=True) as stream:
        content = stream.iter_content(1)
        next(content)

        def slowly():
            for start in range(7):
                if start == 3:
                    command = [sys.executable, "-m", "tachograph", "token", "revoke", "ada"]
                    subprocess.run([*command, *server.place], check=True, capture_output=True)
                yield b"content"[start : start + 1]

        assert server.put(DIGEST, slowly(), token).status_code == 401
        assert server.post("r", "w", sent[5:], token).status_code == 401
        began = time.monotonic()
        for _ in content:  # it ends
            pass
        assert time.monotonic() - began < 5
    assert server.held("r", "w") == sent[:5]
    assert not list((server.root / "blobs").rglob("*"))


@pytest.mark.parametrize(
    "name", ["..", ".", "%2e%2e", "..%2f..%2fevil", "a%2fb", "%00", "a%0d%0aX-Evil:1", "-x", "a" * 200]
)
def test_no_name_leads_out_of_the_folder(server, name):
    before = tree(server)
    body = b"\n".join(lines("r", "w", 1))
    for path in (f"/api/v1/runs/{name}/writers/w/events", f"/api/v1/runs/r/writers/{name}/events"):
        connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=9)
        connection.putrequest("POST", path, skip_host=False)
        connection.putheader("Content-Type", "application/x-ndjson")
        connection.putheader("Content-Length", str(len(body)))
        connection.endheaders(body)
        answer = connection.getresponse()
        assert 400 <= answer.status < 500, answer.status
        assert answer.headers["Content-Type"] == "application/json"
        assert "X-Evil" not in answer.headers
        connection.close()
    for digest in (name, f"sha256:{name}", "sha256:" + "a" * 61 + "%2f.."):
        connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=9)
        for method in ("GET", "PUT"):
            connection.request(method, f"/api/v1/blobs/{digest}")
            answer = connection.getresponse()
            answer.read()
            assert 400 <= answer.status < 500
        connection.close()
    assert tree(server) == before


def test_a_body_that_is_too_large_is_refused_as_it_comes(server):
    headers = {"Content-Type": "application/x-ndjson"}
    url = f"{server.api}/runs/r/writers/w/events"

    def endless():
        for _ in range(40):
            yield b"x" * (1 << 20)

    try:
        status = requests.post(url, data=endless(), headers=headers, timeout=30).status_code
    except requests.ConnectionError:
        status = 413  # it did not wait for the rest
    assert status == 413
    said = raw(
        server,
        b"POST /api/v1/runs/r/writers/w/events HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/x-ndjson\r\n"
        b"Content-Length: 99999999999\r\n\r\n",
    )
    assert b" 413 " in said
    assert not (server.root / "runs").exists()


def test_a_bomb_does_not_go_off(server):
    line = b'{"kind":"note","v":1,"seq":1,"at":1,"text":"' + b"a" * (512 << 20) + b'"}\n'
    bomb = gzip.compress(line, compresslevel=9)
    assert len(bomb) < 1 << 20
    del line
    before = resident(server)
    headers = {"Content-Type": "application/x-ndjson", "Content-Encoding": "gzip"}
    url = f"{server.api}/runs/r/writers/w/events"
    answer = requests.post(url, data=bomb, headers=headers, timeout=60)
    assert answer.status_code == 413
    assert resident(server) - before < 200 << 20
    assert not (server.root / "runs").exists()


def resident(server: Server) -> int:
    return int(psutil.Process(server.process.pid).memory_info().rss)


@pytest.mark.parametrize(
    ("body", "headers", "status"),
    [
        (b"x", {"Content-Type": "text/plain"}, 415),
        (b"x", {}, 415),
        (b"x", {"Content-Encoding": "br"}, 415),
        (b"x", {"Content-Encoding": "gzip"}, 400),
        (gzip.compress(b"x", mtime=0)[:-3], {"Content-Encoding": "gzip"}, 400),
        (gzip.compress(b"x", mtime=0) + b"more", {"Content-Encoding": "gzip"}, 400),
        (b"", {}, 422),
        (b"x", {}, 422),
        (b"\xff\xfe", {}, 422),
        (b"[" * 100_000, {}, 422),
        (b'{"kind":"note","seq":1e300,"at":1,"text":"a"}', {}, 422),
        (b'{"kind":"run.start","v":1,"seq":1,"at":1,"run":"another","writer":"w","role":"owner","host":"h","boot":"b",'
         b'"pid":1,"born":1}', {}, 422),
    ],
)  # fmt: skip
def test_every_bad_batch_is_answered_with_a_reason(server, body, headers, status):
    expected = {"Content-Type": "application/x-ndjson", **headers}
    if status == 415 and not headers:
        expected = {}
    answer = requests.post(f"{server.api}/runs/r/writers/w/events", data=body, headers=expected, timeout=9)
    assert answer.status_code == status
    assert isinstance(answer.json()["reason"], str)
    assert not (server.root / "runs").exists()


def test_a_file_is_kept_under_no_digest_but_its_own(server):
    wrong = server.put(DIGEST, b"other content")
    assert (wrong.status_code, "does not have that digest" in wrong.json()["reason"]) == (422, True)
    assert server.put(DIGEST, b"content").status_code == 201
    assert server.put(DIGEST, b"other content").status_code == 422
    assert server.ask(f"/blobs/{DIGEST}").content == b"content"
    assert [path.name for path in (server.root / "blobs").rglob("*") if path.is_file()] == [DIGEST[7:]]


def test_a_file_that_is_cut_off_leaves_nothing(server):
    with socket.create_connection(("127.0.0.1", server.port)) as connection:
        head = f"PUT /api/v1/blobs/{DIGEST} HTTP/1.1\r\nHost: localhost\r\nContent-Length: 7\r\n"
        connection.sendall(head.encode() + b"Content-Type: application/octet-stream\r\n\r\ncont")
    until = time.monotonic() + 5
    while time.monotonic() < until and list((server.root / "blobs").glob("*")):
        time.sleep(0.05)
    assert not list((server.root / "blobs").rglob("*"))


def test_pages_of_other_sites_can_do_nothing(server):
    sent = lines("r", "w", 1)
    assert server.ask("/runs", headers={"Host": "evil.example:80"}).status_code == 403
    for name in ("Forwarded", "X-Forwarded-For", "X-Real-IP", "Via"):
        assert "proxy" in server.ask("/runs", headers={name: "203.0.113.9"}).json()["reason"]
    plain = {"Content-Type": "text/plain", "Origin": "https://evil.example"}  # what a page may send unasked
    url = f"{server.api}/runs/r/writers/w/events"
    assert requests.post(url, data=b"\n".join(sent), headers=plain, timeout=9).status_code == 415
    allowed = requests.options(url, headers={"Origin": "https://evil.example"}, timeout=9)
    answer = server.ask("/runs", headers={"Origin": "https://evil.example"})
    for one in (allowed, answer):
        assert not [name for name in one.headers if name.lower().startswith("access-control-")]
    assert not (server.root / "runs").exists()


def test_files_are_nothing_that_a_browser_shows(server):
    page = b"<script>alert(1)</script>"
    digest = "sha256:" + hashlib.sha256(page).hexdigest()
    server.put(digest, page)
    headers = server.ask(f"/blobs/{digest}").headers
    assert headers["Content-Type"] == "application/octet-stream"
    assert headers["Content-Disposition"] == "attachment"
    assert headers["X-Content-Type-Options"] == "nosniff"


def test_nothing_that_is_sent_is_unpickled(server, tmp_path):
    import pickle

    class Evil:
        def __reduce__(self):
            return os.system, (f"touch {tmp_path}/evil",)

    content = pickle.dumps(Evil())
    digest = "sha256:" + hashlib.sha256(content).hexdigest()
    assert server.put(digest, content).status_code == 201
    start, *_ = lines("r", "w", 0)
    artifact = b'{"kind":"artifact","v":1,"seq":2,"at":2,"name":"model","type":"model","digest":"%s","size":%d,'
    artifact += b'"filename":"../../evil.pkl","meta":{"format":"pickle"}}'
    assert server.post("r", "w", [start, artifact % (digest.encode(), len(content))]).status_code == 200
    assert server.ask("/runs/r").json()["artifacts"][0]["digest"] == digest
    assert server.ask(f"/blobs/{digest}").content == content
    assert not (tmp_path / "evil").exists()


def test_guessing_tokens_is_slowed_down(server):
    good = server.token("read")
    answers = [server.ask("/runs", "guess").status_code for _ in range(80)]
    assert set(answers) == {401, 429}
    assert answers[:40] == [401] * 40
    assert answers[-1] == 429
    for _ in range(20):  # and nobody else who comes from that address
        assert server.ask("/runs", good).status_code == 200
        server.ask("/runs", "guess")


def test_every_operation_needs_the_token_that_it_needs(server):
    reader, writer, admin = server.token("read"), server.token("write"), server.token("admin")
    paths = server.ask("/openapi.json").json()["paths"]
    asked = [
        (method, path)
        for path, item in paths.items()
        for method in item
        if not path.endswith(("openapi.json", "health"))
    ]
    assert len(asked) >= 10
    before = tree(server)
    allowed = set()
    for method, path in asked:
        url = server.url + path.replace("{run}", "r").replace("{writer}", "w").replace("{digest}", DIGEST)
        url = re.sub("{.*?}", "x1", url)
        for token in ("", "nonsense"):
            refused = requests.request(method, url, headers={"Authorization": f"Bearer {token}"}, timeout=9)
            assert refused.status_code in (401, 429), (method, path)
            time.sleep(0.05)
        found = requests.request(method, url, headers={"Authorization": f"Bearer {reader}"}, timeout=9).status_code
        assert found != 401
        if found != 403:
            allowed.add(method)
        found = requests.request(method, url, headers={"Authorization": f"Bearer {writer}"}, timeout=9).status_code
        is_upkeep = path.endswith("/collect") or (method, path) == ("delete", "/api/v1/runs/{run}")
        assert (found == 403) == is_upkeep, (method, path)
        found = requests.request(method, url, headers={"Authorization": f"Bearer {admin}"}, timeout=9).status_code
        assert found not in (401, 403)
    assert allowed <= {"get", "head", "post"}  # of the posts those that ask, such as /missing
    assert tree(server) == before


def test_what_is_there_is_changed_by_no_other_writer(server):
    first, second = server.token("write", "first"), server.token("write", "second")
    sent = lines("r", "w", 10)
    assert server.post("r", "w", sent, first).status_code == 200
    forged = [line.replace(b'"m0":', b'"m0":99') for line in sent]
    assert server.post("r", "w", forged, second).json() == {"position": 12, "stored": 0}
    assert server.held("r", "w") == sent
    assert requests.delete(f"{server.api}/runs/r", headers={"Authorization": f"Bearer {second}"}, timeout=9).ok is False


@pytest.mark.parametrize("depth", [100, 400, 900, 5000])
def test_what_is_nested_deep_spoils_nothing_for_others(server, depth):
    server.post("good", "w", lines("good", "w", 3))
    start, *_ = lines("r", "w", 0)
    for kind, name in (("params", "values"), ("artifact", "meta"), ("unheard", "values")):
        deep = b'{"a":' * depth + b"1" + b"}" * depth
        line = b'{"kind":"%s","v":1,"seq":2,"at":2,"%s":{"a":%s}' % (kind.encode(), name.encode(), deep)
        line += b',"name":"n","type":"file","digest":"%s","size":1,"filename":"f"}' % DIGEST.encode()
        answer = server.post(f"r-{kind}", "w", [start.replace(b'"run":"r"', b'"run":"r-%s"' % kind.encode()), line])
        assert answer.status_code in (200, 422), answer.text
        assert server.ask(f"/runs/r-{kind}").status_code == (200 if answer.ok else 404)
        assert server.ask("/runs").status_code == 200
    assert server.ask("/runs/good").json()["metrics"]["m0"] == 2.0


@pytest.mark.parametrize(
    "head",
    [
        b"GET /api/v1/runs HTTP/1.1\r\nHost: localhost\r\nX-Long: " + b"a" * 200_000 + b"\r\n\r\n",
        b"GET /api/v1/runs?where=" + b"a" * 200_000 + b" HTTP/1.1\r\nHost: localhost\r\n\r\n",
        b"GET /api/v1/runs HTTP/1.1\r\nHost: localhost\r\n" + b"X: y\r\n" * 40_000 + b"\r\n",
        b"GET /api/v1/runs HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nab",
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(200),  # somebody who means https
        b"nonsense\r\n\r\n",
    ],
)
def test_a_head_that_is_none(server, head):
    before = resident(server)
    try:
        said = raw(server, head)
    except ConnectionResetError:  # it did not read to the end
        said = b""
    assert said == b"" or said.split(b" ")[1][:1] == b"4", said[:200]
    assert resident(server) - before < 20 << 20
    assert server.ask("/runs").status_code == 200


def test_the_head_of_an_answer_has_nothing_of_what_was_asked(server):
    evil = "a%0d%0aX-Evil:%201%0d%0a%0d%0abody"
    for path in (f"/runs/{evil}", f"/runs?where={evil}", f"/runs/{evil}/history?name={evil}", f"/blobs/{evil}"):
        answer = raw(server, f"GET /api/v1{path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n".encode())
        head = answer.partition(b"\r\n\r\n")[0]
        assert head.split(b" ")[1] in (b"400", b"404")
        assert b"evil" not in head.lower()


def latencies(server: Server, count: int = 60) -> list[float]:
    found = []
    for number in range(count):
        began = time.monotonic()
        assert server.post(f"other-{count}-{number}", "w", lines(f"other-{count}-{number}", "w", 3)).status_code == 200
        found.append(time.monotonic() - began)
    return sorted(found)


@pytest.mark.parametrize("kind", ["heads", "bodies", "files", "streams"])
def test_those_who_are_slow_delay_nobody(server, kind):
    """Beside 150 of them a request takes about as long as alone."""
    server.post("long", "w", lines("long", "w", 20_000, end=False))
    latencies(server, 10)
    alone = latencies(server)
    there = f"Host: localhost:{server.port}\r\nContent-Length: 100000\r\nContent-Type: "
    begun = {
        "heads": "POST /api/v1/missing HTTP/1.1\r\nHost: loc",
        "bodies": f"POST /api/v1/runs/r/writers/w/events HTTP/1.1\r\n{there}application/x-ndjson\r\n\r\nabc",
        "files": f"PUT /api/v1/blobs/{DIGEST} HTTP/1.1\r\n{there}application/octet-stream\r\n\r\nabc",
        "streams": "GET /api/v1/runs/long/stream HTTP/1.1\r\nHost: localhost\r\n\r\n",
    }[kind]
    slow = [socket.create_connection(("127.0.0.1", server.port)) for _ in range(150)]
    for connection in slow:
        connection.sendall(begun.encode())
    time.sleep(1.0)  # until what they are sent fills the buffers
    beside = latencies(server)
    for connection in slow:
        connection.close()
    print(f"{kind}: median {median(alone):.4f} s alone, {median(beside):.4f} s beside them; most {beside[-1]:.3f} s")
    assert median(beside) < 2 * median(alone) + 0.02
    assert beside[-2] < 2.0
    assert beside[-1] < 10.0  # a busy machine has a pause now and then; a server that waits for them has longer ones


def test_many_that_say_nothing_keep_nobody_out(tmp_path):
    """Up to what the system allows, that is; not up to what it begins with."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (200, hard))
    server = Server(tmp_path / "served")
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    silent = [socket.create_connection(("127.0.0.1", server.port)) for _ in range(400)]
    try:
        assert server.ask("/runs").status_code == 200
    finally:
        for connection in silent:
            connection.close()
        server.kill()


def test_what_is_no_address_and_no_method(server):
    for answer in (
        server.ask("/nothing"),
        requests.get(server.url, timeout=9),
        requests.delete(f"{server.api}/runs", timeout=9),
    ):
        assert answer.status_code in (404, 405)
        assert answer.json()["reason"]


def test_tls(tmp_path):
    key, certificate = tmp_path / "key.pem", tmp_path / "cert.pem"
    command = f"openssl req -x509 -newkey rsa:2048 -nodes -days 1 -subj /CN=localhost -keyout {key} -out {certificate}"
    subprocess.run(
        [*command.split(), "-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1"], check=True, capture_output=True
    )
    server = Server(tmp_path / "served", "--certfile", str(certificate), "--keyfile", str(key))
    try:
        assert server.url.startswith("https://")
        assert requests.get(f"{server.api}/runs", verify=str(certificate), timeout=9).json() == []
        with pytest.raises(requests.exceptions.SSLError):
            requests.get(f"{server.api}/runs", timeout=9)
    finally:
        server.kill()
