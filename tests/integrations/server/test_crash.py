"""A server that is killed while clients send, again and again: nothing is lost, nothing is there twice."""

from __future__ import annotations

import os
import random
import subprocess
import sys
import threading
import time

import pytest
from tests.integrations.server.serving import Server, held, lines

from tachograph import journal
from tachograph.sinks import Retry
from tachograph.sinks.http import HttpSink
from tachograph.store.store import open_store


class Client(threading.Thread):
    """Sends a run as the shipper does: what it could not send it sends again from where the server stands."""

    def __init__(self, url: str, run: str, points: int, batch: int) -> None:
        super().__init__(daemon=True)  # a test that gives up must not wait for it
        self.url, self.run_id, self.batch = url, run, batch
        self.sent = lines(run, "w", points)
        self.answered = 0
        self.faults: list[BaseException] = []

    def run(self) -> None:
        try:
            while self.answered < len(self.sent):
                try:
                    self._send(HttpSink(self.url))
                except Retry:
                    time.sleep(0.05)
        except BaseException as fault:  # noqa: BLE001 - told by the test's own thread
            self.faults.append(fault)

    def _send(self, sink: HttpSink) -> None:
        at = sink.resume(self.run_id).get("w", 0)
        assert at >= self.answered, f"{self.answered} were answered for, and {at} are held"
        self.answered = at  # also of what was taken, and the server killed before it said so
        while at < len(self.sent):
            sink.write(self.run_id, "w", self.sent[at : at + self.batch])
            at = self.answered = min(at + self.batch, len(self.sent))


def test_killed_in_the_middle(tmp_path):
    server = Server(tmp_path / "served")
    clients = [Client(server.url, f"r{number}", points=4000, batch=37 + number) for number in range(6)]
    for client in clients:
        client.start()
    chance = random.Random(7)
    kills = 0
    while any(client.is_alive() for client in clients):
        time.sleep(chance.uniform(0.02, 0.4))
        if kills < 12:
            server.kill()
            server.start()
            kills += 1
    try:
        assert kills >= 5
        for client in clients:
            client.join()
            assert not client.faults
            assert server.held(client.run_id, "w") == client.sent
            folder = server.root / "runs" / client.run_id / "w"
            assert not [found for path in journal.segments(folder) for found in journal.check_sums(path)]
            run = server.store().run(client.run_id)
            assert list(run.history("m0").values) == [float(step) for step in range(4000)]
            assert run.status == "finished"
    finally:
        server.kill()


@pytest.mark.parametrize("count", [20])
def test_many_clients_at_once(server, count):
    clients = [Client(server.url, f"r{number}", points=300, batch=25) for number in range(count)]
    for client in clients:
        client.start()
    for client in clients:
        client.join()
        assert not client.faults
        assert server.held(client.run_id, "w") == client.sent
    assert len(server.ask("/runs").json()) == count


def test_told_to_end_it_answers_what_it_was_asked(server):
    client = Client(server.url, "r", points=3000, batch=100)
    client.start()
    while client.answered < 500:
        time.sleep(0.01)
    assert server.stop() in (0, -15)
    server.start()
    client.join()
    assert not client.faults
    assert server.held("r", "w") == client.sent


TRAINING = """
import sys, time, tachograph
with tachograph.start_run("long", sinks=[sys.argv[1]]) as run:
    print("began", flush=True)
    for step in range(3000):
        run.log({"loss": 1 / (step + 1)})
        time.sleep(0.001)
"""


def test_a_training_goes_on_while_its_server_is_killed_and_comes_back(server, tmp_path, root):
    (tmp_path / "train.py").write_text(TRAINING)
    environment = {**os.environ, "TACHOGRAPH_EXIT_WAIT": "60"}
    command = [sys.executable, str(tmp_path / "train.py"), server.url]
    training = subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    assert training.stdout is not None
    assert training.stdout.readline() == b"began\n"
    for _ in range(4):
        time.sleep(0.4)
        server.kill()
        time.sleep(0.2)
        server.start()
    _, errors = training.communicate(timeout=90)
    assert (training.returncode, errors) == (0, b"")
    run = open_store(root).run("long")
    writer = run.writers[0].id
    assert server.held(run.id, writer) == [line for line in held(root, run.id, writer) if line]
