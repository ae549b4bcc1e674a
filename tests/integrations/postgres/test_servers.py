"""Several servers on one database: clients, restarts, deaths; and what is wrong before one begins."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.integrations.postgres.serving import DatabaseServer
from tests.integrations.server.serving import lines
from tests.integrations.server.test_crash import Client
from tests.parts import postgres
from tests.parts.postgres import PASSWORD, QUOTED, Postgres

from tachograph.sinks import Retry
from tachograph.sinks.http import HttpSink


@pytest.fixture
def second(server: DatabaseServer, tmp_path: Path) -> Iterator[DatabaseServer]:
    """Another server on the same database, and with the same folder for files."""
    running = DatabaseServer(server.root, server.database)
    yield running
    running.kill()
    running.pool.close()


@pytest.fixture
def own() -> Iterator[Postgres]:
    """A PostgreSQL of this test's own, to be stopped."""
    running = Postgres()
    yield running
    running.close()


def test_a_writer_may_send_to_any_of_them(server, second):
    sent = lines("r", "w", 100)
    for at in range(0, 102, 10):
        to = (server, second)[at // 10 % 2]
        assert to.post("r", "w", sent[at : at + 10]).json()["position"] == min(at + 10, 102)
    assert server.held("r", "w") == sent
    assert server.ask("/runs/r").json() == second.ask("/runs/r").json()


def test_a_live_stream_has_what_was_sent_to_another_one(server, second):
    sent = lines("r", "w", 20)
    second.post("r", "w", sent[:5])
    told = []
    with server.ask("/runs/r/stream", stream=True) as stream:
        content = stream.iter_lines()
        sender = threading.Timer(0.5, lambda: second.post("r", "w", sent[5:]))
        sender.start()
        for line in content:
            if line.startswith(b'data: {"writer"'):
                told.append(line.partition(b'"event":')[2][:-1])
            if line.startswith(b"event: run.over"):
                break
    assert told == sent


def test_a_token_is_good_for_all_of_them_until_it_is_revoked(server, second):
    command = [sys.executable, "-m", "tachograph", "token"]
    place = ["--database", server.database]
    made = subprocess.run([*command, "create", "ada", "--role", "write", *place], capture_output=True, text=True)
    token = made.stdout.strip()
    for one in (server, second):
        assert one.ask("/runs").status_code == 401
        assert one.ask("/runs", token).status_code == 200
    listed = subprocess.run([*command, "list", *place], capture_output=True, text=True).stdout
    assert "ada" in listed
    assert token not in listed
    again = subprocess.run([*command, "create", "ada", "--role", "read", *place], capture_output=True, text=True)
    assert (again.returncode, "there is a token 'ada'" in again.stderr) == (1, True)
    subprocess.run([*command, "revoke", "ada", *place], check=True, capture_output=True)
    for one in (server, second):
        assert one.ask("/runs", token).status_code == 401
    assert subprocess.run([*command, "revoke", "ada", *place], capture_output=True).returncode == 1


def test_servers_that_are_killed_while_many_send(server, second):
    clients = [Client((server, second)[number % 2].url, f"r{number}", 1000, 5 + number) for number in range(16)]
    for client in clients:
        client.start()
    kills = 0
    while any(client.is_alive() for client in clients):
        time.sleep(0.3)
        if kills < 6:
            one = (server, second)[kills % 2]
            one.kill()
            one.start()
            kills += 1
    assert kills >= 3
    for client in clients:
        client.join()
        assert not client.faults
        assert server.held(client.run_id, "w") == client.sent
        run = server.store().run(client.run_id)
        assert (run.status, list(run.history("m0").values)) == ("finished", [float(step) for step in range(1000)])


def test_a_database_that_is_restarted_while_many_send(own, tmp_path):
    server = DatabaseServer(tmp_path / "served", own.new_database())
    try:
        clients = [Client(server.url, f"r{number}", 500, 20) for number in range(8)]
        for client in clients:
            client.start()
        for _ in range(3):
            time.sleep(0.6)
            own.stop()
            assert server.ask("/runs").status_code == 503
            answer = server.post("late", "w", lines("late", "w", 1))
            assert (answer.status_code, int(answer.headers["Retry-After"]) > 0) == (503, True)
            with pytest.raises(Retry, match="503"):
                HttpSink(server.url).write("late", "w", lines("late", "w", 1))
            own.start()
            assert server.ask("/runs").status_code == 200  # over connections that were dead before
        for client in clients:
            client.join()
            assert not client.faults
            assert server.held(client.run_id, "w") == client.sent
            assert len(server.store().run(client.run_id).history("m0")) == 500
        assert PASSWORD not in server.ask("/runs").text
    finally:
        server.kill()
        server.pool.close()


def begun(*arguments: str) -> str:
    """What a server says that can't begin: one line."""
    command = [sys.executable, "-m", "tachograph", "serve", "--port", "0", *arguments]
    done = subprocess.run(command, capture_output=True, text=True, timeout=180)
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.count("\n") == 1
    for secret in (PASSWORD, QUOTED, "wrong-pass"):
        assert secret not in done.stderr
    return done.stderr


def test_what_is_wrong_is_told_in_one_line(database, tmp_path):
    running = postgres.running()
    wrong = {
        running.url("t_none"): "does not exist",
        running.url("postgres", "wrong-pass"): "password authentication failed",
        "postgresql://u:wrong-pass@127.0.0.1:1/x": "refused",
        "postgresql://u:wrong-pass@nowhere.invalid/x": "postgresql://nowhere.invalid/x",
        "postgresql://u:wrong-pass@host:port/x": "failed to resolve host",
        "postgresql://u:wrong-pass@h/x?nonsense=wrong-pass": "no URL of a database",
        "mysql://u:wrong-pass@h/x": "postgresql://user",
    }
    for url, reason in wrong.items():
        assert reason in begun("--database", url), url
    assert "s3://bucket/prefix" in begun("--database", database, "--blobs", "ftp://wrong-pass@x/y")
    assert "make one first" in begun("--database", database, "--host", "0.0.0.0")


def test_without_its_driver_it_says_what_to_install(tmp_path):
    (tmp_path / "psycopg.py").write_text("raise ImportError('no libpq')")
    command = [sys.executable, "-m", "tachograph", "serve", "--database", "postgresql://u@h/x"]
    environment = {**os.environ, "PYTHONPATH": str(tmp_path)}
    done = subprocess.run(command, capture_output=True, text=True, env=environment)
    assert (done.returncode, done.stderr.count("\n")) == (1, 1)
    assert "pip install 'tachograph[postgresql]'" in done.stderr


def test_a_folder_needs_no_blobs_apart():
    command = [sys.executable, "-m", "tachograph", "serve", "--blobs", "s3://b/p"]
    done = subprocess.run(command, capture_output=True, text=True)
    assert (done.returncode, "--blobs goes with --database" in done.stderr) == (2, True)
